"""What busy workers hold, and how much memory the machine has left, while anything runs.

A worker tells what it holds between requests; in a long one it may grow. So while requests run or
models load, four times a second, the resident size of those workers is read (`statm`, tens of
microseconds each), and exactly (`smaps_rollup`, a millisecond or more) only when that may be more
than the books have. Nothing is read while nothing runs: the kernel's stall trigger alone wakes an
idle daemon.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiosd.domain.reading import MemoryReading
from aiosd.policy.memory.pressure import PAUSE_SECONDS, MemoryPressure, PressureRules
from aiosd.sensors.memory import read_available, read_memory, read_process, read_resident
from aiosd.sensors.stall import StallTrigger

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
# Who answers briefly again and again is read exactly once in so long, unless it grows: that takes
# milliseconds of the loop.
KEPT_SECONDS = 5.0


class Listener(Protocol):
    """Who is told; the broker."""

    def watched(self) -> Iterable[tuple[str, int, int]]:
        """Return the experts that answer or load: name, process, and bytes in the books."""

    def on_growth(self, expert: str, held_bytes: int) -> None:
        """A busy worker holds more than the books say."""

    def on_pressure(self) -> bool:
        """Memory is short: let somebody go; return whether anybody goes."""


@dataclass
class Look:
    """What was read exactly of a worker, and when: what counts in the books, its resident size."""

    pid: int
    resident_bytes: int = 0
    held_bytes: int = 0
    at: float = 0.0


class MemoryWatch:
    """Looks after memory while there is something to look after."""

    def __init__(self, loop: asyncio.AbstractEventLoop, root: Path, *, forked: bool) -> None:
        """Look at the machine below `root`; nobody is told before `listen`.

        `forked` workers count by the pages that they have alone: see `Ledger`.
        """
        self._loop = loop
        self._forked = forked
        self._root = root if (root / "proc" / "meminfo").exists() else Path("/")
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks: dict[str, Look] = {}
        self._released = False
        self._pressure = MemoryPressure(PressureRules.of(self.reading().total_bytes))
        self._trigger: StallTrigger | None = None
        self.stalls = 0
        self.mechanism = ""

    def listen(self, listener: Listener) -> None:
        """Tell `listener` from now on, and have the kernel tell us of stalls."""
        self._listener = listener
        try:
            self._trigger = StallTrigger(self._root)
        except OSError as error:
            self.mechanism = f"MemAvailable while requests run (no stall trigger: {error.strerror})"
            return
        self.mechanism = "the kernel's stall trigger (PSI), and MemAvailable while requests run"
        self._loop.add_reader(self._trigger, self._on_stall)

    def wake(self) -> None:
        """Take note that something runs: cheap, for it is called with every request."""
        if self._timer is None and self._listener is not None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def know(self, expert: str, pid: int, held_bytes: int) -> None:
        """Take a worker's own word for what it holds now; it is not read again unless it grows."""
        resident = read_resident(pid)
        if resident is not None:
            self._looks[expert] = Look(pid, resident, held_bytes, self._loop.time())

    def reading(self) -> MemoryReading:
        """Return how the machine stands."""
        return read_memory(self._root)

    @property
    def short(self) -> bool:
        """Whether the machine is short of memory, and has not got it back since."""
        available = read_available(self._root)
        return self._pressure.short and (available or 0) < self._pressure.rules.stall_bytes

    def lacks(self, need_bytes: int) -> int:
        """Return the bytes that the machine lacks for a load now; 0 if it can hold it."""
        available = read_available(self._root)
        return self._pressure.lacks(need_bytes, available) if available else 0

    def close(self) -> None:
        """Stop looking."""
        self._listener = None
        if self._timer is not None:
            self._timer.cancel()
        if self._trigger is not None:
            self._loop.remove_reader(self._trigger)
            self._trigger.close()

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """Read whoever is busy; go on as long as anybody is, or memory is short and helps."""
        self._timer = None
        if self._listener is None:
            return
        watched = list(self._listener.watched())
        for expert, pid, booked in watched:
            self._look_at(expert, pid, booked, self._listener)
        busy = {expert for expert, _, _ in watched}
        since = self._loop.time() - KEPT_SECONDS
        self._looks = {
            name: look for name, look in self._looks.items() if name in busy or look.at >= since
        }
        self._relieve()
        if watched:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        elif self._pressure.short and self._released:
            self._timer = self._loop.call_later(PAUSE_SECONDS, self._look)

    def _look_at(self, expert: str, pid: int, booked: int, listener: Listener) -> None:
        """Read one worker: exactly, if it may hold more than the books have."""
        resident = read_resident(pid)
        if resident is None:
            return
        look = self._looks.get(expert)
        if look is None or look.pid != pid:
            look = Look(pid)
        if look.held_bytes + max(0, resident - look.resident_bytes) <= booked:
            return
        memory = read_process(pid)
        if memory is None:
            return
        held = memory.own_bytes if self._forked else memory.pss_bytes
        self._looks[expert] = Look(pid, resident, held, self._loop.time())
        if held > booked:
            listener.on_growth(expert, held)

    def _relieve(self, *, stalled: bool = False) -> None:
        """Let somebody go if memory is short."""
        available = read_available(self._root)
        if available is None or self._listener is None:
            return
        was = self._pressure.short
        if self._pressure.on_reading(available, self._loop.time(), stalled=stalled):
            self._released = self._listener.on_pressure()
        if self._pressure.short != was:
            log.warning(
                "memory is %s: %d MiB available",
                "short" if self._pressure.short else "no longer short",
                available >> 20,
            )

    def _on_stall(self) -> None:
        """The kernel says that tasks wait for memory."""
        if self._trigger is None:
            return
        if self._trigger.lost():
            self._loop.remove_reader(self._trigger)  # it would be ready for ever
            return
        self.stalls += 1
        self._relieve(stalled=True)
        if self._pressure.short:
            self.wake()
