"""int8 weights for each place and route, laid out for adding up: in lanes, or as postings.

Lanes hold every weight. With thousands of routes most of them say nothing: postings hold, place by
place, only those that do, as the index of a search engine does.
"""

import struct
from collections.abc import Collection, Sequence
from typing import Protocol

from aiosd.policy.routing.lexical import PLACES

# Up to so many routes there is a weight for each: a table of 4 MiB.
MOST_IN_LANES = 256
MOST_ROUTES = 65_535

_OFFSET = 128
# A lane of 16 bits holds 257 weights of at most 255.
_CHUNK = 256
_STARTS = (PLACES + 1) * 4
# So many places' postings are remembered as Python has them: the same n-grams come again and again.
_UNPACKED = 4096


class Weights(Protocol):
    """A table of weights."""

    def sums(self, places: Collection[int]) -> list[int]:
        """Return the sum over the places for each route."""

    def of(self, places: Collection[int], route: int) -> list[int]:
        """Return the weight of each place for one route."""


class Lanes:
    """The weights of a place are the 16-bit lanes of one long number; adding rows adds numbers."""

    def __init__(self, table: bytes, routes: int) -> None:
        """Take int8, place by place; an offset keeps lanes from going below zero."""
        self._routes = routes
        self._width = width = 2 * routes
        lanes = bytearray(2 * len(table))
        lanes[::2] = table.translate(_LIFTED)
        view, make = memoryview(lanes), int.from_bytes
        self._rows = [make(view[at : at + width], "little") for at in range(0, len(lanes), width)]

    def sums(self, places: Collection[int]) -> list[int]:
        """Return the sum over the places for each route."""
        row, count = self._rows.__getitem__, len(places)
        if count <= _CHUNK:
            lanes = memoryview(sum(map(row, places)).to_bytes(self._width, "little")).cast("H")
            offset = _OFFSET * count
            return [lane - offset for lane in lanes]
        found = [-_OFFSET * count] * self._routes
        ordered = list(places)
        for start in range(0, count, _CHUNK):
            total = sum(map(row, ordered[start : start + _CHUNK]))
            lanes = memoryview(total.to_bytes(self._width, "little")).cast("H")
            found = [one + other for one, other in zip(found, lanes, strict=True)]
        return found

    def of(self, places: Collection[int], route: int) -> list[int]:
        """Return the weight of each place for one route."""
        shift = 16 * route
        return [(row >> shift & 0xFFFF) - _OFFSET for row in map(self._rows.__getitem__, places)]


class Postings:
    """For each place the routes that it speaks for, and by how much."""

    def __init__(self, table: bytes, routes: int) -> None:
        """Take what `pack_postings` made.

        Raises:
            ValueError: sizes contradict each other.
        """
        self._routes = routes
        view = memoryview(table)
        # Little-endian, as every board that this runs on is.
        self._starts = view[:_STARTS].cast("I")
        count = self._starts[PLACES]
        if len(table) != _STARTS + 3 * count:
            raise ValueError(f"{count} postings in {len(table)} bytes")
        self._owners = view[_STARTS : _STARTS + 2 * count].cast("H")
        self._weights = view[_STARTS + 2 * count :].cast("b")
        self._known: dict[int, tuple[tuple[int, int], ...]] = {}

    def sums(self, places: Collection[int]) -> list[int]:
        """Return the sum over the places for each route."""
        found = [0] * self._routes
        for owner, total in self.told(places).items():
            found[owner] = total
        return found

    def told(self, places: Collection[int]) -> dict[int, int]:
        """Return the sum over the places for each route that any of them speaks for."""
        found: dict[int, int] = {}
        so_far, known = found.get, self._known
        for place in places:
            pairs = known.get(place)
            if pairs is None:
                pairs = self._unpack(place)
            for owner, weight in pairs:
                found[owner] = so_far(owner, 0) + weight
        return found

    def of(self, places: Collection[int], route: int) -> list[int]:
        """Return the weight of each place for one route."""
        known = self._known
        return [
            dict(known[place] if place in known else self._unpack(place)).get(route, 0)
            for place in places
        ]

    def _unpack(self, place: int) -> tuple[tuple[int, int], ...]:
        """Return the routes that a place speaks for, with the weights, and remember them."""
        first, last = self._starts[place], self._starts[place + 1]
        pairs = tuple(zip(self._owners[first:last], self._weights[first:last], strict=True))
        if len(self._known) >= _UNPACKED:
            self._known.clear()
        self._known[place] = pairs
        return pairs


def lay_out(table: bytes, routes: int) -> Weights:
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
