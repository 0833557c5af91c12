"""A wider reader that at first says what a narrower one says.

Channels, heads and units stand there several times over; who reads of copies takes a share of
each, and the shares add up to what it read of the one (Chen, Goodfellow, Shlens 2016, "Net2Net").
The shares are of chance, so that the copies learn apart from each other.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from tools.distill.slots.student import Reader

APART = 0.3
"""How far (standard deviation) a copy's share lies from an equal one, in equal shares."""


@torch.no_grad()
def widened(net: Reader, times: tuple[int, int], seed: int) -> Reader:
    """Return a reader with so many times the channels and heads, and the feed-forward units.

    The head that says what each word is stays one of chance.
    """
    wider, more = times
    chance = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    old = net.shape
    grown = Reader(
        replace(
            old,
            width=old.width * wider,
            heads=old.heads * wider,
            feed_forward=old.feed_forward * more,
        ),
        len(net.table),
    )
    grown.table.copy_(net.table.tile(1, wider))
    # The table is the output's too: each copy of a channel would be added up again.
    grown.final_norm.weight.copy_(net.final_norm.weight.tile(wider) / wider)
    for new, given in zip(grown.blocks, net.blocks, strict=True):
        _fill(new, given, times, chance)
    return grown


def _fill(
    new: nn.Module, given: nn.Module, times: tuple[int, int], chance: torch.Generator
) -> None:
    wider, more = times
    new.attention_norm.weight.copy_(given.attention_norm.weight.tile(wider))
    new.feed_norm.weight.copy_(given.feed_norm.weight.tile(wider))
    new.qkv.weight.copy_(_parts(given.qkv.weight, 3, (wider, wider), chance))
    new.out.weight.copy_(_parts(given.out.weight, 1, (wider, wider), chance))
    new.gate_up.weight.copy_(_parts(given.gate_up.weight, 2, (more, wider), chance))
    new.down.weight.copy_(_parts(given.down.weight, 1, (wider, more), chance))


def _parts(weight: Tensor, parts: int, times: tuple[int, int], chance: torch.Generator) -> Tensor:
    """Return a matrix whose rows, in `parts` one after the other, and columns stand repeated."""
    rows, columns = times
    tall = torch.cat([part.tile(rows, 1) for part in weight.chunk(parts)])
    apart = torch.randn((columns, *tall.shape), generator=chance) * (APART / columns)
    shares = 1 / columns + apart - apart.mean(0)
    return torch.cat([tall * share for share in shares], dim=1)
