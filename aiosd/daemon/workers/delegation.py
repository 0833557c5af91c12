"""Which part of the control group tree is ours to divide, and making it ready for workers.

Version 2 lets no group have both processes and groups with controllers below it: the daemon, and
with it the hosts that it starts, moves into a leaf of its own first. Version 1 has no such rule.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiosd.sensors.hierarchy import UNIFIED, Hierarchy, find_hierarchy
from aiosd.sensors.kernel_text import read_text

CONTROLLERS = ("memory", "cpu")
# Where the daemon itself sits; also DelegateSubgroup= of the unit, for systemd 254 and later.
LEAF = "daemon"
OURS = "aiosd."
# systemd marks what it has handed over: see systemd's CGROUP_DELEGATION.
_MARKS = ("user.delegate", "trusted.delegate")


@dataclass(frozen=True)
class Ground:
    """A folder in which groups of workers are made, and what can be controlled there."""

    version: int
    controllers: tuple[str, ...]
    folder: Path
    base: Path


@dataclass
class Grounds:
    """All that is ours, and for each controller that is not, the reason.

    `simulated` says that the folders are a simulator's: nothing there holds a process to anything.
    """

    grounds: list[Ground] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    simulated: bool = False

    def of(self, controller: str) -> Ground | None:
        """Return where a controller is at work."""
        return next((each for each in self.grounds if controller in each.controllers), None)


def take_ground(root: Path, pid: int, wanted: Sequence[str] = CONTROLLERS) -> Grounds:
    """Make groups of our own below this process's; what cannot be had is told in `lacking`.

    `root` may be a simulated board's, `pid` is this process. What daemons left behind who are gone
    is removed.
    """
    taken = Grounds(simulated=(root / "SIMULATED").exists())
    found: dict[tuple[int, Path], list[str]] = {}
    places: dict[tuple[int, Path], Hierarchy] = {}
    for controller in wanted:
        place = find_hierarchy(controller, root)
        if place is None:
            taken.lacking[controller] = f"the {controller} controller is off on this machine"
            continue
        key = (place.version, place.group)
        found.setdefault(key, []).append(controller)
        places[key] = place
    for key, controllers in found.items():
        try:
            taken.grounds.append(_take(places[key], controllers, pid, taken))
        except OSError as error:
            why = f"{places[key].place} cannot be divided: {error.strerror or error}"
            taken.lacking |= dict.fromkeys(controllers, why)
    return taken


def give_back(taken: Grounds, pid: int) -> None:
    """Remove our groups and go back to where we came from; what is in use stays."""
    for ground in taken.grounds:
        remove_group(ground.folder, simulated=taken.simulated)
        if ground.version != UNIFIED or not _is_inner(ground.base, taken):
            continue
        with contextlib.suppress(OSError):
            _enable(ground.base, ground.controllers, "-")
            write_file(ground.base / "cgroup.procs", str(pid))
            remove_group(ground.base / LEAF, simulated=taken.simulated)


def remove_group(folder: Path, *, simulated: bool) -> bool:
    """Remove a group, and those below it, as far as no process is in it; tell whether it is gone.

    A kernel's folder goes with its files; a simulator's must be emptied first.
    """
    for child in _subgroups(folder):
        remove_group(child, simulated=simulated)
    if simulated:
        for file in folder.glob("*"):
            with contextlib.suppress(OSError):
                file.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def write_file(path: Path, text: str) -> None:
    """Write to a group's file.

    Raises:
        OSError: it does not exist, or the kernel refuses.
    """
    path.write_bytes(text.encode())


def _take(place: Hierarchy, controllers: list[str], pid: int, taken: Grounds) -> Ground:
    """Make the folder for workers in one hierarchy.

    Raises:
        OSError: it is not ours, or others are in the way.
    """
    base = place.group
    if place.version == UNIFIED and base.name == LEAF:
        base = base.parent
    why = _refusal(base, place, taken)
    if why:
        raise PermissionError(why)
    _sweep(base, pid, taken)
    if place.version == UNIFIED:
        offered = read_text(base / "cgroup.controllers").split()
        for name in [name for name in controllers if name not in offered]:
            controllers.remove(name)
            taken.lacking[name] = f"the {name} controller is not handed down to {place.place}"
        _split(base, controllers, pid, taken)
    folder = base / f"{OURS}{pid}"
    folder.mkdir(exist_ok=True)
    if place.version == UNIFIED:
        _enable(folder, controllers, "+")
    return Ground(place.version, tuple(controllers), folder, base)


def _refusal(base: Path, place: Hierarchy, taken: Grounds) -> str:
    """Return why a group is not ours to divide, or nothing.

    Root may write everywhere, and must not where systemd has not handed the group over.
    """
    if not os.access(base, os.W_OK):
        return "it is not writable for this user"
    if place.version != UNIFIED or taken.simulated or base == place.top or os.geteuid() != 0:
        return ""
    if any(mark in _marks(base) for mark in _MARKS):
        return ""
    return "it is not delegated to this service (systemd: Delegate=memory cpu)"


def _marks(base: Path) -> list[str]:
    """Return the extended attributes of a group."""
    with contextlib.suppress(OSError):
        return os.listxattr(base)
    return []


def _split(base: Path, controllers: list[str], pid: int, taken: Grounds) -> None:
    """Move into a leaf and hand the controllers down; go back if that is refused.

    Raises:
        OSError: other processes are in this group, or nothing may be handed down.
    """
    inner = _is_inner(base, taken)
    leaf = base / LEAF
    if inner:
        leaf.mkdir(exist_ok=True)
        write_file(leaf / "cgroup.procs", str(pid))
    try:
        _enable(base, controllers, "+")
    except OSError:
        if inner:
            write_file(base / "cgroup.procs", str(pid))
            remove_group(leaf, simulated=taken.simulated)
        raise


def _is_inner(base: Path, taken: Grounds) -> bool:
    """Tell whether the rule of no processes in inner groups holds here: not in the very root."""
    return taken.simulated or (base / "cgroup.type").exists()


def _enable(folder: Path, controllers: list[str] | tuple[str, ...], sign: str) -> None:
    """Hand controllers down to the groups below, or no longer."""
    text = " ".join(f"{sign}{name}" for name in controllers)
    write_file(folder / "cgroup.subtree_control", text)


def _sweep(base: Path, pid: int, taken: Grounds) -> None:
    """Remove what daemons left behind who were killed; one of our own pid is never another's."""
    for folder in _subgroups(base):
        number = folder.name.removeprefix(OURS)
        if folder.name == number or not number.isdecimal():
            continue
        if int(number) == pid or not Path("/proc", number).exists():
            remove_group(folder, simulated=taken.simulated)


def _subgroups(folder: Path) -> Iterator[Path]:
    """Yield the groups right below one."""
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    yield from (child for child in children if child.is_dir())
