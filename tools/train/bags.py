"""A small network over hashed n-grams, trained on bags of features instead of dense rows."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn import functional

Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Bags:
    """Rows of a sparse table, handed out as what `EmbeddingBag` takes."""

    def __init__(self, table: csr_matrix) -> None:
        """Take (rows, features)."""
        self._starts = table.indptr.astype(np.int64)
        self._places = table.indices.astype(np.int64)
        self._weights = table.data.astype(np.float32)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def draw(
        self,
        rows: NDArray[np.int64],
        drop: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> Drawn:
        """Return places, offsets and weights; a share `drop` of the weights is zeroed."""
        counts = self._starts[rows + 1] - self._starts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        flat = np.arange(counts.sum()) - np.repeat(offsets - self._starts[rows], counts)
        weights = self._weights[flat]
        if drop and generator is not None:
            kept = generator.random(len(weights), dtype=np.float32) >= drop
            weights = weights * kept / np.float32(1.0 - drop)
        return (
            torch.from_numpy(self._places[flat]),
            torch.from_numpy(offsets),
            torch.from_numpy(weights.astype(np.float32)),
        )


class BagNet(torch.nn.Module):
    """Features → hidden (ReLU) → logits; the first layer is stored by feature."""

    def __init__(self, features: int, hidden: int, classes: int, drop: float) -> None:
        """Take the widths, and the share of hidden units that training drops."""
        super().__init__()
        self.table = torch.nn.EmbeddingBag(features, hidden, mode="sum")
        torch.nn.init.normal_(self.table.weight, 0.0, 0.1)
        self.bias = torch.nn.Parameter(torch.zeros(hidden))
        self.head = torch.nn.Linear(hidden, classes)
        self._drop = drop

    def forward(self, drawn: Drawn) -> torch.Tensor:
        """Return logits (rows, classes)."""
        places, offsets, weights = drawn
        hidden = torch.relu(self.table(places, offsets, weights) + self.bias)
        logits: torch.Tensor = self.head(functional.dropout(hidden, self._drop, self.training))
        return logits

    def layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return weight (outputs, inputs) and bias of both layers."""
        return [
            (self.table.weight.detach().numpy().T.copy(), self.bias.detach().numpy()),
            (self.head.weight.detach().numpy(), self.head.bias.detach().numpy()),
        ]


@dataclass(frozen=True)
class Recipe:
    """How a `BagNet` is trained; `foreign_weight` is of the loss on rows of no class."""

    hidden: int = 128
    epochs: int = 20
    batch: int = 128
    rate: float = 5e-3
    feature_drop: float = 0.5
    hidden_drop: float = 0.3
    smoothing: float = 0.1
    foreign: int = 16
    foreign_weight: float = 0.5
    seed: int = 0


def train(
    rows: Bags, classes: NDArray[np.int64], foreign: Bags, size: int, recipe: Recipe
) -> BagNet:
    """Train on rows of a class and on foreign rows, for which no class should stand out.

    The loss is cross-entropy with label smoothing, plus, for foreign rows, cross-entropy against
    an even spread over all classes (outlier exposure, Hendrycks et al. 2019).
    """
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    generator = np.random.default_rng(recipe.seed)
    net = BagNet(size, recipe.hidden, int(classes.max()) + 1, recipe.hidden_drop)
    optimizer = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=0.0)
    batches = -(-len(rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.epochs * batches, pct_start=0.1
    )
    truth = torch.from_numpy(classes)
    for _ in range(recipe.epochs):
        for chosen in np.array_split(generator.permutation(len(rows)), batches):
            strange = generator.integers(0, len(foreign), recipe.foreign)
            logits = net(rows.draw(chosen, recipe.feature_drop, generator))
            others = net(foreign.draw(strange, recipe.feature_drop, generator))
            loss = (
                functional.cross_entropy(logits, truth[chosen], label_smoothing=recipe.smoothing)
                - recipe.foreign_weight * functional.log_softmax(others, dim=1).mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()
