"""The control groups of the workers: one each, made before it loads and removed when it is gone.

Whatever the kernel refuses is noted and said in `status`; it never stops the daemon, whose books
then hold the caps alone.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiosd.daemon.workers.delegation import (
    Grounds,
    give_back,
    remove_group,
    take_ground,
    write_file,
)
from aiosd.daemon.workers.memory_files import MEMORY
from aiosd.domain.request import Priority
from aiosd.policy.memory.allotment import WEIGHTS, memory_limit
from aiosd.sensors.hierarchy import UNIFIED
from aiosd.sensors.kernel_text import read_text

log = logging.getLogger(__name__)

OWN_BOOKS = "the daemon's own books and polling"
# The kernel's period of a quota, and the least that it takes for one, in microseconds.
PERIOD_US = 100_000
LEAST_QUOTA_US = 1_000
# Version 1 counts shares where version 2 has weights; both defaults mean the same.
_SHARES_PER_WEIGHT = 1024 / 100


@dataclass
class Group:
    """One worker's group: its folder by controller, and what was last written there."""

    folders: dict[str, Path]
    limit_bytes: int | None = None
    weight: int = WEIGHTS[Priority.NORMAL]


@dataclass(frozen=True)
class Ending:
    """What a group says of its worker's end.

    `over_limit`: the kernel ended it because it went over `limit_bytes`, its own limit.
    `out_of_memory`: the kernel ended it because memory ran out elsewhere.
    """

    over_limit: bool = False
    out_of_memory: bool = False
    limit_bytes: int = 0


class ControlGroups:
    """The groups of all workers of this daemon."""

    def __init__(self, root: Path, *, wanted: bool = True) -> None:
        """Take what part of the tree is ours; `root` may be a simulated board's.

        Not `wanted`, nothing is touched, and all calls do nothing.
        """
        self._pid = os.getpid()
        self._made = 0
        if not (root / "proc" / "self" / "cgroup").exists():
            root = Path("/")  # a folder with instruments only stands on the real machine
        self._grounds = take_ground(root, self._pid) if wanted else Grounds()
        self._groups: dict[str, Group] = {}
        self._stuck: list[Path] = []
        self._problems: dict[str, str] = {}
        log.info("the RAM cap is held by %s", self.mechanism)

    @property
    def active(self) -> bool:
        """Whether workers get groups at all."""
        return bool(self._grounds.grounds)

    @property
    def mechanism(self) -> str:
        """What holds a worker to its share of the RAM cap, with the reason why not more."""
        ground = self._grounds.of("memory")
        if ground is None:
            why = self._grounds.lacking.get("memory", "switched off in the settings")
            return f"{OWN_BOOKS} ({why})"
        if "memory limit" in self._problems:
            return f"{OWN_BOOKS} ({self._problems['memory limit']})"
        where = "cgroup v2, delegated" if ground.version == UNIFIED else "cgroup v1"
        acting = ", SIMULATED: it ends nobody" if self._grounds.simulated else ""
        file = MEMORY[ground.version].limit
        return f"{file} per worker ({where}{acting}), beside {OWN_BOOKS}"

    @property
    def problems(self) -> list[str]:
        """What could not be had or set, one sentence each."""
        return [*self._grounds.lacking.values(), *self._problems.values()]

    @property
    def has_quota(self) -> bool:
        """Whether `quota` can do anything here."""
        return self._grounds.of("cpu") is not None

    @property
    def simulated(self) -> bool:
        """Whether the groups are a simulated board's, which slow nobody down."""
        return self._grounds.simulated

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    def open(self, expert: str, limit_bytes: int) -> None:
        """Make an expert's group with its memory limit, before its worker loads."""
        if not self.active:
            return
        self._retry()
        self._made += 1
        group = Group({})
        for ground in self._grounds.grounds:
            folder = ground.folder / f"{expert}.{self._made}"
            with self._noting("group"):
                folder.mkdir()
                group.folders |= dict.fromkeys(ground.controllers, folder)
        self._groups[expert] = group
        memory = self._grounds.of("memory")
        if memory is not None and "memory" in group.folders:
            for name, text in MEMORY[memory.version].at_start:
                with self._noting(name, group.folders["memory"] / name):
                    write_file(group.folders["memory"] / name, text)
            self.limit_memory(expert, limit_bytes)

    def entrances(self, expert: str) -> list[str]:
        """Return the files to which an expert's worker is to write its pid, before all else.

        It moves itself because the kernel waits for a grace period meanwhile, some milliseconds in
        which the daemon would answer nobody.
        """
        group = self._groups.get(expert)
        folders = dict.fromkeys(group.folders.values()) if group else {}
        return [str(folder / "cgroup.procs") for folder in folders]

    def check(self, expert: str, pid: int) -> None:
        """Note it if a worker that is ready is not in its group."""
        group = self._groups.get(expert)
        for controller, folder in group.folders.items() if group else ():
            what = f"{controller} limit"
            if str(pid) in read_text(folder / "cgroup.procs").split():
                self._problems.pop(what, None)
            else:
                self._note(what, OSError(0, "a worker could not enter its group"))

    def close(self, expert: str) -> Ending:
        """Remove the group of a worker that is gone, and return what it tells of the end."""
        group = self._groups.pop(expert, None)
        if group is None:
            return Ending()
        ending = self._ending(group)
        for folder in set(group.folders.values()):
            if not remove_group(folder, simulated=self._grounds.simulated):
                self._stuck.append(folder)
        return ending

    def shut(self) -> None:
        """Remove everything that is ours: the daemon ends."""
        for expert in list(self._groups):
            self.close(expert)
        give_back(self._grounds, self._pid)

    # ── limits ────────────────────────────────────────────────────────────────────────────────

    def limit_memory(self, expert: str, limit_bytes: int) -> None:
        """Hold an expert's worker to so many bytes; never to fewer than it holds for good."""
        ground, group = self._grounds.of("memory"), self._groups.get(expert)
        if ground is None or group is None or "memory" not in group.folders:
            return
        folder, files = group.folders["memory"], MEMORY[ground.version]
        wanted = max(limit_bytes, memory_limit(files.unreclaimable(folder)))
        if wanted == group.limit_bytes or files.was_ended(folder):
            return  # of one that was just ended, the limit that it went over is to be told
        # Memory and swap together may never be less than memory alone: which one goes first
        # depends on the direction.
        names = [files.limit, *files.with_swap]
        if group.limit_bytes is not None and wanted > group.limit_bytes:
            names.reverse()
        for name in names:
            with self._noting("memory limit" if name == files.limit else name, folder / name):
                write_file(folder / name, str(wanted))
                if name == files.limit:
                    group.limit_bytes = wanted

    def limit_of(self, expert: str) -> int | None:
        """Return the bytes that the kernel holds an expert's worker to, or None."""
        group = self._groups.get(expert)
        return group.limit_bytes if group else None

    def weigh(self, expert: str, priority: Priority) -> None:
        """Give an expert's worker the processor share of a priority, where there is a fight."""
        group, weight = self._groups.get(expert), WEIGHTS[priority]
        if group is None or group.weight == weight:
            return  # the usual case, with every request
        group.weight = weight
        ground = self._grounds.of("cpu")
        if ground is None or "cpu" not in group.folders:
            return
        text = str(weight if ground.version == UNIFIED else round(weight * _SHARES_PER_WEIGHT))
        name = "cpu.weight" if ground.version == UNIFIED else "cpu.shares"
        with self._noting(name):
            write_file(group.folders["cpu"] / name, text)

    def quota(self, cores: float | None) -> bool:
        """Let all workers together use so many cores on average (None: all there are).

        1.5 is one and a half cores, over each tenth of a second. Hosts and the daemon itself are
        not counted. Returns whether the kernel holds it; where it does not, pace the workers.
        """
        ground = self._grounds.of("cpu")
        if ground is None:
            return False
        micro = None if cores is None else max(LEAST_QUOTA_US, round(cores * PERIOD_US))
        if ground.version == UNIFIED:
            texts = {"cpu.max": f"{micro or 'max'} {PERIOD_US}"}
        else:
            texts = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(micro or -1)}
        try:
            for name, text in texts.items():
                write_file(ground.folder / name, text)
        except OSError as error:
            self._note("quota", error)
            return False
        return True

    # ── how ───────────────────────────────────────────────────────────────────────────────────

    def _ending(self, group: Group) -> Ending:
        """Read from the group's counters whether, and why, the kernel ended its worker."""
        ground = self._grounds.of("memory")
        if ground is None or "memory" not in group.folders or not group.limit_bytes:
            return Ending()
        files, folder = MEMORY[ground.version], group.folders["memory"]
        if not files.was_ended(folder):
            return Ending()
        hit = files.was_hit(folder, group.limit_bytes)
        return Ending(over_limit=hit, out_of_memory=not hit, limit_bytes=group.limit_bytes)

    def _retry(self) -> None:
        """Try again to remove what was in use."""
        simulated = self._grounds.simulated
        self._stuck = [each for each in self._stuck if not remove_group(each, simulated=simulated)]

    @contextlib.contextmanager
    def _noting(self, what: str, file: Path | None = None) -> Iterator[None]:
        """Note what the kernel refuses, and go on; what is done after all is no problem.

        A `file` that does not exist at all is none either: a kernel without swap has none for it.
        """
        try:
            yield
        except OSError as error:
            if file is None or file.exists() or what == "memory limit":
                self._note(what, error)
        else:
            self._problems.pop(what, None)

    def _note(self, what: str, error: OSError) -> None:
        if what not in self._problems:
            self._problems[what] = f"{what}: {error.strerror or error}"
            log.warning("control groups: %s", self._problems[what])
