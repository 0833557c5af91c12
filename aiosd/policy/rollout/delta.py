"""Which bytes of a new file must be fetched, and which are on the board in older ones.

Chunks are found again by their hash and length wherever they lie, so that weights which moved, or
stand in another expert's model, are not fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiosd.domain.release import ChunkIndex

# Each range is a request to a server.
MOST_RANGES = 64


@dataclass(frozen=True)
class Copy:
    """Bytes that the blob `source` has at `source_offset`, and the new file needs at `offset`."""

    source: str
    source_offset: int
    offset: int
    size: int


@dataclass(frozen=True)
class Range:
    """Bytes of the new file that are nowhere here."""

    offset: int
    size: int


@dataclass(frozen=True)
class Plan:
    """Copies and ranges, each in the order of the new file, which they tile together."""

    copies: tuple[Copy, ...]
    ranges: tuple[Range, ...]

    @property
    def fetch_bytes(self) -> int:
        """How many bytes come over the network."""
        return sum(each.size for each in self.ranges)

    @property
    def copy_bytes(self) -> int:
        """How many bytes are copied from blobs that are here."""
        return sum(each.size for each in self.copies)


def plan(old: Mapping[str, ChunkIndex], new: ChunkIndex, *, most_ranges: int = MOST_RANGES) -> Plan:
    """Return how the file of index `new` is put together from blobs with the indexes `old`.

    Where that would take more than `most_ranges` requests, what lies in the smallest gaps between
    ranges is fetched as well.
    """
    places: dict[tuple[int, bytes], tuple[str, int]] = {}
    for source, index in old.items():
        for start, length, digest in index.chunks():
            places.setdefault((length, digest), (source, start))
    pieces: list[Copy | Range] = []
    for start, length, digest in new.chunks():
        place = places.get((length, digest))
        _append(pieces, Copy(*place, start, length) if place else Range(start, length))
    return _plan_of(_with_fewer_ranges(pieces, max(1, most_ranges)))


def whole(size: int) -> Plan:
    """Return the plan that fetches a whole file."""
    return Plan((), (Range(0, size),) if size else ())


def _append(pieces: list[Copy | Range], piece: Copy | Range) -> None:
    """Add a piece behind the others, joined to the last one where it goes on from there."""
    match pieces[-1] if pieces else None, piece:
        case Range() as last, Range():
            pieces[-1] = Range(last.offset, last.size + piece.size)
        case Copy() as last, Copy() if (
            last.source == piece.source and last.source_offset + last.size == piece.source_offset
        ):
            pieces[-1] = Copy(last.source, last.source_offset, last.offset, last.size + piece.size)
        case _:
            pieces.append(piece)


def _with_fewer_ranges(pieces: list[Copy | Range], most: int) -> list[Copy | Range]:
    """Return the pieces with the smallest gaps between ranges fetched too."""
    gaps: list[list[int]] = []
    gap: list[int] | None = None
    for number, piece in enumerate(pieces):
        if isinstance(piece, Range):
            if gap is not None:
                gaps.append(gap)
            gap = []
        elif gap is not None:
            gap.append(number)
    surplus = len(gaps) + 1 - most
    if surplus <= 0:
        return pieces
    gaps.sort(key=lambda numbers: sum(pieces[number].size for number in numbers))
    filled = {number for numbers in gaps[:surplus] for number in numbers}
    joined: list[Copy | Range] = []
    for number, piece in enumerate(pieces):
        _append(joined, Range(piece.offset, piece.size) if number in filled else piece)
    return joined


def _plan_of(pieces: list[Copy | Range]) -> Plan:
    return Plan(
        tuple(piece for piece in pieces if isinstance(piece, Copy)),
        tuple(piece for piece in pieces if isinstance(piece, Range)),
    )
