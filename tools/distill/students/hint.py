"""A hint (Romero et al. 2015): hidden units learn, through a map that is thrown away, every logit.

What is learned is each of the teacher's logits less its row's mean (Ba, Caruana 2014), less its
own mean over the rows, in units of their common standard deviation: also what softened
probabilities round to nothing, such as which of two far labels is the nearer one.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


@runtime_checkable
class Hinted(Protocol):
    """A network whose hidden units can be looked at on the way to its logits."""

    head: nn.Linear

    def units(self, drawn: torch.Tensor) -> torch.Tensor:
        """Return the hidden units (n, hidden) of what a feed drew."""
        ...

    def read(self, units: torch.Tensor) -> torch.Tensor:
        """Return the logits of hidden units."""
        ...


class Hint(nn.Module):
    """The map that is thrown away, and the error that it is left with."""

    def __init__(self, width: int, soft: NDArray[np.float32], seed: int) -> None:
        """Take the number of hidden units and the teacher's logits (n, classes), NaN where none."""
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(width, soft.shape[1])
        told = torch.from_numpy(soft[~np.isnan(soft[:, 0])])
        told = told - told.mean(1, keepdim=True)
        self._mean = told.mean(0)
        self._size = max(1e-6, float((told - self._mean).square().mean().sqrt()))

    def forward(self, units: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of a batch; rows without an answer count as met."""
        told = ~soft[:, 0].isnan()
        wanted = (soft - soft.mean(1, keepdim=True) - self._mean) / self._size
        errors = (self.map(units) - wanted).square().mean(1)
        return torch.where(told, errors, torch.zeros_like(errors)).mean()
