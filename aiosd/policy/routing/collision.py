"""What a package changes for the others: their accuracy on their own calibration texts."""

from collections.abc import Mapping
from typing import NamedTuple

from aiosd.policy.routing.head import Accuracy

# An expert may lose this share of its own texts to a newcomer, and at least so many are no chance.
LIMIT = 0.05
FEWEST = 3


class Shift(NamedTuple):
    """One expert before and after; None where it is not there."""

    expert: str
    before: Accuracy | None
    after: Accuracy | None

    @property
    def lost(self) -> int:
        """How many of its texts it gets no more; negative if it gets more."""
        if self.before is None or self.after is None:
            return 0
        return self.before.right - self.after.right

    @property
    def too_much(self) -> bool:
        """Whether that is more than an owner should be asked to bear without being told."""
        if self.before is None or self.lost < FEWEST:
            return False
        return self.lost > LIMIT * self.before.count


def shifts(before: Mapping[str, Accuracy], after: Mapping[str, Accuracy]) -> list[Shift]:
    """Return how every expert fares, those that lose most first."""
    names = sorted(before.keys() | after.keys())
    found = [Shift(name, before.get(name), after.get(name)) for name in names]
    return sorted(found, key=lambda each: (-each.lost, each.expert))
