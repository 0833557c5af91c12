"""Who leaves when room is needed: those whose return would cost least for the room they give.

Worth = frequency × reload seconds / size, the term of GreedyDual-Size-Frequency (Cherkasova 1998,
HP Labs HPL-98-69R1). Its clock L, which ages what is not used, is left out: frequencies that fade
with a half-life do that already, and in replayed traces (`tools/replay`) load less than both.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

# One that was hardly ever used is still worth its reload.
_LEAST_FREQUENCY = 0.1


@dataclass(frozen=True)
class Candidate:
    """An expert that may leave: what leaving frees, and what coming back would cost.

    `frequency` is how often it was used, long-ago uses counting less.
    """

    expert: str
    bytes: int
    reload_seconds: float
    frequency: float


def worth(candidate: Candidate) -> float:
    """Return what a MiB of this expert saves; MiB keep the numbers readable."""
    size = max(candidate.bytes, 1) / 2**20
    return (candidate.frequency + _LEAST_FREQUENCY) * max(candidate.reload_seconds, 1e-3) / size


def choose(
    candidates: Sequence[Candidate], need_bytes: int, *, first: Collection[str] = ()
) -> list[Candidate] | None:
    """Return who must leave to free `need_bytes`, or None if all together are not enough.

    Those in `first` go before the others. Those who need not leave after all (a later, larger one
    made room alone) are spared, the worthiest first.
    """

    def turn(each: Candidate) -> tuple[bool, float, str]:
        return (each.expert not in first, worth(each), each.expert)

    chosen: list[Candidate] = []
    freed = 0
    for candidate in sorted(candidates, key=turn):
        if freed >= need_bytes:
            break
        chosen.append(candidate)
        freed += candidate.bytes
    if freed < need_bytes:
        return None
    for candidate in reversed(list(chosen)):
        if freed - candidate.bytes >= need_bytes:
            chosen.remove(candidate)
            freed -= candidate.bytes
    return chosen
