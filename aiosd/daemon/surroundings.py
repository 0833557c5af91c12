"""What the daemon finds around itself when it starts or reloads, and what follows for its parts."""

import logging
from dataclasses import dataclass
from pathlib import Path

from aiosd.boards.machine import read_machine
from aiosd.boards.profiles import Picked, pick_profile, read_profiles
from aiosd.daemon.inventory import LoadRules
from aiosd.daemon.settings import Settings
from aiosd.domain.board import Machine
from aiosd.domain.errors import ConfigError
from aiosd.policy.memory.caps import RamCap, ram_cap
from aiosd.policy.serving.restart import RestartRules
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.protocol.limits import Limits
from aiosd.sensors.memory import read_limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What the owner says, the machine, the profile that fits it, and what follows of them."""

    settings: Settings
    machine: Machine
    picked: Picked
    cap: RamCap

    @property
    def resident(self) -> bool:
        """Whether engine hosts stay resident: the owner's word, else the profile's."""
        wanted = self.settings.engines.hosts
        return self.picked.profile.hosts if wanted == "auto" else wanted == "on"

    @property
    def threads(self) -> int:
        """How many threads an engine may compute with."""
        least = min(self.picked.profile.threads, self.machine.cores)
        return self.settings.engines.threads or least

    @property
    def board(self) -> str:
        """What a measured footprint depends on beside its package and engine."""
        processor = self.machine.cpu_model[:100]
        hosts = "forked workers" if self.resident else "workers of their own"
        return f"{self.picked.profile.name}, {processor}, {hosts}"

    def limits(self) -> Limits:
        """Return how large a message may be."""
        return Limits(attachment_bytes=self.settings.attachment_bytes)

    def load_rules(self, *, resident: bool) -> LoadRules:
        """Return how experts are loaded and kept, with or without hosts that are there."""
        settings = self.settings
        return LoadRules(
            keep_alive_seconds=settings.experts.keep_alive_seconds,
            park_after_seconds=settings.experts.park_after_seconds,
            load_limit_seconds=settings.experts.load_limit_seconds,
            threads=self.threads,
            own_process=not resident,
            needs=settings.needs,
        )

    def scheduler_rules(self) -> SchedulerRules:
        """Return what the owner's settings bound of the scheduler's policy."""
        settings, threads = self.settings, self.threads
        return SchedulerRules(
            queue_per_client=settings.queue.per_client,
            queue_total=settings.queue.total,
            gather_seconds=settings.queue.gather_seconds,
            interrupt_grace_seconds=settings.stop.interrupt_grace_seconds,
            threads=threads,
            running=settings.queue.running or threads + 1,
            patience_seconds=settings.queue.power_seconds,
            restart=RestartRules(
                first_rest_seconds=settings.restart.first_rest_seconds,
                longest_rest_seconds=settings.restart.longest_rest_seconds,
                crashes=settings.restart.crashes,
                window_seconds=settings.restart.window_seconds,
            ),
        )


def look_around(settings: Settings) -> Surroundings:
    """Return what the settings and this machine come to.

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
    return Surroundings(settings, machine, picked, cap)


def make_state_folder(path: Path) -> None:
    """Make the state folder; a board with a read-only root is served without one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("no state is kept: %s: %s", path, error.strerror)
