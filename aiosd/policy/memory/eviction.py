"""Who gives memory back when room is needed, and how far: what costs least for the room it gives.

Worth = frequency × seconds to come back / size, the term of GreedyDual-Size-Frequency (Cherkasova
1998, HP Labs HPL-98-69R1). Its clock L, which ages what is not used, is left out: frequencies that
fade with a half-life do that already, and in replayed traces (`tools/replay`) load less than both.

An expert may give back a part and stay: each such step stands in the same order as the leaving of
others, with what it frees beyond the step before and what coming back then costs beyond it. Of
each expert only the steps on the lower hull of (bytes, seconds) count, as in the greedy solution
of a knapsack with choices (Sinha and Zoltners 1979): so no step is worth more than a later one.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

# One that was hardly ever used is still worth its reload.
_LEAST_FREQUENCY = 0.1
_LEAST_SECONDS = 1e-3


class Step(StrEnum):
    """How far an expert goes: its context, the mapped pages of its model too, or its process."""

    CONTEXT = "context"
    PAGES = "pages"
    PROCESS = "process"


@dataclass(frozen=True)
class Way:
    """A step short of leaving: what it frees in all, and the seconds of coming back from it."""

    step: Step
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Victim:
    """An expert that was chosen, how far it goes, and the bytes that frees."""

    expert: str
    step: Step
    bytes: int


@dataclass(frozen=True)
class Descent:
    """From one step of an expert to the next: `freed` more bytes; `depth` counts its descents."""

    victim: Victim
    freed: int
    worth: float
    depth: int


@dataclass(frozen=True)
class Candidate:
    """An expert that may leave: what leaving frees, and what coming back would cost.

    `frequency` is how often it was used, long-ago uses counting less. `ways` are what it may do
    instead, each freeing more than the one before and less than leaving.
    """

    expert: str
    bytes: int
    reload_seconds: float
    frequency: float
    ways: tuple[Way, ...] = ()

    @cached_property
    def descents(self) -> tuple[Descent, ...]:
        """Its steps on the lower hull, the cheapest by the byte first."""
        end = Way(Step.PROCESS, self.bytes, self.reload_seconds)
        left = [*(each for each in self.ways if each.bytes < end.bytes), end]
        descents: list[Descent] = []
        done, spent, least = 0, 0.0, 0.0
        while left:
            best, price = end, math.inf
            for way in left:
                rate = worth(self.frequency, way.seconds - spent, way.bytes - done)
                if rate <= price:
                    best, price = way, rate
            least = max(least, price)
            victim = Victim(self.expert, best.step, best.bytes)
            descents.append(Descent(victim, best.bytes - done, least, len(descents)))
            done, spent = best.bytes, best.seconds
            left = [each for each in left if each.bytes > done]
        return tuple(descents)


def worth(frequency: float, seconds: float, size: int) -> float:
    """Return what a MiB saves that would cost so many seconds to get back."""
    mebibytes = max(size, 1) / 2**20
    return (frequency + _LEAST_FREQUENCY) * max(seconds, _LEAST_SECONDS) / mebibytes


def choose(
    candidates: Iterable[Candidate], need_bytes: int, *, first: Collection[str] = ()
) -> list[Victim] | None:
    """Return who must give back how much to free `need_bytes`, or None if all are not enough.

    Those in `first` go before the others. What need not be given back after all (a later, larger
    step made room alone) is spared, the worthiest first.
    """

    def turn(each: Descent) -> tuple[bool, float, str, int]:
        return (each.victim.expert not in first, each.worth, each.victim.expert, each.depth)

    chosen: list[Descent] = []
    freed = 0
    for descent in sorted((each for one in candidates for each in one.descents), key=turn):
        if freed >= need_bytes:
            break
        chosen.append(descent)
        freed += descent.freed
    if freed < need_bytes:
        return None
    deepest = {each.victim.expert: each.depth for each in chosen}
    for descent in reversed(list(chosen)):
        last = deepest[descent.victim.expert] == descent.depth
        if last and freed - descent.freed >= need_bytes:
            chosen.remove(descent)
            deepest[descent.victim.expert] -= 1
            freed -= descent.freed
    return list({each.victim.expert: each.victim for each in chosen}.values())


def leave(candidate: Candidate) -> Victim:
    """Return a candidate as one that leaves altogether."""
    return Victim(candidate.expert, Step.PROCESS, candidate.bytes)
