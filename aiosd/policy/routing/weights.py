"""int8 weights for each place and route, laid out for adding up: in lanes, or as postings.

Lanes hold every weight. With thousands of routes most of them say nothing: postings hold, place by
place, only those that do, as the index of a search engine does.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

from aiosd.policy.routing.lexical import PLACES

# Up to so many routes there is a weight for each: a table of 4 MiB.
MOST_IN_LANES = 256
MOST_ROUTES = 65_535

# Bytes of a lane, wide enough for all words of a text; by how much a row's lanes are lifted so that
# none goes below zero: over 128 for each of the places that the longest word of a text has.
LANE_BYTES = 4
LIFT = 1 << 17
_OFFSET = 128
# A lane of 16 bits holds 257 weights of at most 255.
_MOST_IN_16_BITS = 257
_STARTS = (PLACES + 1) * 4

# Routes, and the weight for each.
Told = tuple[Sequence[int], Sequence[int]]


class Lanes:
    """The weights of places as the lanes of one long number: adding rows adds numbers."""

    def __init__(self, table: bytes, routes: int) -> None:
        """Take int8, place by place."""
        self._routes = routes
        self._table = table.translate(_LIFTED)
        ones = bytearray(LANE_BYTES * routes)
        ones[::LANE_BYTES] = b"\1" * routes
        self._ones = int.from_bytes(ones, "little")
        # Rows of places in 16-bit lanes, laid out when they are first asked for.
        self._rows = [0] * PLACES

    def row(self, places: Sequence[int]) -> int:
        """Return the sum over the places for each route, lifted by `LIFT`, in lanes.

        All rows are laid side by side, and folded in halves: a few operations for any number.
        """
        table, width = self._table, self._routes
        data = b"".join([table[place * width : (place + 1) * width] for place in places])
        lanes = bytearray(LANE_BYTES * len(data))
        lanes[::LANE_BYTES] = data
        total, count, bits = int.from_bytes(lanes, "little"), len(places), 8 * LANE_BYTES * width
        while count > 1:
            count = (count + 1) // 2
            above = total >> count * bits
            total += above - (above << count * bits)
        return total + (LIFT - _OFFSET * len(places)) * self._ones

    def sums(self, places: Sequence[int]) -> list[int]:
        """Return the sum over the places for each route, at once where they are few."""
        rows, count, width = self._rows, len(places), self._routes
        if count > _MOST_IN_16_BITS:
            lanes = memoryview(self.row(places).to_bytes(LANE_BYTES * width, "little")).cast("I")
            return [lane - LIFT for lane in lanes]
        total = sum([rows[place] or self._lay_out(place) for place in places])
        lift = _OFFSET * count
        return [lane - lift for lane in memoryview(total.to_bytes(2 * width, "little")).cast("H")]

    def _lay_out(self, place: int) -> int:
        """Return the row of a place in 16-bit lanes, lifted by 128."""
        lanes = bytearray(2 * self._routes)
        lanes[::2] = self._table[place * self._routes : (place + 1) * self._routes]
        row = self._rows[place] = int.from_bytes(lanes, "little")
        return row

    def of(self, places: Iterable[int], route: int) -> list[int]:
        """Return the weight of each place for one route."""
        table, routes = self._table, self._routes
        return [table[place * routes + route] - _OFFSET for place in places]


class Postings:
    """For each place the routes that it speaks for, and by how much."""

    def __init__(self, table: bytes, routes: int) -> None:
        """Take what `pack_postings` made.

        Raises:
            ValueError: sizes contradict each other.
        """
        view = memoryview(table)
        # Little-endian, as every board that this runs on is.
        self._starts = view[:_STARTS].cast("I")
        count = self._starts[PLACES]
        if len(table) != _STARTS + 3 * count:
            raise ValueError(f"{count} postings in {len(table)} bytes")
        self._owners = view[_STARTS : _STARTS + 2 * count].cast("H")
        self._weights = view[_STARTS + 2 * count :].cast("b")
        if count and max(self._owners) >= routes:
            raise ValueError(f"postings of route {max(self._owners)}, of {routes}")
        # How many routes a place speaks for at most.
        self.most = max([last - first for first, last in pairwise(self._starts)])

    def at(self, place: int) -> Told:
        """Return the routes that a place speaks for, in order, and how much for each."""
        first, last = self._starts[place], self._starts[place + 1]
        return self._owners[first:last], self._weights[first:last]

    def row(self, places: Iterable[int]) -> Told:
        """Return the same of some places together."""
        found = add_up(map(self.at, places))
        return array("H", found), array("h", found.values())

    def of(self, places: Iterable[int], route: int) -> list[int]:
        """Return the weight of each place for one route."""
        owners, starts, found = self._owners, self._starts, []
        for place in places:
            last = starts[place + 1]
            at = bisect_left(owners, route, starts[place], last)
            found.append(self._weights[at] if at < last and owners[at] == route else 0)
        return found


def add_up(rows: Iterable[Told]) -> dict[int, int]:
    """Return the sum of the weights for each route that any of the rows speaks for."""
    found: dict[int, int] = {}
    so_far = found.get
    for owners, weights in rows:
        for owner, weight in zip(owners, weights, strict=True):
            found[owner] = so_far(owner, 0) + weight
    return found


def lay_out(table: bytes, routes: int) -> Lanes | Postings:
    """Return the weights in `table`: in lanes where there are few routes, else as postings.

    Raises:
        ValueError: sizes contradict each other.
    """
    if not 0 < routes <= MOST_ROUTES:
        raise ValueError(f"{routes} routes")
    if routes > MOST_IN_LANES:
        if len(table) < _STARTS:
            raise ValueError(f"postings in {len(table)} bytes")
        return Postings(table, routes)
    if len(table) != PLACES * routes:
        raise ValueError(f"{routes} routes, {len(table)} bytes of weights")
    return Lanes(table, routes)


def pack_postings(starts: Sequence[int], owners: bytes, weights: bytes) -> bytes:
    """Return postings as bytes: where each place's begin, uint16 routes, int8 weights."""
    return struct.pack(f"<{PLACES + 1}I", *starts) + owners + weights


# int8 as it lies in the file → the weight plus 128.
_LIFTED = bytes((byte + _OFFSET) & 0xFF for byte in range(256))
