"""How much CPU time a process has used: /proc/<pid>/stat (proc(5), fields 14 and 15)."""

import os
from pathlib import Path

from aiosd.sensors.kernel_file import ROOT

_UTIME, _STIME = 11, 12  # counted after the command's name, which may hold anything
_TICKS = os.sysconf("SC_CLK_TCK")
_BYTES = 1024


def read_cpu_seconds(pid: int, root: Path = ROOT) -> float | None:
    """Return the CPU seconds of all threads of a process since it began; None if it is gone.

    It is read for each worker ten times a second, so not by way of a `Path` and a text file.
    """
    try:
        handle = os.open(f"{root}/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(handle, _BYTES)
    except OSError:
        return None
    finally:
        os.close(handle)
    fields = text.rpartition(b")")[2].split(maxsplit=_STIME + 1)
    if len(fields) <= _STIME:
        return None
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
