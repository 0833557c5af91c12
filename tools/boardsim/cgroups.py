"""The control groups of a SIMULATED board: plain folders that stand for the kernel's.

A group is made with mkdir, as in the kernel; its files appear with the simulator's next step
(50 ms), not at once. A pid that is written to `cgroup.procs` belongs there from then on; reading
the file back shows what was written last. What is obeyed: `cpu.max`, in the account of power and
heat. `memory.current` is the anonymous memory of the pids that were put there, and a group over its
`memory.max` counts that as `oom` in `memory.events`. Nothing is taken from the real process, and no
memory limit ends anyone.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.boardsim.furniture import SERVICE

_FILES = {
    "cgroup.procs": "",
    "cgroup.subtree_control": "",
    "cpu.max": "max 100000\n",
    "cpu.weight": "100\n",
    "cpu.stat": "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
}
_MEMORY_FILES = {
    "memory.max": "max\n",
    "memory.high": "max\n",
    "memory.current": "0\n",
    "memory.swap.max": "max\n",
    "memory.oom.group": "0\n",
    "memory.stat": "anon 0\nfile 0\nshmem 0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
}


class Cgroups:
    """The hierarchy below a simulated root; `memory` says whether there is a memory controller."""

    def __init__(self, root: Path, *, memory: bool) -> None:
        """Make the hierarchy with the daemon's own group."""
        self._top = root / "sys/fs/cgroup"
        self._files = _FILES | (_MEMORY_FILES if memory else {})
        self._controllers = "cpuset cpu io pids" + (" memory" if memory else "")
        self._used: dict[Path, float] = {}
        self._homes: dict[int, Path] = {}
        self._written: dict[Path, str] = {}
        self._over: dict[Path, int] = {}
        self._memory = memory
        (self._top / SERVICE.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.visit()

    def visit(self) -> None:
        """Furnish new groups, and note which pids were put where."""
        for group in self._groups():
            with contextlib.suppress(FileNotFoundError):  # it is being removed
                self._furnish(group)
                self._move(group)
        self._homes = {pid: home for pid, home in self._homes.items() if home.is_dir()}

    def hold(self, held: Mapping[int, int]) -> None:
        """Count the bytes that each pid holds on its group, and who is over its limit."""
        used: dict[Path, int] = {}
        for pid, home in self._homes.items():
            used[home] = used.get(home, 0) + held.get(pid, 0)
        for home, size in used.items() if self._memory else ():
            with contextlib.suppress(FileNotFoundError):
                limit = (home / "memory.max").read_text().strip()
                if limit.isdecimal() and size > int(limit):
                    self._over[home] = self._over.get(home, 0) + 1
                over = self._over.get(home, 0)
                for name, text in (
                    ("memory.current", f"{size:>16}\n"),
                    ("memory.stat", f"anon {size:>16}\nfile 0\nshmem 0\n"),
                    ("memory.events", f"low 0\nhigh 0\nmax {over}\noom {over}\noom_kill 0\n"),
                ):
                    with (home / name).open("r+") as file:
                        file.write(text)

    def _furnish(self, group: Path) -> None:
        """Give a new group its files.

        Raises:
            FileNotFoundError: it is gone.
        """
        controllers = group / "cgroup.controllers"
        if not controllers.exists():
            controllers.write_text(self._controllers + "\n")
        for name, text in self._files.items():
            if group != self._top and not (group / name).exists():
                (group / name).write_text(text)

    def allowed(self, busy: Mapping[int, float], dt: float) -> float:
        """Return how many cores are busy when every `cpu.max` is kept, from each pid's own.

        Counts on each group's `cpu.stat`. A pid that is in no group is under no limit.
        """
        own: dict[Path, float] = {}
        free = 0.0
        for pid, cores in busy.items():
            home = self._homes.get(pid)
            if home is None or not home.is_dir():
                free += cores
            else:
                own[home] = own.get(home, 0.0) + cores
        if not own:
            return free
        return free + self._sum(self._top, own, dt)

    def _sum(self, group: Path, own: Mapping[Path, float], dt: float) -> float:
        """Return the busy cores of a group and all below it, within its quota."""
        cores = own.get(group, 0.0)
        cores += sum(self._sum(child, own, dt) for child in _below(group))
        if group == self._top:
            return cores
        cores = min(cores, quota(group / "cpu.max"))
        if cores > 0:
            self._used[group] = self._used.get(group, 0.0) + cores * dt
            used = round(self._used[group] * 1e6)
            text = f"usage_usec {used:>16}\nuser_usec {used:>16}\nsystem_usec {0:>16}\n"
            with contextlib.suppress(FileNotFoundError), (group / "cpu.stat").open("r+") as file:
                file.write(text)
        return cores

    def _groups(self) -> Iterator[Path]:
        """Yield every group, the top first."""
        yield self._top
        # Not rglob, which fails where one is removed meanwhile.
        yield from sorted(
            Path(folder, name) for folder, names, _ in os.walk(self._top) for name in names
        )

    def _move(self, group: Path) -> None:
        """Take in the pids that were written since the last visit."""
        file = group / "cgroup.procs"
        text = file.read_text() if file.exists() else ""
        if text == self._written.get(group, ""):
            return
        self._written[group] = text
        self._homes |= {int(word): group for word in text.split() if word.isdecimal()}


def _below(group: Path) -> list[Path]:
    """Return the groups right below one; none if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return [child for child in group.iterdir() if child.is_dir()]
    return []


def quota(file: Path) -> float:
    """Return the cores that a `cpu.max` allows; infinite if it says "max" or nonsense."""
    try:
        words = file.read_text().split()
    except OSError:
        return float("inf")
    period = words[1] if len(words) > 1 else "100000"
    if not words or not words[0].isdecimal() or not period.isdecimal() or int(period) == 0:
        return float("inf")
    return int(words[0]) / int(period)
