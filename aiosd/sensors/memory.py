"""What memory there is, what a process takes of it, and which cgroups limit this one.

Every file may be missing: stock Raspberry Pi OS has neither memory cgroups nor pressure, a
container may hide /proc, and a process may be gone before it is read.
"""

import os
import re
from pathlib import Path

from aiosd.domain.reading import (
    CgroupLimit,
    CgroupLimits,
    MemoryReading,
    Pressure,
    ProcessMemory,
    ProcessSource,
)
from aiosd.sensors.hierarchy import UNIFIED, find_hierarchy
from aiosd.sensors.kernel_text import kilobyte_fields, read_text

ROOT = Path("/")

_STALL = re.compile(
    r"^(?P<kind>some|full) avg10=(?P<ten>\d+\.?\d*) avg60=(?P<sixty>\d+\.?\d*)", re.MULTILINE
)
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
_PAGE = os.sysconf("SC_PAGE_SIZE")
# cgroup v1 writes "no limit" as the largest multiple of the page size below 2^63.
_UNLIMITED = 1 << 62

_FILES = {1: ("memory.limit_in_bytes",), UNIFIED: ("memory.max", "memory.high")}


def read_memory(root: Path = ROOT) -> MemoryReading:
    """Read the board's memory; a total or available of 0 means that the kernel does not say.

    A kernel older than 3.14 has no MemAvailable; free and cached memory stand in for it.
    """
    fields = kilobyte_fields(read_text(root / "proc" / "meminfo"))
    fallback = fields.get("MemFree", 0) + fields.get("Cached", 0) + fields.get("Buffers", 0)
    return MemoryReading(
        total_bytes=fields.get("MemTotal", 0),
        available_bytes=fields.get("MemAvailable", fallback),
        swap_used_bytes=max(0, fields.get("SwapTotal", 0) - fields.get("SwapFree", 0)),
        pressure=parse_pressure(read_text(root / "proc" / "pressure" / "memory")),
    )


def read_available(root: Path = ROOT) -> int | None:
    """Return MemAvailable in bytes; None where the kernel does not say."""
    found = _AVAILABLE.search(read_text(root / "proc" / "meminfo"))
    return int(found[1]) * 1024 if found else None


def read_resident(pid: int, root: Path = ROOT) -> int | None:
    """Return a process's resident bytes, shared ones in full; None if it is gone. Cheap."""
    words = read_text(root / "proc" / str(pid) / "statm").split()
    if len(words) < 2 or not words[1].isdecimal():  # noqa: PLR2004 - size, resident
        return None
    return int(words[1]) * _PAGE


def parse_pressure(text: str) -> Pressure | None:
    """Return the kernel's pressure text as a value; None if it is not one (PSI is off)."""
    found = {match["kind"]: match for match in _STALL.finditer(text)}
    if not found.keys() >= {"some", "full"}:
        return None
    some, full = found["some"], found["full"]
    return Pressure(
        some_10=float(some["ten"]),
        some_60=float(some["sixty"]),
        full_10=float(full["ten"]),
        full_60=float(full["sixty"]),
    )


def read_process(pid: int, root: Path = ROOT) -> ProcessMemory | None:
    """Read the memory of one process; None if it is gone.

    `smaps_rollup` (Linux 4.14) needs the right to trace the process; without it `statm` gives
    upper limits. Reading `smaps_rollup` walks the page tables: milliseconds for a large process.
    """
    folder = root / "proc" / str(pid)
    fields = kilobyte_fields(read_text(folder / "smaps_rollup"))
    if "Pss" in fields:
        # Kernels before 5.4 have no Pss_Anon; Anonymous counts pages shared by a fork in full.
        anonymous = fields.get("Pss_Anon", fields.get("Anonymous", 0))
        clean = fields.get("Private_Clean", 0)
        own = clean + fields.get("Private_Dirty", 0)
        return ProcessMemory(
            pss_bytes=fields["Pss"],
            anon_bytes=anonymous,
            own_bytes=own,
            swap_bytes=fields.get("SwapPss", 0),
            source=ProcessSource.SMAPS_ROLLUP,
            # Two lower bounds: pages of a file that was just written are dirty, and mapped too;
            # and what is anonymous may be another's in part.
            mapped_bytes=max(clean, own - anonymous),
        )
    words = read_text(folder / "statm").split()
    if len(words) < 3 or not all(word.isdecimal() for word in words[:3]):  # noqa: PLR2004 - size, resident, shared
        return None
    resident, shared = int(words[1]), int(words[2])
    return ProcessMemory(
        pss_bytes=resident * _PAGE,
        anon_bytes=max(0, resident - shared) * _PAGE,
        own_bytes=max(0, resident - shared) * _PAGE,
        swap_bytes=0,
        source=ProcessSource.STATM,
        mapped_bytes=shared * _PAGE,
    )


def read_limits(root: Path = ROOT) -> CgroupLimits:
    """Read the memory limits that this process's cgroup and all above it set, tightest first.

    What counts is where the memory controller is at work, never the kernel's command line. Of
    version 2 both `memory.max` (kills) and `memory.high` (throttles, which is as bad for a model)
    count.
    """
    hierarchy = find_hierarchy("memory", root)
    if hierarchy is None:
        return CgroupLimits()
    limits = [
        CgroupLimit(str(Path("/") / file.relative_to(root)), limit)
        for folder in hierarchy.chain()
        for file in (folder / name for name in _FILES[hierarchy.version])
        if (limit := _limit(read_text(file))) is not None
    ]
    return CgroupLimits(
        hierarchy.version, tuple(sorted(limits, key=lambda limit: limit.limit_bytes))
    )


def _limit(text: str) -> int | None:
    """Return a limit file's bytes; None if it is missing or sets no limit."""
    word = text.strip()
    if not word.isdecimal():
        return None
    value = int(word)
    return value if value < _UNLIMITED else None
