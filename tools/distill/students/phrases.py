"""Words in their order: a table of word pieces, phrases of one to a few of them, labels; TFLite.

The pieces of a text (as BERT cuts it) are looked up in a table whose rows begin as the teacher's
own vectors, in fewer dimensions, and may look at each other in layers of self-attention. Windows
of one to `reach` pieces give features (Kim 2014), of which the largest and the mean over the text
are kept; pairs of neighbours are also looked up by hash (Joulin et al. 2016). One hidden layer
reads all of that.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tools.distill.students.attention import AttentionSizes, AttentionStack
from tools.train.tflite import RowScaledLinear, RowScaledTable

# Two primes that spread pairs of ids over the table; their products stay under 2³¹ for 16,384 ids.
FIRST_PRIME, SECOND_PRIME = 31_337, 92_821
ABSENT = 1e4
PAD = 0
HIDDEN_DROP = 0.2


class PhraseNet(nn.Module):
    """Ids of pieces (n, length), padded with 0 → logits (n, classes)."""

    def __init__(
        self,
        start: NDArray[np.float32],
        sizes: tuple[int, int, int, int],
        pairs: tuple[int, int],
        classes: int,
        attention: AttentionSizes,
    ) -> None:
        """Take the table's rows to begin with, and the sizes.

        `sizes` are the width of the table, the features of each window, the longest window and the
        hidden units; `pairs` the places (a power of two) and width of the table of pairs.
        """
        super().__init__()
        self.width, features, self.reach, hidden = sizes
        self.places, pair_width = pairs
        self.table = nn.Parameter(torch.from_numpy(start.astype(np.float32)))
        self.attention = AttentionStack(self.width, attention)
        self.windows = nn.ModuleList(
            nn.Linear(size * self.width, features) for size in range(1, self.reach + 1)
        )
        self.pairs = nn.Parameter(torch.randn(self.places, pair_width) * 0.1)
        given = 2 * self.reach * features + pair_width
        self.hidden = nn.Linear(given, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.read(self.units(ids))

    def units(self, ids: torch.Tensor) -> torch.Tensor:
        """Return what the hidden units hold of a text: (n, hidden)."""
        mask = (ids > PAD).float()[..., None]
        rows = self.attention(functional.embedding(ids, self.table) * mask, mask)
        pooled = pooled_of(rows, mask, self.windows)
        pairs = functional.embedding(pair_places(ids, self.places), self.pairs)
        pooled.append((pairs * mask[:, 1:]).sum(1) / mask.sum(1))
        joined = functional.dropout(torch.cat(pooled, 1), HIDDEN_DROP, self.training)
        return torch.relu(self.hidden(joined))

    def read(self, units: torch.Tensor) -> torch.Tensor:
        """Return the logits of hidden units."""
        logits: torch.Tensor = self.head(functional.dropout(units, HIDDEN_DROP, self.training))
        return logits


def pair_places(ids: torch.Tensor, places: int) -> torch.Tensor:
    """Return the place of each pair of neighbours: (n, length) → (n, length - 1)."""
    mixed = ids[:, :-1] * FIRST_PRIME + ids[:, 1:] * SECOND_PRIME
    return torch.remainder(mixed, places)


def pooled_of(
    rows: torch.Tensor, mask: torch.Tensor, windows: Sequence[nn.Module] | nn.ModuleList
) -> list[torch.Tensor]:
    """Return the largest and the mean of each window's features: two (n, features) a window.

    A window stands where its first piece stands; what is beyond the end counts as zeros.
    """
    found: list[torch.Tensor] = []
    count, length = mask.sum(1), rows.shape[1]
    padded = functional.pad(rows, (0, 0, 0, len(windows) - 1))
    for size, window in enumerate(windows, 1):
        joined = torch.cat([padded[:, at : at + length] for at in range(size)], 2)
        features = torch.relu(window(joined)) * mask
        found += [features.amax(1), features.sum(1) / count]
    return found


class BoardNet(nn.Module):
    """A `PhraseNet` as it is written for the board: one text, int8 tables and layers."""

    def __init__(self, net: PhraseNet) -> None:
        """Take the network that has learned."""
        super().__init__()
        self.places = net.places
        self.table = RowScaledTable(net.table.detach().numpy())
        self.pairs = RowScaledTable(net.pairs.detach().numpy())
        self.attention = copy.deepcopy(net.attention)
        for layer in self.attention.layers:
            for name, part in list(layer.named_children()):
                if isinstance(part, nn.Linear):
                    setattr(layer, name, _scaled(part))
        self.windows = nn.ModuleList(_scaled(each) for each in net.windows)
        self.hidden, self.head = _scaled(net.hidden), _scaled(net.head)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (1, classes) of ids (1, length)."""
        mask = torch.clamp(ids, 0, 1).float()[..., None]
        rows = self.attention(self.table(ids) * mask, mask)
        pooled = pooled_of(rows, mask, self.windows)
        pairs = self.pairs(pair_places(ids, self.places))
        pooled.append((pairs * mask[:, 1:]).sum(1) / mask.sum(1))
        logits: torch.Tensor = self.head(torch.relu(self.hidden(torch.cat(pooled, 1))))
        return logits


def _scaled(layer: nn.Module) -> RowScaledLinear:
    if not isinstance(layer, nn.Linear):
        raise TypeError("not a dense layer")
    return RowScaledLinear(layer.weight.detach().numpy(), layer.bias.detach().numpy())
