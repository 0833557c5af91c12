"""The llama network in torch, as llama.cpp computes it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.train.home_command.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; every width is a multiple of 32 for Q8_0."""

    width: int = 192
    layers: int = 4
    heads: int = 6
    feed_forward: int = 448
    context: int = 512
    rope_base: float = 10000.0
    norm_epsilon: float = 1.0e-5

    def as_dict(self) -> dict[str, float]:
        """Return the sizes by name."""
        return asdict(self)


class RmsNorm(nn.Module):
    """Root mean square norm with a learned scale."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.rms_norm(x.float(), (x.shape[-1],), self.weight, self.epsilon)


class Block(nn.Module):
    """Attention with rotary positions and a gated feed-forward part."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        d, f = shape.width, shape.feed_forward
        self.heads = shape.heads
        self.dropout = dropout
        self.attention_norm = RmsNorm(d, shape.norm_epsilon)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.feed_norm = RmsNorm(d, shape.norm_epsilon)
        self.gate_up = nn.Linear(d, 2 * f, bias=False)
        self.down = nn.Linear(f, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Run the block over (batch, length, width)."""
        b, t, d = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(b, t, 3, self.heads, -1).unbind(2)
        q, k = rotate(q, cos[:t], sin[:t]), rotate(k, cos[:t], sin[:t])
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / math.sqrt(d // self.heads)
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, -1.0e4).softmax(-1).to(v.dtype)
        y = self.out((weights @ v.transpose(1, 2)).transpose(1, 2).reshape(b, t, d))
        x = x + functional.dropout(y, self.dropout, self.training)
        gate, up = self.gate_up(self.feed_norm(x)).chunk(2, dim=-1)
        y = self.down(functional.silu(gate) * up)
        return x + functional.dropout(y, self.dropout, self.training)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate neighbouring pairs of (batch, length, heads, size) as llama.cpp does."""
    even, odd = x[..., 0::2], x[..., 1::2]
    c, s = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    return torch.stack((even * c - odd * s, even * s + odd * c), dim=-1).flatten(-2)


class Network(nn.Module):
    """A small llama whose embedding shares pieces over blanks and capitals.

    The embedding of a token is that of its lower case piece plus one vector for a
    blank before it and one for a capital; labels of the auxiliary task come last
    and are left out of the exported table.
    """

    base: Tensor
    flags: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self, vocabulary: Vocabulary, shape: Shape, auxiliary: int = 0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        bases: dict[str, int] = {}
        for piece in vocabulary.pieces:
            bases.setdefault(piece.base, len(bases))
        size = len(vocabulary.pieces)
        index = [bases[p.base] for p in vocabulary.pieces]
        index += [len(bases) + at for at in range(auxiliary)]
        flags = [[float(p.spaced), float(p.capital)] for p in vocabulary.pieces]
        flags += [[0.0, 0.0]] * auxiliary
        self.shape, self.size, self.dropout = shape, size, dropout
        self.register_buffer("base", torch.tensor(index), persistent=False)
        self.register_buffer("flags", torch.tensor(flags), persistent=False)
        self.pieces = nn.Parameter(torch.randn(len(bases) + auxiliary, shape.width) * 0.05)
        self.marks = nn.Parameter(torch.randn(2, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.final_norm = RmsNorm(shape.width, shape.norm_epsilon)
        half = shape.width // shape.heads // 2
        turns = shape.rope_base ** (-torch.arange(half).float() / half)
        angles = torch.arange(shape.context).float()[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:
                scale = 1 / math.sqrt(2 * shape.layers) if "out" in name or "down" in name else 1
                nn.init.normal_(weight, std=scale / math.sqrt(weight.shape[1]))

    def table(self) -> Tensor:
        """Return the embedding of every token, auxiliary labels included."""
        return self.pieces[self.base] + self.flags @ self.marks

    def hidden(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Return the normalised last hidden state for (batch, length) tokens."""
        x = functional.embedding(tokens, table)
        x = functional.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.final_norm(x)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Return logits at the positions where ``keep`` is true."""
        table = self.table()
        return self.hidden(tokens, table)[keep] @ table.T
