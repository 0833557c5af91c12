"""How nice a worker is to others on the board, by the priority of what it answers.

A worker starts 5 nicer than the daemon (`aiosd.worker.confine`). To be nicer still is free, but to
be less nice again takes the right to: CAP_SYS_NICE, or a limit of 20 (systemd: LimitNICE=+0).
Without it nothing is changed, because a worker that has answered one background request would stay
behind for good.
"""

import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path

from aiosd.domain.request import Priority

log = logging.getLogger(__name__)

# On top of the daemon's own.
NICE = {Priority.INTERACTIVE: 0, Priority.NORMAL: 5, Priority.BACKGROUND: 15}

# getrlimit(2): a limit of 20 - n lets a process go down to nice n.
_LIMIT_FOR_ZERO = 20
_NICEST = 19
_CAP_SYS_NICE = 23  # linux/capability.h


class Niceness:
    """Sets the nice values of workers, if this process may."""

    def __init__(self, *, able: bool | None = None) -> None:
        """Find out whether it may, or take the word for it."""
        self.own = os.getpriority(os.PRIO_PROCESS, 0)
        self.able = may_renice() if able is None else able
        if not self.able:
            log.info("workers stay as nice as they start: see LimitNICE= in systemd.exec(5)")

    def set(self, pid: int, priority: Priority) -> int | None:
        """Set every thread of a worker; return its nice value, None if that cannot be done."""
        if not self.able:
            return None
        nice = min(self.own + NICE[priority], _NICEST)
        done = self._each(pid, lambda thread: os.setpriority(os.PRIO_PROCESS, thread, nice))
        return nice if done else None

    def step_up(self, pid: int) -> None:
        """Let a worker that stood back (`aiosd.worker.main`) compete as others do."""
        none = os.sched_param(0)
        self._each(pid, lambda thread: os.sched_setscheduler(thread, os.SCHED_OTHER, none))

    def _each(self, pid: int, change: Callable[[int], None]) -> bool:
        """Change every thread of a worker; tell whether that could be done."""
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                change(int(thread.name))
        except (FileNotFoundError, ProcessLookupError):
            return False  # a thread, or all of it, is just gone
        except PermissionError as error:
            self.able = False
            log.warning("workers keep the nice values they have: %s", error)
            return False
        return True


def may_renice() -> bool:
    """Tell whether this process may make a process of its own user less nice again."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if soft >= _LIMIT_FOR_ZERO or soft == resource.RLIM_INFINITY:
        return True
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    words = status.partition("CapEff:")[2].split()
    return bool(words) and bool(int(words[0], 16) >> _CAP_SYS_NICE & 1)
