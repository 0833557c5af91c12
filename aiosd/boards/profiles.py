"""Which board this is: its device tree or processor, matched exactly against the profiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiosd.boards.machine import PROC, read_machine
from aiosd.domain.board import BoardProfile
from aiosd.domain.errors import ConfigError
from aiosd.protocol.toml import decode_toml

DEVICE_TREE = PROC / "device-tree"
GENERIC = "generic"


@dataclass(frozen=True)
class Picked:
    """The profile for this board, and the sentence that says why."""

    profile: BoardProfile
    reason: str


def read_profile(path: Path) -> BoardProfile:
    """Read one profile.

    Raises:
        ConfigError: it cannot be read, is no profile (with the line), or has another name than
            the file.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(str(error.strerror), path=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text (byte {error.start})", path=str(path)) from error
    profile = decode_toml(text, BoardProfile, path=str(path))
    if profile.name != path.stem:
        raise ConfigError(
            f"name is {profile.name!r} but the file is {path.stem!r}; rename one of them",
            path=str(path),
        )
    return profile


def read_profiles(folders: Sequence[Path]) -> dict[str, BoardProfile]:
    """Read every profile of the folders, by name; an earlier folder's profile wins.

    A folder that does not exist is as good as empty.

    Raises:
        ConfigError: a profile is wrong, or two claim the same board.
    """
    profiles: dict[str, BoardProfile] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            profile = read_profile(path)
            profiles.setdefault(profile.name, profile)
    owners: dict[str, str] = {}
    for profile in profiles.values():
        for entry in (*profile.compatible, *profile.cpu_models):
            owner = owners.setdefault(entry, profile.name)
            if owner != profile.name:
                raise ConfigError(f"profiles {owner} and {profile.name} both claim {entry!r}")
    return profiles


def pick_profile(
    folders: Sequence[Path], device_tree: Path = DEVICE_TREE, *, cpu_model: str | None = None
) -> Picked:
    """Return the profile for this board.

    The device tree's `compatible` list is walked from the most specific entry to the SoC, and the
    first that a profile names exactly decides; without one the processor's model name does; else
    `generic`, from the folders or, if they have none, built in.

    Raises:
        ConfigError: as `read_profiles`.
    """
    profiles = read_profiles(folders)
    entries = compatible_entries(device_tree)
    for entry in entries:
        for profile in profiles.values():
            if entry in profile.compatible:
                return Picked(profile, f"device tree says {entry!r}")
    model = read_machine().cpu_model if cpu_model is None else cpu_model
    for profile in profiles.values():
        if model and model in profile.cpu_models:
            return Picked(profile, f"processor is {model!r}")
    generic = profiles.get(GENERIC) or BoardProfile(
        name=GENERIC, summary="Any board without a profile"
    )
    found = ", ".join(map(repr, entries)) if entries else "no device tree"
    return Picked(generic, f"no profile names this board ({found}; processor {model!r})")


def compatible_entries(device_tree: Path) -> list[str]:
    """Return the NUL-separated entries of the root's `compatible`, most specific first.

    Empty where there is no device tree or its list is not readable.
    """
    try:
        data = (device_tree / "compatible").read_bytes()
    except OSError:
        return []
    return [entry.decode("ascii", "replace") for entry in data.split(b"\0") if entry]
