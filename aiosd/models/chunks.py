"""How a model file is cut into chunks, so that an edit of one part moves no other part's chunks.

Every setting and every tensor of a GGUF file, and every buffer of a TFLite file, begins a span with
a grid of its own. Any other file is one span.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.release import HASH_BYTES, ChunkIndex
from aiosd.models.gguf_header import read_header
from aiosd.models.tflite import mapped

# Neighbours that are smaller share a span: an entry of the index for every few bytes would be
# larger than what it saves.
LEAST_SPAN = 4096
LEAST_CHUNK, MOST_CHUNK = 4096, 4_194_304
# About so many chunks make a file: their hashes are then some 0.03 % of 50 MB.
CHUNKS = 1024


def chunk_bytes(size: int) -> int:
    """Return how large the chunks of a file of that size are: a power of two."""
    wanted = LEAST_CHUNK
    while wanted < MOST_CHUNK and wanted * CHUNKS < size:
        wanted *= 2
    return wanted


def index_file(path: Path, *, chunk: int = 0, coarser: int = 1) -> tuple[str, ChunkIndex]:
    """Return the sha256 of a file and how it is cut; an index `coarser` so many times is smaller.

    Only chunks of one size are found in each other's files: `chunk` is that of the release before.

    Raises:
        PackageError: it cannot be read, or changes meanwhile.
    """
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            size = min((chunk or chunk_bytes(total)) * coarser, MOST_CHUNK)
            spans = spans_of(_marks(path, file.read(8)), total, least=LEAST_SPAN * coarser)
            file.seek(0)
            whole = hashlib.sha256()
            hashes: list[bytes] = []
            for span in spans:
                for start in range(0, span, size):
                    length = min(size, span - start)
                    data = file.read(length)
                    if len(data) != length:
                        raise PackageError(f"{path}: it changed while it was read", path=str(path))
                    whole.update(data)
                    hashes.append(hashlib.sha256(data).digest()[:HASH_BYTES])
            if file.read(1):
                raise PackageError(f"{path}: it changed while it was read", path=str(path))
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error
    index = ChunkIndex(size=size, spans=tuple(spans), hashes=b"".join(hashes))
    return whole.hexdigest(), index


def spans_of(marks: Iterable[int], size: int, *, least: int = LEAST_SPAN) -> list[int]:
    """Return the lengths of the spans that `marks` divide a file of that size into.

    Neighbours are joined as long as they stay within `least` bytes together.
    """
    inside = sorted({mark for mark in marks if 0 < mark < size})
    lengths = [end - begin for begin, end in itertools.pairwise([0, *inside, size])]
    spans: list[int] = []
    joined = 0
    for length in lengths:
        if joined and joined + length > least:
            spans.append(joined)
            joined = 0
        if length > least:
            spans.append(length)
        else:
            joined += length
    return [*spans, joined] if joined else spans


def _marks(path: Path, start: bytes) -> list[int]:
    """Return where something begins that may change or move on its own."""
    try:
        if start[:4] == b"GGUF":
            header = read_header(path)
            tensors = (header.begin + tensor.at for tensor in header.tensors.values())
            return [*header.marks, header.begin, *tensors]
        if start[4:8] == b"TFL3":
            return _buffers(path)
    except PackageError:
        return []  # a damaged file has no parts; whoever loads it says what is wrong
    return []


def _buffers(path: Path) -> list[int]:
    """Return where the buffers of a TFLite file begin and end."""
    found: list[int] = []
    with mapped(path) as reader:
        for buffer in reader.root().tables(4):
            offset, size = buffer.long(1), buffer.long(2)
            if offset <= 1:
                offset, size = buffer.place(0, 1)
            found += [offset, offset + size]
    return found
