"""Putting a new blob together from bytes of blobs that are here; the rest is the downloader's.

Where the file system can, whole blocks are shared with the older blob and nothing is written for
them; what begins or ends within a block is copied.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiosd.domain.errors import PackageError
from aiosd.domain.release import HASH_BYTES, ChunkIndex
from aiosd.policy.rollout.delta import Copy, Range
from aiosd.store.blobs import Blobs
from aiosd.store.failpoint import reach
from aiosd.store.reflink import block_bytes, share

_PIECE_BYTES = 1_048_576

Chunk = tuple[int, int, bytes]


@dataclass
class Copied:
    """What could not be copied, and the bytes that were written and shared for the rest."""

    missing: list[Range] = field(default_factory=list)
    written: int = 0
    shared: int = 0


def copy_chunks(blobs: Blobs, copies: Iterable[Copy], index: ChunkIndex, handle: int) -> Copied:
    """Bring what a plan says into the open file `handle`, each chunk checked on its way.

    What is missing afterwards, because a blob is gone or damaged, is to be fetched. A chunk's hash
    finds bytes and vouches for nothing: the whole file is hashed before it is adopted.

    Raises:
        OSError: the file cannot be written.
    """
    chunks = {start: (start, length, digest) for start, length, digest in index.chunks()}
    target = _Target(handle)
    for copy in copies:
        source = _opened(blobs, copy.source)
        try:
            _copy(copy, source, chunks, target)
        finally:
            if source >= 0:
                os.close(source)
    return target.copied


def _opened(blobs: Blobs, sha256: str) -> int:
    """Open a blob; -1 if it is not there."""
    try:
        return os.open(blobs.path(sha256), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, PackageError):
        return -1


def _copy(copy: Copy, source: int, chunks: dict[int, Chunk], target: "_Target") -> None:
    """Take over the chunks of one run; those that are not what they should be are missing."""
    shift = copy.source_offset - copy.offset
    shares = target.shares(shift)
    at = good = copy.offset  # from `good` to `at` everything is as it should be
    while at < copy.offset + copy.size:
        _, length, digest = chunks[at]
        data = _read(source, length, at + shift)
        if hashlib.sha256(data).digest()[:HASH_BYTES] != digest:
            target.take(source, shift, good, at)
            target.miss(at, length)
            good = at + length
        elif not shares:
            target.write(data, at)
            good = at + length
        at += length
    target.take(source, shift, good, at)


class _Target:
    """The file that is put together, and how."""

    def __init__(self, handle: int) -> None:
        self.copied = Copied()
        self._handle = handle
        self._block = block_bytes(handle)
        self._can = True

    def shares(self, shift: int) -> bool:
        """Tell whether blocks that lie `shift` bytes further in their source may be shared."""
        return self._can and shift % self._block == 0

    def take(self, source: int, shift: int, begin: int, end: int) -> None:
        """Have the bytes from `begin` to `end`: whole blocks shared, the rest copied."""
        first = -(-begin // self._block) * self._block
        last = end // self._block * self._block
        if first >= last or not self._share(source, shift, first, last):
            first = last = end
        self._copy(source, shift, begin, first)
        self._copy(source, shift, last, end)

    def miss(self, start: int, length: int) -> None:
        """Leave a chunk to the downloader."""
        missing = self.copied.missing
        if missing and missing[-1].offset + missing[-1].size == start:
            missing[-1] = Range(missing[-1].offset, missing[-1].size + length)
        else:
            missing.append(Range(start, length))

    def write(self, data: bytes, at: int) -> None:
        """Write all of `data` at its place.

        Raises:
            OSError: the disk says no.
        """
        rest = memoryview(data)
        while rest:
            reach("copy.write")
            done = os.pwrite(self._handle, rest, at)
            self.copied.written += done
            at += done
            rest = rest[done:]

    def _share(self, source: int, shift: int, first: int, last: int) -> bool:
        """Share whole blocks; where that cannot be done once, it is not tried again."""
        self._can = self._can and share(source, first + shift, self._handle, first, last - first)
        if self._can:
            self.copied.shared += last - first
        return self._can

    def _copy(self, source: int, shift: int, begin: int, end: int) -> None:
        """Copy bytes that were checked already; the whole file's hash finds what changed since."""
        while begin < end:
            data = _read(source, min(_PIECE_BYTES, end - begin), begin + shift)
            if not data:  # somebody cut it short meanwhile
                self.miss(begin, end - begin)
                return
            self.write(data, begin)
            begin += len(data)


def _read(source: int, length: int, at: int) -> bytes:
    """Return bytes of a blob; fewer where it ends early or cannot be read."""
    try:
        return os.pread(source, length, at) if source >= 0 else b""
    except OSError:
        return b""
