"""One request in the energy books, and one interval as it is shared out."""

from dataclasses import dataclass

from aiosd.domain.energy import CpuInterval
from aiosd.policy.energy.energy_curve import Stretch

# Of /proc/<pid>/stat's ticks; a request may be billed this much more than its worker reported.
_TICK_SECONDS = 0.01


@dataclass
class Account:
    """One request: what is known of it, and what has been settled for it so far."""

    id: int
    expert: str
    client: str
    start: float
    end: float | None = None
    cpu_seconds: float | None = None
    units: float = 0.0
    marginal: float = 0.0
    idle: float = 0.0
    billed_cpu: float = 0.0
    sigma: float = 0.0
    edges: float = 0.0
    samples: int = 0
    settled: float = 0.0
    gap: float = 0.0

    def overlap(self, start: float, end: float) -> float:
        """Return how long the request ran within [start, end]."""
        last = end if self.end is None else min(end, self.end)
        return max(0.0, last - max(start, self.start))

    @property
    def cpu(self) -> float:
        """The CPU time of the request: as its worker says, else as it was billed."""
        return self.billed_cpu if self.cpu_seconds is None else self.cpu_seconds

    def may_be_billed(self) -> float:
        """Return the CPU seconds that it can still have used; unlimited while it runs."""
        if self.end is None or self.cpu_seconds is None:
            return float("inf")
        return max(0.0, self.cpu_seconds + _TICK_SECONDS - self.billed_cpu)


@dataclass(frozen=True)
class Split:
    """One interval as it is settled: what the meter says of it, and who ran for how long."""

    interval: CpuInterval
    stretch: Stretch
    running: tuple[tuple[Account, float], ...]
    idle_joules: float

    @property
    def active_joules(self) -> float:
        """What the interval took beyond the idle; below it by noise, and kept so: sums stay true.

        Cut off at zero, noise would add up to joules that were never used.
        """
        return self.stretch.joules - self.idle_joules
