"""What `aiosctl doctor` looks at on the machine: Python, memory, disk, board."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from aiosd.boards.machine import read_machine, refusal
from aiosd.boards.profiles import GENERIC, pick_profile
from aiosd.cli.check import Check, fail, ok, warn
from aiosd.cli.render import MIB, size
from aiosd.domain.errors import ConfigError
from aiosd.sensors.kernel_text import read_text
from aiosd.sensors.memory import read_limits, read_memory
from aiosd.store.layout import Layout

NEEDED = ("msgpack", "msgspec", "psutil", "pyzmq", "sdnotify")
MODULES = {"pyzmq": "zmq"}
PYTHON = (3, 11)
LOW_RAM_BYTES = 256 * MIB
LOW_DISK_BYTES = 512 * MIB
NO_DISK_BYTES = 32 * MIB
# What lets two files have blocks in common, so that an update writes what it fetched.
SHARING = frozenset({"bcachefs", "btrfs", "xfs"})


def machine_checks(layout: Layout, root: Path = Path("/")) -> Iterator[Check]:
    """Yield every check of the machine; `root` may be another for tests."""
    yield python_check()
    yield from package_checks()
    yield memory_check(root)
    yield swap_check(root)
    yield pressure_check(root)
    yield cgroup_check(root)
    yield disk_check(layout)
    yield from sharing_check(layout, root)
    yield profile_check(layout)


def python_check() -> Check:
    """Check the interpreter's version and word size."""
    found = f"{platform.python_version()}, {platform.machine()}"
    why = refusal(read_machine())
    if why:
        return fail("python", found, why)
    if tuple(map(int, platform.python_version_tuple()[:2])) < PYTHON:
        return fail("python", found, "aiosd needs Python 3.11 or newer")
    return ok("python", f"{found}, 64-bit")


def package_checks() -> Iterator[Check]:
    """Check the packages that the daemon needs, and Pillow, which only pictures need."""
    missing, found = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            # A distribution's package may come without metadata.
            if find_spec(MODULES.get(name, name)) is None:
                missing.append(name)
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield ok("packages", ", ".join(found))
    try:
        yield ok("pillow", version("pillow"))
    except PackageNotFoundError:
        yield warn(
            "pillow", "missing: experts for pictures cannot load", "pip install 'aiosd[image]'"
        )


def memory_check(root: Path) -> Check:
    """Check how much RAM there is and how much of it is free."""
    reading = read_memory(root)
    found = f"{size(reading.available_bytes)} available of {size(reading.total_bytes)}"
    if not reading.total_bytes:
        return warn("ram", "the kernel does not say", "is /proc mounted?")
    if reading.available_bytes < LOW_RAM_BYTES:
        return warn("ram", found, "only very small experts fit; stop what is not needed")
    return ok("ram", found)


def swap_check(root: Path) -> Check:
    """Check for swap, and whether it is compressed RAM or a card that wears out."""
    try:
        lines = (root / "proc" / "swaps").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split()[0] for line in lines[1:] if line.split()]
    if not names:
        return ok("swap", "none: a full memory ends the largest process at once")
    if all("zram" in name for name in names):
        return ok("swap", ", ".join(names))
    return warn(
        "swap",
        ", ".join(names),
        "a model in swap on a card is unusably slow and wears the card; prefer zram",
    )


def pressure_check(root: Path) -> Check:
    """Check whether the kernel tells about memory pressure."""
    pressure = read_memory(root).pressure
    if pressure is None:
        return warn(
            "pressure",
            "the kernel does not measure it (PSI is off); aiosd goes by MemAvailable",
            "add psi=1 to the kernel's command line if you want it",
        )
    return ok(
        "pressure", f"{pressure.some_10:.1f} % of the last 10 s, {pressure.some_60:.1f} % of 60 s"
    )


def cgroup_check(root: Path) -> Check:
    """Check whether a memory cgroup can hold the experts to the cap."""
    limits = read_limits(root)
    if not limits.version:
        return warn(
            "memory cgroup",
            "off: the RAM cap is kept by aiosd's own books and by looking at busy workers",
            "on a Raspberry Pi: add cgroup_enable=memory to cmdline.txt and restart (it costs "
            "about 1 % of the RAM; some kernels take no notice: look here again)",
        )
    tightest = limits.tightest
    found = f"limit {size(tightest.limit_bytes)} ({tightest.path})" if tightest else "no limit"
    return ok("memory cgroup", f"version {limits.version}, {found}")


def disk_check(layout: Layout) -> Check:
    """Check the state folder and the room on its disk."""
    folder = layout.state
    if not folder.is_dir():
        return warn("state", f"{folder} does not exist yet", "the service makes it when it starts")
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {size(free)} free"
    if free < NO_DISK_BYTES:
        return fail("state", found, "free some space: nothing can be remembered or installed")
    if not os.access(folder, os.W_OK):
        owner = folder.stat().st_uid
        return ok("state", f"{found}, writable by user {owner} only (install as that user or root)")
    if free < LOW_DISK_BYTES:
        return warn("state", found, "free some space before installing experts")
    return ok("state", found)


def sharing_check(layout: Layout, root: Path) -> Iterator[Check]:
    """Check what an update writes, where releases have come by one."""
    kind = _kind(layout.blobs, read_text(root / "proc" / "self" / "mountinfo"))
    if not layout.blobs.is_dir() or not kind:
        return
    if kind in SHARING:
        yield ok("updates", f"{layout.blobs} is {kind}: what is changed of a model is written")
    else:
        yield warn(
            "updates",
            f"{layout.blobs} is {kind}: a file that changed in part is written whole (of a model "
            "in parts, the part)",
            "if that wears your card, have the store on xfs: aiosd-store.service",
        )


def _kind(folder: Path, mountinfo: str) -> str:
    """Return the kind of the file system that a folder lies on; "" if the kernel does not say."""
    place, found = folder.resolve(), ("", "")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) > 4 and kind and place.is_relative_to(words[4]):  # noqa: PLR2004 - the field
            found = max(found, (words[4], kind[0]), key=lambda each: len(each[0]))
    return found[1]


def profile_check(layout: Layout) -> Check:
    """Check which board profile is chosen."""
    try:
        picked = pick_profile(layout.profiles)
    except ConfigError as error:
        return fail("board profile", str(error), "correct the profile, or remove it")
    found = f"{picked.profile.name}: {picked.reason}"
    if picked.profile.name == GENERIC:
        return ok("board profile", f"{found}; cautious defaults are used")
    return ok("board profile", found)
