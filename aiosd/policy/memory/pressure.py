"""When the machine itself runs short of memory, whatever the cap says: who leaves, and how fast.

Other programs take RAM too. What counts is MemAvailable: page cache is not used memory, and the
weights of a model that are mapped from its file can be read again. While it is short, idle experts
leave one at a time, with a pause in which the kernel can take note of what came free.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from aiosd.policy.memory.eviction import Candidate, Step, Victim, leave, worth
from aiosd.policy.memory.governor import Resident

_MIB = 2**20
# Short: less than 5 % of the RAM, within bounds; over it again only at one and a half times that.
_LOW_SHARE, _LEAST_LOW, _MOST_LOW = 0.05, 24 * _MIB, 256 * _MIB
_HIGH_TIMES = 1.5
# A stall (PSI) with more than a quarter of the RAM available is not about RAM that experts hold:
# a control group at its limit stalls as well.
_STALL_SHARE = 0.25
# After the last stall, and between two who leave.
CALM_SECONDS = 10.0
PAUSE_SECONDS = 1.0
AT_ONCE = 1


@dataclass(frozen=True)
class PressureRules:
    """Bytes of MemAvailable: short below `low`, not from `high` on; stalls count below `stall`."""

    low_bytes: int
    high_bytes: int
    stall_bytes: int

    @classmethod
    def of(cls, total_bytes: int) -> "PressureRules":
        """Return the rules for a machine with so much RAM (0: unknown, and never short)."""
        if total_bytes <= 0:
            return cls(0, 0, 0)
        low = min(max(int(total_bytes * _LOW_SHARE), _LEAST_LOW), _MOST_LOW, total_bytes)
        return cls(low, int(low * _HIGH_TIMES), max(low, int(total_bytes * _STALL_SHARE)))


class Growth(msgspec.Struct, frozen=True):
    """One that answers or loads holds so much, which is more than the books say."""

    expert: str
    held_bytes: int


class Short(msgspec.Struct, frozen=True):
    """The machine is short of memory, whatever the cap says: somebody idle is to go."""


class Lack(msgspec.Struct, frozen=True):
    """A load was not begun: the machine lacks so many bytes for it now.

    It waits for those who leave, if that will be enough, and is refused if not.
    """

    expert: str
    lacking_bytes: int


MemoryNews = Growth | Short | Lack


class MemoryPressure:
    """Whether memory is short, with hysteresis."""

    def __init__(self, rules: PressureRules) -> None:
        """Start at ease."""
        self.rules = rules
        self.short = False
        self._stalled_at: float | None = None
        self._released_at: float | None = None

    def on_reading(self, available_bytes: int, now: float, *, stalled: bool = False) -> bool:
        """Take MemAvailable, and whether the kernel told of a stall.

        Returns whether somebody is to go now.
        """
        if stalled and available_bytes < self.rules.stall_bytes:
            self._stalled_at = now
        recent = self._stalled_at is not None and now - self._stalled_at < CALM_SECONDS
        if available_bytes < self.rules.low_bytes or recent:
            self.short = True
        elif available_bytes >= self.rules.high_bytes:
            self.short = False
        paused = self._released_at is not None and now - self._released_at < PAUSE_SECONDS
        if not self.short or paused:
            return False
        self._released_at = now
        return True

    def lacks(self, need_bytes: int, available_bytes: int) -> int:
        """Return how many bytes a load lacks, so that memory is not short after it; 0: none."""
        return max(0, need_bytes + self.rules.low_bytes - available_bytes)


def unwanted(residents: Iterable[Resident]) -> list[Candidate]:
    """Return the experts that are idle and may go, in no order."""
    return [
        each.candidate
        for each in residents
        if not (each.busy or each.pinned or each.leaving or each.wanted)
    ]


def relief(residents: Iterable[Resident], most: int = AT_ONCE) -> list[Victim]:
    """Return who gives memory back, at most so many: contexts first, where their price is least.

    Then those leave that are worth least. Mapped pages are nobody's to give back here: the kernel
    takes them on its own, and MemAvailable counts them as available.
    """
    idle = unwanted(residents)
    contexts = [
        (worth(each.frequency, way.seconds, way.bytes), Victim(each.expert, way.step, way.bytes))
        for each in idle
        for way in each.ways
        if way.step is Step.CONTEXT
    ]
    whole = [(worth(each.frequency, each.reload_seconds, each.bytes), leave(each)) for each in idle]
    ranked = sorted(contexts or whole, key=lambda each: (each[0], each[1].expert))
    return [victim for _, victim in ranked[:most]]
