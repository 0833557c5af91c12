"""Which control group hierarchy has a controller at work, and where in it this process is.

Version 1 has one hierarchy per controller or few, version 2 one for all; a hybrid machine has
both, and each controller is in one of them. What counts is what is mounted, never the kernel's
command line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiosd.sensors.kernel_text import read_text

ROOT = Path("/")
UNIFIED = 2

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Hierarchy:
    """A hierarchy with a controller: its version, its top folder, and this process's own group.

    A container sees only the part of the hierarchy that is mounted: a group outside it counts as
    the top. `place` is the own group as the kernel names it.
    """

    version: int
    top: Path
    group: Path
    place: str

    def chain(self) -> Iterator[Path]:
        """Yield the own group's folder and all above it, innermost first."""
        folder = self.group
        while folder != self.top:
            yield folder
            folder = folder.parent
        yield self.top


def find_hierarchy(controller: str, root: Path = ROOT) -> Hierarchy | None:
    """Return the hierarchy that has a controller at work, or None.

    Where version 1 has the controller, version 2 (mounted beside it by systemd) has not.
    """
    mountinfo = read_text(root / "proc" / "self" / "mountinfo")
    own = read_text(root / "proc" / "self" / "cgroup")
    for mount in _mounts(mountinfo, controller):
        place = _place(own, mount.version, controller)
        top = root / mount.point.lstrip("/")
        if place is None or not _has(top, mount.version, controller):
            continue
        return Hierarchy(mount.version, top, top.joinpath(*_inside(mount.inner, place)), place)
    return None


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy: its version, where it is mounted, and which part of it."""

    version: int
    point: str
    inner: str


def _mounts(mountinfo: str, controller: str) -> Iterator[_Mount]:
    """Yield the hierarchies that may hold the controller, version 1 first."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3:  # noqa: PLR2004 - the fields read below
            continue
        inner, point = _unescape(words[3]), _unescape(words[4])
        if kind[0] == "cgroup" and controller in kind[-1].split(","):
            found.append(_Mount(1, point, inner))
        elif kind[0] == "cgroup2":
            found.append(_Mount(UNIFIED, point, inner))
    yield from sorted(found, key=lambda mount: mount.version)


def _unescape(word: str) -> str:
    """Undo the octal escapes of mountinfo (a space is 040)."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)


def _place(own: str, version: int, controller: str) -> str | None:
    """Return this process's group in that hierarchy, from /proc/self/cgroup."""
    for line in own.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        unified = number == "0" and not controllers
        mine = unified if version == UNIFIED else controller in controllers.split(",")
        if mine and place:
            return place
    return None


def _has(top: Path, version: int, controller: str) -> bool:
    """Tell whether the hierarchy has the controller; of version 2 the top lists it."""
    if version == 1:
        return True
    return controller in read_text(top / "cgroup.controllers").split()


def _inside(inner: str, place: str) -> list[str]:
    """Return the own group's path below what is mounted; none if it lies above or beside that."""
    inner = inner.rstrip("/")
    inside = place.removeprefix(inner) if place == inner or place.startswith(f"{inner}/") else ""
    parts = [part for part in inside.split("/") if part]
    return [] if ".." in parts else parts
