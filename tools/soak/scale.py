"""What all workers and hosts of a daemon hold together, weighed from outside 20 times a second."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from aiosd.sensors.memory import read_process
from tools.bench.memory import Beat


class Scale:
    """Adds up the proportional memory (PSS) of all processes below the daemon; not of itself.

    One weighing reads one process after the other, so that one who ends meanwhile may be in it
    beside one who has just begun. So a sum over the cap is weighed again at once, backwards: at
    the moment between the two, each process held at least the smaller of its two readings. If
    these are over the cap together, it was over (`over`), else it may have been (`doubtful`).
    """

    def __init__(self, daemon: int, cap_bytes: int) -> None:
        """Begin at `start`."""
        self._daemon = daemon
        self._cap = cap_bytes
        self._beat = Beat(self.weigh)
        self.samples = 0
        self.over = self.doubtful = 0
        self.most_bytes = 0
        self.worst: dict[str, int] = {}
        self.start, self.stop = self._beat.start, self._beat.stop

    def weigh(self) -> None:
        """Weigh once, and once more if that is over the cap."""
        pids = below(self._daemon)
        found = _held(pids)
        total = sum(found.values())
        if total > self._cap:
            again = _held(reversed(pids))
            found = {pid: min(held, again.get(pid, 0)) for pid, held in found.items()}
            total = sum(found.values())
            self.over += total > self._cap
            self.doubtful += total <= self._cap
        self.samples += 1
        if total > self.most_bytes:
            self.most_bytes, self.worst = total, found


def _held(pids: Iterable[int]) -> dict[str, int]:
    """Return what each of these processes holds now, as far as it is still there."""
    read = ((pid, read_process(pid)) for pid in pids)
    return {str(pid): memory.pss_bytes for pid, memory in read if memory is not None}


def below(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += [int(child), *below(int(child))]
    return found


def oom_kills() -> int:
    """Return how many processes of the machine the kernel has ended for want of memory."""
    for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
