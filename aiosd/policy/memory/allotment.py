"""What a worker's own control group is told: how much memory, and whose turn the processor is.

The books decide what an expert may have; the group only holds it to that, with room for what they
do not see: page tables, buffers of the kernel, what a request needs between two measurements.
"""

from aiosd.domain.request import Priority

# Headroom over the books: a quarter, and never less than an interpreter's own ups and downs.
HEADROOM_SHARE = 0.25
LEAST_HEADROOM_BYTES = 16 * 2**20
# The largest page of the boards here: a limit is a whole number of pages.
_GRAIN = 65_536

# Shares of a processor that is fought for; 100 is what every group has by default.
WEIGHTS = {Priority.INTERACTIVE: 400, Priority.NORMAL: 100, Priority.BACKGROUND: 25}

# A worker that went over its limit needs more than that; nobody knows how much. Doubling finds it
# in few kills.
_OUTGROWN = 2


def memory_limit(booked_bytes: int) -> int:
    """Return the bytes at which the kernel is to stop a worker that the books give so many."""
    headroom = max(LEAST_HEADROOM_BYTES, int(booked_bytes * HEADROOM_SHARE))
    return -(-(max(0, booked_bytes) + headroom) // _GRAIN) * _GRAIN


def outgrown_need(limit_bytes: int, room_bytes: int) -> int:
    """Return what to reserve next time for an expert that went over such a limit.

    All the room that experts may have is tried before it is said that it cannot be had.
    """
    if limit_bytes >= room_bytes:
        return limit_bytes
    return min(limit_bytes * _OUTGROWN, room_bytes)
