"""Putting a new blob together from bytes of blobs that are here; the rest is the downloader's."""

import hashlib
import os
from collections.abc import Iterable, Iterator

from aiosd.domain.errors import PackageError
from aiosd.domain.release import HASH_BYTES, ChunkIndex
from aiosd.policy.rollout.delta import Copy, Range
from aiosd.store.blobs import Blobs
from aiosd.store.failpoint import reach

Chunk = tuple[int, int, bytes]


def copy_chunks(
    blobs: Blobs, copies: Iterable[Copy], index: ChunkIndex, handle: int
) -> list[Range]:
    """Copy what a plan says into the open file `handle`, each chunk checked on its way.

    Returns what could not be copied, because a blob is gone or damaged: it is to be fetched. A
    chunk's hash finds bytes and vouches for nothing: the whole file is hashed before it is adopted.

    Raises:
        OSError: the file cannot be written.
    """
    chunks = {start: (start, length, digest) for start, length, digest in index.chunks()}
    missing: list[Range] = []
    for copy in copies:
        for chunk in _copy(blobs, copy, chunks, handle):
            start, length, _ = chunk
            if missing and missing[-1].offset + missing[-1].size == start:
                missing[-1] = Range(missing[-1].offset, missing[-1].size + length)
            else:
                missing.append(Range(start, length))
    return missing


def _copy(blobs: Blobs, copy: Copy, chunks: dict[int, Chunk], handle: int) -> Iterator[Chunk]:
    """Copy the chunks of one run, and yield those that are not what they should be."""
    source = -1
    try:
        source = os.open(blobs.path(copy.source), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, PackageError):
        source = -1
    try:
        at = copy.offset
        while at < copy.offset + copy.size:
            chunk = chunks[at]
            _, length, digest = chunk
            data = _read(source, length, copy.source_offset + at - copy.offset)
            if hashlib.sha256(data).digest()[:HASH_BYTES] == digest:
                _write(handle, data, at)
            else:
                yield chunk
            at += length
    finally:
        if source >= 0:
            os.close(source)


def _read(source: int, length: int, at: int) -> bytes:
    """Return bytes of a blob; fewer where it ends early or cannot be read."""
    try:
        return os.pread(source, length, at) if source >= 0 else b""
    except OSError:
        return b""


def _write(handle: int, data: bytes, at: int) -> None:
    """Write all of `data` at its place.

    Raises:
        OSError: the disk says no.
    """
    rest = memoryview(data)
    while rest:
        reach("copy.write")
        done = os.pwrite(handle, rest, at)
        at += done
        rest = rest[done:]
