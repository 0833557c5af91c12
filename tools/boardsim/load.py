"""The real CPU time and memory of a process tree, which drive the SIMULATED board.

The kernel counts CPU time in ticks of 10 ms: over a step of 50 ms the busy cores come in steps of
a fifth, their sum is right. A process that lives and dies between two looks is missed.
"""

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# In /proc/pid/stat behind the name: utime, stime.
_USER, _SYSTEM = 11, 12


class ProcessTree:
    """Processes and all that descend from them."""

    def __init__(self, pids: list[int]) -> None:
        """Watch these and their descendants, from now on."""
        self._roots = pids
        self._ticks = {pid: ticks for pid in self._members() if (ticks := _ticks(pid)) is not None}

    def watch(self, pid: int) -> None:
        """Watch one more; what it has used so far does not count."""
        self._roots.append(pid)
        for member in self._members():
            used = _ticks(member)
            if used is not None:
                self._ticks.setdefault(member, used)

    def busy_cores(self, dt: float) -> dict[int, float]:
        """Return how many cores each process kept busy in the `dt` seconds since the last call.

        A descendant that is new was born since then, and counts from its birth.
        """
        ticks = {pid: used for pid in self._members() if (used := _ticks(pid)) is not None}
        before, self._ticks = self._ticks, ticks
        return {pid: max(0, used - before.get(pid, 0)) / _TICKS / dt for pid, used in ticks.items()}

    def resident(self) -> dict[int, int]:
        """Return the anonymous memory of each in bytes (resident without shared)."""
        held: dict[int, int] = {}
        for pid in self._ticks:
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = (_PROC / str(pid) / "statm").read_text().split()
                held[pid] = (int(words[1]) - int(words[2])) * _PAGE
        return held

    def _members(self) -> list[int]:
        """Return the roots and all their descendants that live, each once."""
        found: dict[int, None] = {}
        waiting = list(self._roots)
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found[pid] = None
                waiting.extend(_children(pid))
        return list(found)


def _children(pid: int) -> list[int]:
    """Return the children of every thread of a process (CONFIG_PROC_CHILDREN, which all have)."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            children.extend(map(int, (task / "children").read_text().split()))
    return children


def _ticks(pid: int) -> int | None:
    """Return the CPU ticks of a process; None if it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name may hold spaces and brackets; the last one closes it.
    words = text.rpartition(")")[2].split()
    return int(words[_USER]) + int(words[_SYSTEM]) if len(words) > _SYSTEM else None
