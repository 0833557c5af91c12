"""What all workers and hosts of a daemon hold together, weighed from outside 20 times a second."""

import contextlib
from pathlib import Path

from aiosd.sensors.memory import read_process
from tools.bench.memory import Beat


class Scale:
    """Adds up the proportional memory (PSS) of all processes below the daemon; not of itself.

    One weighing reads one process after the other, so that one who ends meanwhile may be in it
    beside one who has just begun.
    """

    def __init__(self, daemon: int, cap_bytes: int) -> None:
        """Begin at `start`."""
        self._daemon = daemon
        self._cap = cap_bytes
        self._beat = Beat(self.weigh)
        self.samples = 0
        self.over = 0
        self.most_bytes = 0
        self.worst: dict[str, int] = {}
        self.start, self.stop = self._beat.start, self._beat.stop

    def weigh(self) -> None:
        """Weigh once."""
        found: dict[str, int] = {}
        for pid in below(self._daemon):
            memory = read_process(pid)
            if memory is not None:
                found[str(pid)] = memory.pss_bytes
        total = sum(found.values())
        self.samples += 1
        self.over += total > self._cap
        if total > self.most_bytes:
            self.most_bytes, self.worst = total, found


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
