"""What the daemon finds around itself when it starts or reloads."""

from dataclasses import dataclass
from pathlib import Path

from aiosd.boards.machine import read_machine
from aiosd.boards.profiles import Picked, pick_profile, read_profiles
from aiosd.daemon.settings import Settings
from aiosd.domain.board import Machine
from aiosd.domain.errors import ConfigError
from aiosd.policy.caps import RamCap, ram_cap
from aiosd.sensors.memory import read_limits


@dataclass(frozen=True)
class Surroundings:
    """The machine, the profile that fits it, and the RAM cap that follows."""

    machine: Machine
    picked: Picked
    cap: RamCap


def look_around(settings: Settings) -> Surroundings:
    """Return the machine, the profile that fits it, and the RAM cap.

    Raises:
        ConfigError: a profile is wrong, or the one named in the settings does not exist.
    """
    root = Path(settings.board.sysroot)
    machine = read_machine(root / "proc")
    if not machine.ram_bytes:
        # A folder with instruments only stands on the real machine.
        machine = read_machine()
    layout = settings.layout()
    if settings.board.profile == "auto":
        tree = root / "proc" / "device-tree"
        picked = pick_profile(layout.profiles, tree, cpu_model=machine.cpu_model)
    else:
        profiles = read_profiles(layout.profiles)
        if settings.board.profile not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            raise ConfigError(f"no board profile named {settings.board.profile!r}; known: {known}")
        picked = Picked(profiles[settings.board.profile], "named in the settings")
    cap = ram_cap(picked.profile, machine, read_limits(), settings.ram_cap_bytes)
    return Surroundings(machine, picked, cap)
