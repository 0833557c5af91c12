"""Layers in which the pieces of a text look at each other (Vaswani et al. 2017), for a board.

Each normalizes by the root of the mean square before (Zhang, Sennrich 2019), by plain operations
that tflite-runtime 2.14 knows; its dense layers may be of another kind with the same call. A layer
begins as one that changes nothing.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

DROP = 0.1
# What is added to the likeness with a place beyond the end.
FAR = -1e4
_EPSILON = 1e-6
# The standard deviation of the vectors that say where a piece stands, to begin with.
_STANDING = 0.02


@dataclass(frozen=True)
class AttentionSizes:
    """How many layers there are, their heads and feed-forward units; how long a text may be."""

    layers: int = 0
    heads: int = 1
    feed_forward: int = 1
    length: int = 1


class RootMeanSquare(nn.Module):
    """Vectors brought to the size of one, each place with a factor of its own."""

    def __init__(self, width: int) -> None:
        """Take the width."""
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows of the same shape."""
        size = rows.square().mean(-1, keepdim=True)
        return rows * torch.rsqrt(size + _EPSILON) * self.factor


class Attention(nn.Module):
    """States (n, length, width) → the same shape; what fills up is looked at by nobody."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        """Take the sizes; `heads` divides `width`."""
        super().__init__()
        self.heads = heads
        self.before_mixing, self.before_feed = RootMeanSquare(width), RootMeanSquare(width)
        self.asked, self.offered, self.given = (nn.Linear(width, width) for _ in range(3))
        self.mixed = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        for layer in (self.mixed, self.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return states, of states and `mask` (n, length, 1): 1 where a piece stands, else 0."""
        n, length, width = states.shape
        flat = self.before_mixing(states)
        far = ((1.0 - mask) * FAR).reshape(n, 1, 1, length)
        asked, offered, given = (
            layer(flat).reshape(n, length, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.asked, self.offered, self.given)
        )
        likeness = asked @ offered.transpose(2, 3) * (self.heads / width) ** 0.5
        seen = functional.softmax(likeness + far, 3) @ given
        mixed = self.mixed(seen.transpose(1, 2).reshape(n, length, width))
        states = states + functional.dropout(mixed, DROP, self.training)
        fed = self.down(torch.relu(self.up(self.before_feed(states))))
        return states + functional.dropout(fed, DROP, self.training)


class AttentionStack(nn.Module):
    """Where each piece stands, and the layers one after the other; without layers nothing."""

    def __init__(self, width: int, sizes: AttentionSizes) -> None:
        """Take the width of the states and the sizes."""
        super().__init__()
        self.layers = nn.ModuleList(
            Attention(width, sizes.heads, sizes.feed_forward) for _ in range(sizes.layers)
        )
        if sizes.layers:
            self.places = nn.Parameter(torch.randn(sizes.length, width) * _STANDING)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return rows of the same shape (n, length, width), zeros beyond the end."""
        if not len(self.layers):
            return rows
        rows = rows + self.places[: rows.shape[1]]
        for layer in self.layers:
            rows = layer(rows, mask)
        return rows * mask
