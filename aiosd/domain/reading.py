"""What the sensors say: one frozen value per reading, bytes and shares of time."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Pressure:
    """Stall shares of the last 10 and 60 seconds, in percent of the time (kernel PSI).

    `some`: at least one task waited for memory; `full`: all did.
    """

    some_10: float
    some_60: float
    full_10: float
    full_60: float


@dataclass(frozen=True)
class MemoryReading:
    """The board's memory; `pressure` is None where the kernel measures none."""

    total_bytes: int
    available_bytes: int
    swap_used_bytes: int
    pressure: Pressure | None = None


class ProcessSource(StrEnum):
    """Where a reading of a process comes from, best first."""

    SMAPS_ROLLUP = "smaps_rollup"
    STATM = "statm"


@dataclass(frozen=True)
class ProcessMemory:
    """The memory of one process.

    `pss_bytes` counts a page shared by n processes as 1/n of it; `anon_bytes` is the part of it
    that no file backs. `own_bytes` are the pages that nobody else has (also called USS): what the
    end of the process gives back; `mapped_bytes` the part of those that files back (at least): the
    kernel can take them back on its own. Read from `statm` there is no sharing to be seen:
    `pss_bytes` is then all that is resident, and so an upper limit, `mapped_bytes` the shared part,
    and `swap_bytes` is 0.
    """

    pss_bytes: int
    anon_bytes: int
    own_bytes: int
    swap_bytes: int
    source: ProcessSource
    mapped_bytes: int = 0


@dataclass(frozen=True)
class CgroupLimit:
    """One memory limit that a cgroup above this process sets: its file and its value."""

    path: str
    limit_bytes: int


@dataclass(frozen=True)
class CgroupLimits:
    """The memory limits over this process, tightest first.

    `version` is 1 or 2, or 0 where no memory controller is at work: limits are then nobody's but
    the daemon's own.
    """

    version: int = 0
    limits: tuple[CgroupLimit, ...] = ()

    @property
    def tightest(self) -> CgroupLimit | None:
        """The limit that is reached first, if there is any."""
        return self.limits[0] if self.limits else None
