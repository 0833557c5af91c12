"""The ladder of a power cap: fewer threads, lower duty, a smaller expert, wait, refuse.

Cores in, rungs out. The duty follows the cores at once; every other rung is taken and left only
after it was called for without a break, and leaving takes longer than taking. Between the two lie
a step's width and more, so that a figure that trembles moves nothing but the duty.
"""

import math
from dataclasses import dataclass, field

from aiosd.domain.allowance import Admission

LEAST_DUTY = 0.1
# Changes of duty below this are noise, not worth a write to cpu.max.
_DUTY_STEP = 0.02
# A thread more must be worth more than this part of those that run.
_THREAD_WORTH = 0.08
_FEWER_SECONDS = 1.0
_MORE_SECONDS = 10.0
_SMALLER_BELOW, _SMALLER_ABOVE = 0.5, 1.0
_SMALLER_SECONDS, _LARGER_SECONDS = 10.0, 30.0
_WAIT_BELOW, _WAIT_ABOVE = 0.05, 0.2
_WAIT_SECONDS = 2.0


@dataclass
class Patience:
    """Whether something has been so for long enough."""

    seconds: float
    since: float | None = None

    def holds(self, now: float, *, called: bool) -> bool:
        """Tell whether it was called for in every question of the last `seconds`."""
        if not called:
            self.since = None
            return False
        if self.since is None:
            self.since = now
        return now - self.since >= self.seconds


@dataclass
class _Switch:
    """A rung that is on or off, each with its patience."""

    on_seconds: float
    off_seconds: float
    on: bool = False
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience(self.on_seconds)

    def step(self, now: float, *, take: bool, leave: bool) -> bool:
        """Take or leave the rung if that was called for long enough."""
        if self._patience.holds(now, called=leave if self.on else take):
            self.on = not self.on
            self._patience = Patience(self.off_seconds if self.on else self.on_seconds)
        return self.on


@dataclass(frozen=True)
class Rungs:
    """Where on the ladder the board stands."""

    threads: int
    duty: float
    prefer_smaller: bool
    admit: Admission


class Ladder:
    """The state machine; `threads` is its top."""

    def __init__(self, threads: int, patience_seconds: float) -> None:
        """Start at the top."""
        self.most = max(1, threads)
        self._threads = self.most
        self._duty = 1.0
        self._fewer = Patience(_FEWER_SECONDS)
        self._more = Patience(_MORE_SECONDS)
        self._smaller = _Switch(_SMALLER_SECONDS, _LARGER_SECONDS)
        self._wait = _Switch(_WAIT_SECONDS, _WAIT_SECONDS)
        self._refuse = Patience(patience_seconds)

    def step(self, cores: float, now: float, *, hopeless: bool = False) -> Rungs:
        """Take the cores that the cap pays for now; more than there are threads is the top.

        `hopeless` says that waiting cannot help: the cap is below what the idle board takes.
        """
        cores = min(cores, float(self.most))
        self._set_threads(cores, now)
        wanted = min(1.0, max(LEAST_DUTY, cores / self._threads))
        if abs(wanted - self._duty) >= _DUTY_STEP or wanted in {1.0, LEAST_DUTY}:
            self._duty = wanted
        smaller = self._smaller.step(
            now, take=cores < _SMALLER_BELOW, leave=cores >= min(_SMALLER_ABOVE, self.most)
        )
        waits = self._wait.step(now, take=cores < _WAIT_BELOW, leave=cores >= _WAIT_ABOVE)
        admit = Admission.NOW
        if self._refuse.holds(now, called=waits) or (waits and hopeless):
            admit = Admission.REFUSE
        elif waits:
            admit = Admission.WAIT
        return Rungs(self._threads, self._duty, smaller, admit)

    def _set_threads(self, cores: float, now: float) -> None:
        """Use as many threads as there are cores, rounded up; the duty takes the rest."""
        self._threads = min(self._threads, self.most)
        fitting = max(1, math.ceil(cores))
        fewer = self._fewer.holds(now, called=fitting < self._threads)
        worth = cores > self._threads * (1 + _THREAD_WORTH)
        more = self._more.holds(now, called=self._threads < self.most and worth)
        if fewer or more:
            self._threads = fitting
            self._fewer.since = self._more.since = None
