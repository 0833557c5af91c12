"""Tables and vectors of a FlatBuffer, read with every offset checked against the file.

The format is described in FlatBuffers' `docs/source/internals.md`. A reader made from the schema
believes its offsets and crashes on a damaged file; this one raises `PackageError`.
"""

import struct
from collections.abc import Iterator
from typing import NoReturn

from aiosd.domain.errors import PackageError

Buffer = memoryview

# Offsets may point anywhere, so that a small file can claim many long vectors that overlap.
MAX_STEPS = 4_000_000
# To look at a table takes as long as to read so many elements of a vector.
TABLE_STEPS = 8

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_VTABLE_HEAD = 4


class Reader:
    """The bytes of a file, and how many elements may still be read from them."""

    def __init__(self, data: Buffer, path: str, *, steps: int = MAX_STEPS) -> None:
        self.data = data
        self.size = len(data)
        self.path = path
        self._steps = steps

    def root(self) -> "Table":
        """Return the root table."""
        return Table(self, self.follow(0))

    def number(self, form: struct.Struct, at: int) -> int:
        """Read the number at `at`."""
        if not 0 <= at <= self.size - form.size:
            self.fail(
                f"an offset points to byte {at} of {self.size}: the file is cut short or damaged"
            )
        return form.unpack_from(self.data, at)[0]  # type: ignore[no-any-return]

    def follow(self, at: int) -> int:
        """Return where the offset at `at` points."""
        return at + self.number(_U32, at)

    def span(self, at: int, width: int) -> tuple[int, int]:
        """Return where the elements of the vector at `at` begin, and how many there are."""
        count = self.number(_U32, at)
        if count * width > self.size - at - 4:
            self.fail(
                f"a vector of {count} elements goes over the end: the file is cut short or damaged"
            )
        return at + 4, count

    def spend(self, steps: int) -> None:
        """Count elements that are about to be read."""
        self._steps -= steps
        if self._steps < 0:
            self.fail("the file refers to more elements than a model can have: it is damaged")

    def fail(self, message: str) -> NoReturn:
        """Refuse the file."""
        raise PackageError(message, path=self.path)


class Table:
    """One table; its fields are asked for by their number in the schema."""

    def __init__(self, reader: Reader, at: int) -> None:
        self._reader = reader
        self._at = at
        reader.spend(TABLE_STEPS)
        self._vtable = at - reader.number(_I32, at)
        self._length = reader.number(_U16, self._vtable)
        reach = reader.number(_U16, self._vtable + 2)
        if self._length < _VTABLE_HEAD or self._length % 2 or reach < _VTABLE_HEAD:
            reader.fail("a table has no sane shape: the file is damaged")
        if self._vtable + self._length > reader.size or at + reach > reader.size:
            reader.fail("a table goes over the end: the file is cut short or damaged")
        self._reach = reach

    def _field(self, number: int) -> int:
        """Return where a field is, or 0 if the table lacks it."""
        slot = _VTABLE_HEAD + 2 * number
        if slot + 2 > self._length:
            return 0
        offset = self._reader.number(_U16, self._vtable + slot)
        if offset >= self._reach:
            self._reader.fail("a field lies outside of its table: the file is damaged")
        return self._at + offset if offset else 0

    def byte(self, number: int, default: int = 0) -> int:
        """Return a field of one unsigned byte."""
        at = self._field(number)
        return self._reader.data[at] if at else default

    def integer(self, number: int, default: int = 0) -> int:
        """Return a field of a signed 32-bit integer."""
        at = self._field(number)
        return self._reader.number(_I32, at) if at else default

    def unsigned(self, number: int, default: int = 0) -> int:
        """Return a field of an unsigned 32-bit integer."""
        at = self._field(number)
        return self._reader.number(_U32, at) if at else default

    def long(self, number: int, default: int = 0) -> int:
        """Return a field of an unsigned 64-bit integer."""
        at = self._field(number)
        return self._reader.number(_U64, at) if at else default

    def text(self, number: int) -> str:
        """Return a field of a text, or an empty one."""
        at = self._field(number)
        if not at:
            return ""
        start, count = self._reader.span(self._reader.follow(at), 1)
        self._reader.spend(count)
        return bytes(self._reader.data[start : start + count]).decode("utf-8", "replace")

    def size(self, number: int) -> int:
        """Return how many bytes a vector of bytes has, without reading them."""
        return self.place(number, 1)[1]

    def place(self, number: int, width: int) -> tuple[int, int]:
        """Return where a vector's elements begin and how many there are, without reading them."""
        at = self._field(number)
        return self._reader.span(self._reader.follow(at), width) if at else (0, 0)

    def integers(self, number: int) -> tuple[int, ...]:
        """Return a vector of signed 32-bit integers."""
        at = self._field(number)
        if not at:
            return ()
        start, count = self._reader.span(self._reader.follow(at), 4)
        self._reader.spend(count)
        return struct.unpack_from(f"<{count}i", self._reader.data, start)

    def table(self, number: int) -> "Table | None":
        """Return a field that is a table."""
        at = self._field(number)
        return Table(self._reader, self._reader.follow(at)) if at else None

    def tables(self, number: int) -> Iterator["Table"]:
        """Yield the tables of a vector of tables."""
        at = self._field(number)
        if not at:
            return
        start, count = self._reader.span(self._reader.follow(at), 4)
        self._reader.spend(count)
        for slot in range(start, start + 4 * count, 4):
            yield Table(self._reader, self._reader.follow(slot))
