"""The loss: the teacher's softened probabilities and the labels, mixed (Hinton et al. 2015)."""

import torch
from torch.nn import functional

from tools.distill.table import NONE


def loss_of(  # noqa: PLR0913 - the numbers of the formula
    logits: torch.Tensor,
    labels: torch.Tensor,
    soft: torch.Tensor | None,
    *,
    temperature: float,
    mixing: float,
    smoothing: float,
    foreign_weight: float,
) -> torch.Tensor:
    """Return the mean loss of a batch.

    `soft` are the teacher's logits; a row of it that begins with NaN has none. A row with a label
    is held to it by cross-entropy with smoothing; one of no label (`NONE`) to an even spread
    (Hendrycks et al. 2019); one that nobody labelled to the teacher alone. T² keeps the size of
    the teacher's gradient at any temperature.
    """
    known = labels > NONE
    foreign = labels == NONE
    hard = logits.new_zeros(len(logits))
    if known.any():
        hard[known] = functional.cross_entropy(
            logits[known], labels[known], label_smoothing=smoothing, reduction="none"
        )
    if foreign.any():
        even = -functional.log_softmax(logits[foreign], dim=1).mean(1)
        hard[foreign] = foreign_weight * even
    if soft is None:
        return hard.mean()
    told = ~soft[:, 0].isnan()
    taught = logits.new_zeros(len(logits))
    if told.any():
        target = functional.log_softmax(soft[told] / temperature, dim=1)
        given = functional.log_softmax(logits[told] / temperature, dim=1)
        divergence = functional.kl_div(given, target, reduction="none", log_target=True).sum(1)
        taught[told] = temperature**2 * divergence
    labelled = known | foreign
    share = torch.where(told, torch.where(labelled, mixing, 1.0), 0.0)
    return (share * taught + (1.0 - share) * hard).mean()
