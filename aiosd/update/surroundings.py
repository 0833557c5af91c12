"""What the updater finds around it: which board this is, and whether its connection costs money."""

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from aiosd import __version__
from aiosd.domain.release import Release
from aiosd.domain.update import Fault, Update, UpdateError
from aiosd.store.durable import replace_file

_MACHINE_ID = Path("/etc/machine-id")
_NETWORK_MANAGER = "org.freedesktop.NetworkManager"
# NetworkManager's NM_METERED_YES and NM_METERED_GUESS_YES.
_METERED = ("u 1", "u 3")
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Machine:
    """What a release may require of a board."""

    arch: str
    page_bytes: int
    aiosd: str


def this_machine() -> Machine:
    """Return what this machine is."""
    return Machine(platform.machine(), os.sysconf("SC_PAGE_SIZE"), __version__)


def check_fits(release: Release, machine: Machine) -> None:
    """Refuse a release that is not made for this machine; RAM and power are the daemon's to judge.

    Raises:
        UpdateError: so it is.
    """
    requires = release.requires
    if requires.arch and machine.arch not in requires.arch:
        why = f"is for {', '.join(requires.arch)}, this is {machine.arch}"
    elif requires.page_bytes and machine.page_bytes not in requires.page_bytes:
        why = f"is for pages of {requires.page_bytes} bytes, here are {machine.page_bytes}"
    elif requires.aiosd and _numbers(machine.aiosd) < _numbers(requires.aiosd):
        why = f"needs aiosd {requires.aiosd}, this is {machine.aiosd}"
    else:
        return
    raise UpdateError(Fault.WRONG_RELEASE, f"{release.name} release {release.release} {why}")


def device_id(update: Update, state: Path, machine_id: Path = _MACHINE_ID) -> str:
    """Return what tells this board from others: the owner's word, or one derived from the system's.

    It never leaves the board: a rollout's percentage is decided here.

    Raises:
        OSError: there is none, and none can be kept.
    """
    if update.device_id:
        return update.device_id
    try:
        seed = machine_id.read_bytes().strip()
    except OSError:
        seed = b""
    if not seed or seed == b"uninitialized":
        kept = state / "device-id"
        try:
            return kept.read_text(encoding="ascii").strip()
        except OSError:
            seed = os.urandom(32)
            made = hashlib.sha256(seed).hexdigest()
            replace_file(kept, made.encode())
            return made
    # As machine-id(5) asks: others must not be able to get back to it.
    return hashlib.sha256(b"aiosd-update\0" + seed).hexdigest()


def is_metered(update: Update) -> bool:
    """Tell whether the connection costs money: as the owner says, or as NetworkManager does."""
    if update.metered != "auto":
        return update.metered == "yes"
    busctl = shutil.which("busctl")
    if busctl is None:
        return False
    path = f"/{_NETWORK_MANAGER.replace('.', '/')}"
    command = [busctl, "get-property", _NETWORK_MANAGER, path, _NETWORK_MANAGER, "Metered"]
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own tool
            command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() in _METERED


def environment_variables() -> dict[str, str]:
    """Return the environment; the only place of this process that looks there."""
    return dict(os.environ)  # noqa: TID251 - this is the one place


def _numbers(text: str) -> tuple[int, ...]:
    """Return a version's leading numbers; a range like ">=0.2" counts by its number."""
    numbers = []
    for part in text.lstrip("<>=~! ").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
