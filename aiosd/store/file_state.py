"""What tells one state of a file from another without reading it.

A file is taken as unchanged while its inode, size, mtime and ctime are: ctime cannot be set back by
a program, so a write is always seen.
"""

import os

import msgspec

# Ten ticks of the slowest usual kernel clock (100 Hz), which stamps files: two writes within one
# tick look alike, so what was written less than this ago is not remembered.
SETTLED_NS = 100_000_000


class FileState(msgspec.Struct, frozen=True, array_like=True):
    """One state of a file; what is remembered of a file with it adds its own fields."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def fits(self, status: os.stat_result) -> bool:
        """Tell whether a file of that status is in this state."""
        return fields_of(status) == (self.inode, self.size, self.mtime_ns, self.ctime_ns)


def fields_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return the fields of a file's state."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
