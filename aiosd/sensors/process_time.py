"""How much CPU time a process has used: /proc/<pid>/stat (proc(5), fields 14 and 15)."""

import os
from pathlib import Path

from aiosd.sensors.kernel_file import ROOT

_UTIME, _STIME = 11, 12  # counted after the command's name, which may hold anything


def read_cpu_seconds(pid: int, root: Path = ROOT) -> float | None:
    """Return the CPU seconds of all threads of a process since it began; None if it is gone."""
    try:
        text = (root / "proc" / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _STIME:
        return None
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return ticks / os.sysconf("SC_CLK_TCK")
