"""A blob put together: chunks that blobs here hold are shared or copied, the rest is fetched."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping

from aiosd.domain.release import HASH_BYTES, ChunkIndex
from aiosd.policy.rollout.delta import Copy, Plan, Range
from aiosd.store.assembly import Copied, copy_chunks
from aiosd.store.blobs import Blobs

# Where more than this must come anyway, one request for the whole is better than many.
WORTH = 0.9


def worth_it(plan: Plan, index: ChunkIndex) -> bool:
    """Tell whether a plan saves enough of the network."""
    return plan.fetch_bytes < WORTH * sum(index.spans)


def filling(blobs: Blobs, plan: Plan, index: ChunkIndex) -> Callable[[int], Copied]:
    """Return what fills an open part by a plan, and tells what is still to be fetched.

    What an earlier run brought is known by its chunks' hashes, and neither copied nor fetched.
    """

    def fill_in(handle: int) -> Copied:
        here = _present(handle, index)
        copies = [each for copy in plan.copies for each in _copies_left(copy, here)]
        copied = copy_chunks(blobs, copies, index, handle)
        ranges = [each for part in plan.ranges for each in _left(part, here)]
        copied.missing = sorted((*ranges, *copied.missing), key=lambda part: part.offset)
        return copied

    return fill_in


def _present(handle: int, index: ChunkIndex) -> dict[int, int]:
    """Return where chunks begin that the part holds already, with their lengths."""
    if not os.fstat(handle).st_blocks:
        return {}
    return {
        start: length
        for start, length, digest in index.chunks()
        if hashlib.sha256(os.pread(handle, length, start)).digest()[:HASH_BYTES] == digest
    }


def _left(part: Range, here: Mapping[int, int]) -> Iterator[Range]:
    """Yield what is left of a range without the chunks that are here."""
    begin = part.offset
    end = part.offset + part.size
    for start in sorted(start for start in here if part.offset <= start < end):
        if start > begin:
            yield Range(begin, start - begin)
        begin = start + here[start]
    if begin < end:
        yield Range(begin, end - begin)


def _copies_left(copy: Copy, here: Mapping[int, int]) -> Iterator[Copy]:
    """Yield what is left of a copy without the chunks that are here."""
    for part in _left(Range(copy.offset, copy.size), here):
        source_offset = copy.source_offset + part.offset - copy.offset
        yield Copy(copy.source, source_offset, part.offset, part.size)
