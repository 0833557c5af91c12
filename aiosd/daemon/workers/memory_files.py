"""The files of a memory controller, by its version: the same things under other names."""

from dataclasses import dataclass
from pathlib import Path

from aiosd.sensors.hierarchy import UNIFIED
from aiosd.sensors.kernel_text import read_text

# The kernel takes pages for a group in batches of so many for each core (MEMCG_CHARGE_BATCH).
_BATCH_BYTES = 64 * 4096


@dataclass(frozen=True)
class MemoryFiles:
    """The names in one version.

    `with_swap` take the same number as `limit`, for memory and swap together. `at_start` is
    written once: no swap, and the whole group ends together. `peak` is the highest use ever; where
    it is not named, `events` count as `oom` how often the limit was in the way (of a group and of
    those below it, so that a worker's own group speaks of its own limit).
    """

    limit: str
    with_swap: tuple[str, ...]
    at_start: tuple[tuple[str, str], ...]
    usage: str
    file_pages: str
    events: str
    peak: str = ""

    def unreclaimable(self, folder: Path) -> int:
        """Return the bytes that a group holds and no file backs: they cannot be taken from it."""
        usage = read_text(folder / self.usage).strip()
        stat = counters(read_text(folder / "memory.stat"))
        held = int(usage) if usage.isdecimal() else 0
        return max(0, held - stat.get(self.file_pages, 0) + stat.get("shmem", 0))

    def was_ended(self, folder: Path) -> bool:
        """Tell whether the kernel ended a process of the group because memory ran out."""
        return counters(read_text(folder / self.events)).get("oom_kill", 0) > 0

    def was_hit(self, folder: Path, limit_bytes: int) -> bool:
        """Tell whether the group ran into its own limit of so many bytes.

        Version 1 counts no failures on newer kernels; there the highest use ever tells.
        """
        if self.peak:
            peak = read_text(folder / self.peak).strip()
            return peak.isdecimal() and int(peak) + _BATCH_BYTES >= limit_bytes
        return counters(read_text(folder / self.events)).get("oom", 0) > 0


MEMORY = {
    1: MemoryFiles(
        limit="memory.limit_in_bytes",
        with_swap=("memory.memsw.limit_in_bytes",),
        at_start=(("memory.swappiness", "0"),),
        usage="memory.usage_in_bytes",
        file_pages="cache",
        events="memory.oom_control",
        peak="memory.max_usage_in_bytes",
    ),
    UNIFIED: MemoryFiles(
        limit="memory.max",
        with_swap=(),
        at_start=(("memory.swap.max", "0"), ("memory.oom.group", "1")),
        usage="memory.current",
        file_pages="file",
        events="memory.events",
    ),
}


def counters(text: str) -> dict[str, int]:
    """Return the `key n` lines of a group's file."""
    pairs = (line.split() for line in text.splitlines())
    return {
        pair[0]: int(pair[1])
        for pair in pairs
        if len(pair) == 2 and pair[1].isdecimal()  # noqa: PLR2004 - key and value
    }
