"""Who leaves when room is needed: GreedyDual-Size-Frequency over measured cost, size and use.

Cherkasova 1998 (HP Labs HPL-98-69R1): each object has a priority H = L + frequency × cost / size;
the one with the least H leaves, and L rises to its H, which ages those that are not used.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An expert that may leave: what leaving frees, and what coming back would cost."""

    expert: str
    bytes: int
    reload_seconds: float
    uses: float


class Eviction:
    """Priorities of the loaded experts."""

    def __init__(self) -> None:
        """Start with the clock L at zero."""
        self._clock = 0.0
        self._base: dict[str, float] = {}

    def on_used(self, expert: str) -> None:
        """Take note of a use: the expert's priority starts again from the clock."""
        self._base[expert] = self._clock

    def on_gone(self, expert: str) -> None:
        """Forget an expert that is no longer loaded."""
        self._base.pop(expert, None)

    def priority(self, candidate: Candidate) -> float:
        """Return H; MiB as the unit of size keeps the numbers readable."""
        size = max(candidate.bytes, 1) / 2**20
        worth = max(candidate.uses, 1) * max(candidate.reload_seconds, 1e-3) / size
        return self._base.get(candidate.expert, 0.0) + worth

    def choose(
        self, candidates: Sequence[Candidate], need_bytes: int, *, first: Collection[str] = ()
    ) -> list[Candidate] | None:
        """Return who must leave to free `need_bytes`, or None if all together are not enough.

        Those in `first` go before the others. Those who need not leave after all (a later, larger
        one made room alone) are spared.
        """

        def turn(each: Candidate) -> tuple[bool, float, str]:
            return (each.expert not in first, self.priority(each), each.expert)

        chosen: list[Candidate] = []
        freed = 0
        for candidate in sorted(candidates, key=turn):
            if freed >= need_bytes:
                break
            chosen.append(candidate)
            freed += candidate.bytes
        if freed < need_bytes:
            return None
        for candidate in list(chosen):
            if freed - candidate.bytes >= need_bytes:
                chosen.remove(candidate)
                freed -= candidate.bytes
        return chosen

    def on_evicted(self, candidate: Candidate) -> None:
        """Raise the clock to the priority of the one that leaves."""
        self._clock = max(self._clock, self.priority(candidate))
        self.on_gone(candidate.expert)
