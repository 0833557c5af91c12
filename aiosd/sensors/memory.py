"""What memory there is, what a process takes of it, and which cgroups limit this one.

Every file may be missing: stock Raspberry Pi OS has neither memory cgroups nor pressure, a
container may hide /proc, and a process may be gone before it is read.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.reading import (
    CgroupLimit,
    CgroupLimits,
    MemoryReading,
    Pressure,
    ProcessMemory,
    ProcessSource,
)

ROOT = Path("/")

_FIELD = re.compile(r"^(?P<key>[A-Za-z_()]+):\s+(?P<kilobytes>\d+) kB", re.MULTILINE)
_STALL = re.compile(
    r"^(?P<kind>some|full) avg10=(?P<ten>\d+\.?\d*) avg60=(?P<sixty>\d+\.?\d*)", re.MULTILINE
)
_OCTAL = re.compile(r"\\([0-7]{3})")

# cgroup v1 writes "no limit" as the largest multiple of the page size below 2^63.
_UNLIMITED = 1 << 62

# Version 2 has one hierarchy for all controllers.
_UNIFIED = 2
_FILES = {1: ("memory.limit_in_bytes",), _UNIFIED: ("memory.max", "memory.high")}


def read_memory(root: Path = ROOT) -> MemoryReading:
    """Read the board's memory; a total or available of 0 means that the kernel does not say.

    A kernel older than 3.14 has no MemAvailable; free and cached memory stand in for it.
    """
    fields = _fields(_text(root / "proc" / "meminfo"))
    fallback = fields.get("MemFree", 0) + fields.get("Cached", 0) + fields.get("Buffers", 0)
    return MemoryReading(
        total_bytes=fields.get("MemTotal", 0),
        available_bytes=fields.get("MemAvailable", fallback),
        swap_used_bytes=max(0, fields.get("SwapTotal", 0) - fields.get("SwapFree", 0)),
        pressure=parse_pressure(_text(root / "proc" / "pressure" / "memory")),
    )


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
    fields = _fields(_text(folder / "smaps_rollup"))
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
    words = _text(folder / "statm").split()
    if len(words) < 3 or not all(word.isdecimal() for word in words[:3]):  # noqa: PLR2004 - size, resident, shared
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    resident, shared = int(words[1]), int(words[2])
    return ProcessMemory(
        pss_bytes=resident * page,
        anon_bytes=max(0, resident - shared) * page,
        own_bytes=max(0, resident - shared) * page,
        swap_bytes=0,
        source=ProcessSource.STATM,
        mapped_bytes=shared * page,
    )


def read_limits(root: Path = ROOT) -> CgroupLimits:
    """Read the memory limits that this process's cgroup and all above it set, tightest first.

    What counts is where the memory controller is at work, never the kernel's command line. Of
    version 2 both `memory.max` (kills) and `memory.high` (throttles, which is as bad for a model)
    count.
    """
    for mount in _mounts(_text(root / "proc" / "self" / "mountinfo")):
        place = _cgroup_of(_text(root / "proc" / "self" / "cgroup"), mount.version)
        if place is None or not _controls_memory(root, mount):
            continue
        limits = [
            CgroupLimit(str(Path("/") / file.relative_to(root)), limit)
            for folder in _chain(root, mount, place)
            for file in (folder / name for name in _FILES[mount.version])
            if (limit := _limit(_text(file))) is not None
        ]
        return CgroupLimits(
            mount.version, tuple(sorted(limits, key=lambda limit: limit.limit_bytes))
        )
    return CgroupLimits()


@dataclass(frozen=True)
class _Mount:
    """A cgroup hierarchy: its version, where it is mounted, and which part of it."""

    version: int
    point: str
    inner: str


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    """Yield the hierarchies that may hold the memory controller, version 1 first.

    Where version 1 has the controller, version 2 (mounted beside it by systemd) has not.
    """
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3:  # noqa: PLR2004 - the fields read below
            continue
        inner, point = _unescape(words[3]), _unescape(words[4])
        if kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            found.append(_Mount(1, point, inner))
        elif kind[0] == "cgroup2":
            found.append(_Mount(_UNIFIED, point, inner))
    yield from sorted(found, key=lambda mount: mount.version)


def _unescape(word: str) -> str:
    """Undo the octal escapes of mountinfo (a space is 040)."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)


def _cgroup_of(text: str, version: int) -> str | None:
    """Return this process's cgroup in that hierarchy, from /proc/self/cgroup."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        unified = number == "0" and not controllers
        mine = unified if version == _UNIFIED else "memory" in controllers.split(",")
        if mine and place:
            return place
    return None


def _controls_memory(root: Path, mount: _Mount) -> bool:
    """Tell whether the hierarchy has the memory controller; of version 2 the root lists it."""
    if mount.version == 1:
        return True
    listed = _text(root / mount.point.lstrip("/") / "cgroup.controllers")
    return "memory" in listed.split()


def _chain(root: Path, mount: _Mount, place: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of all above it, innermost first.

    A container sees only the part of the hierarchy that is mounted; what lies above it, or beside
    it (a path with ".."), cannot be read and is left out.
    """
    top = root / mount.point.lstrip("/")
    inner = mount.inner.rstrip("/")
    inside = place.removeprefix(inner) if place == inner or place.startswith(f"{inner}/") else ""
    parts = [part for part in inside.split("/") if part]
    if ".." in parts:
        parts = []
    for length in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:length])


def _limit(text: str) -> int | None:
    """Return a limit file's bytes; None if it is missing or sets no limit."""
    word = text.strip()
    if not word.isdecimal():
        return None
    value = int(word)
    return value if value < _UNLIMITED else None


def _fields(text: str) -> dict[str, int]:
    """Return the `Key: n kB` lines of a kernel text, in bytes."""
    return {match["key"]: int(match["kilobytes"]) * 1024 for match in _FIELD.finditer(text)}


def _text(path: Path) -> str:
    """Return a small kernel file as text, empty if it cannot be read.

    A file may exist and still refuse: pressure that is switched off answers EOPNOTSUPP, a process
    that ends ESRCH.
    """
    with contextlib.suppress(OSError):
        return path.read_bytes().decode("utf-8", "replace")
    return ""
