"""The header of a GGUF file, walked front to back within strict limits; nothing of it is believed.

The format is described in ggml's `docs/gguf.md`. Large arrays (a vocabulary) are stepped over, long
texts are kept in part, and how much may be kept and walked at all is limited, so that no file costs
more than about a second and some tens of megabytes.
"""

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from aiosd.domain.errors import PackageError
from aiosd.models.gguf_types import TYPES, UNCOMPUTABLE

MAX_PAIRS = 65_536
MAX_TENSORS = 65_536
MAX_STRING = 16_777_216
MAX_NAME = 63  # ggml.h: GGML_MAX_NAME, less its end
MAX_STRINGS = 1_048_576
MAX_KEPT = 1_024
MAX_DIMENSIONS = 4
MAX_VALUE = 2**48
MAX_ALIGNMENT = 1_048_576
# Vocabularies of a quarter of a million tokens take 6 MB.
MAX_HEADER = 134_217_728
# Texts of all arrays together: four vocabularies of the largest size, walked in under a second.
MAX_WALKED = 4_194_304
# Bytes that all kept settings together may take.
MAX_HELD = 16_777_216
_NUMBER_COST = 40  # bytes of a Python number in a tuple

Scalar = str | int | float | bool

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
STRING, ARRAY, BOOL, INT32, FLOAT32 = 8, 9, 7, 5, 6
_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: U32,
    INT32: struct.Struct("<i"),
    FLOAT32: struct.Struct("<f"),
    BOOL: struct.Struct("<?"),
    10: U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}


@dataclass(frozen=True)
class Array:
    """An array of the header: the number of its elements' type, their count, and they if few."""

    kind: int
    count: int
    numbers: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class Tensor:
    """A tensor: its type, its shape with the row length first, its bytes, where it begins.

    Of a model in several files `part` says in which it is; the first is 0.
    """

    kind: str
    shape: tuple[int, ...]
    size: int
    at: int
    part: int = 0


@dataclass
class GgufHeader:
    """What the header holds; of texts the first 1024 bytes.

    `marks` are the places where a setting begins, or the list of tensors, `begin` is where the
    tensors' data begin; tensors lie one behind the other, each at `begin` + `at`.
    """

    size: int
    path: str
    values: dict[str, Scalar] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)
    alignment: int = 32
    begin: int = 0

    def fail(self, message: str) -> NoReturn:
        """Refuse the file.

        Raises:
            PackageError: always.
        """
        raise PackageError(message, path=self.path)

    def whole(self, key: str, default: int = 0) -> int:
        """Return a setting that is a whole number a model may have.

        Raises:
            PackageError: it is none.
        """
        value = self.values.get(key, default)
        if not sane(value):
            self.fail(f"{key} cannot be {str(value)[:40]!r}: the header is damaged")
        return int(value)


def read_header(path: Path) -> GgufHeader:
    """Return the header of the GGUF file at `path`.

    Raises:
        PackageError: the file is not a whole, sane GGUF file; the message says what is wrong and
            what to do.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            _check_start(file.read(64), size, str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Walk(data, str(path)).read()
    except OSError as error:
        raise PackageError(f"the file cannot be read: {error}", path=str(path)) from error


def sane(value: Scalar) -> bool:
    """Tell whether a value is a whole number that a model may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_VALUE


def _check_start(start: bytes, size: int, path: str) -> None:
    """Tell apart the usual things that are not a model."""
    if start.startswith(b"version https://git-lfs"):
        message = "this is a git-lfs pointer, not a model: run `git lfs pull`"
    elif start[:64].lstrip()[:1] == b"<":
        message = "this is a web page, not a model: download the file itself again"
    elif start[:4] != b"GGUF":
        message = f"this is not a GGUF file (it begins with {start[:4]!r}): check where it is from"
    elif size < 24:  # noqa: PLR2004 -- magic, version and two counts
        message = f"the file is cut short after {size} bytes: download it again"
    else:
        return
    raise PackageError(message, path=path)


class _Walk:
    """Reads one header, front to back."""

    def __init__(self, data: mmap.mmap, path: str) -> None:
        self._data = data
        self._size = len(data)
        self._at = 4
        self._walked = self._held = 0
        self._header = GgufHeader(len(data), path)

    def read(self) -> GgufHeader:
        header, fail = self._header, self._header.fail
        version = self._number(U32)
        if version & 0xFFFF == 0:
            fail("the file is for big-endian machines: get the little-endian one")
        if version not in {2, 3}:
            fail(f"GGUF version {version} is not 2 or 3: convert the model again")
        tensors, pairs = self._number(U64), self._number(U64)
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            fail(f"{tensors} tensors and {pairs} settings cannot be: the header is damaged")
        for _ in range(pairs):
            header.marks.append(self._at)
            self._pair()
        header.marks.append(self._at)
        alignment = header.alignment = header.whole("general.alignment", 32)
        if alignment & (alignment - 1) or not 1 <= alignment <= MAX_ALIGNMENT:
            fail(f"alignment {alignment} is not a power of two: the header is damaged")
        need = 0
        for _ in range(tensors):
            need = self._tensor(need, alignment)
        header.begin = -(-self._at // alignment) * alignment
        if tensors and header.begin + need > self._size:
            fail(
                f"the file has {self._size} bytes but its tensors need {header.begin + need}: "
                "it is cut short, download it again"
            )
        return header

    def _pair(self) -> None:
        header, fail = self._header, self._header.fail
        key, kind = self._string(MAX_KEPT), self._number(U32)
        if key in header.values or key in header.arrays:
            fail(f"{key!r} is there twice: the header is damaged")
        if kind == STRING:
            header.values[key] = self._string(MAX_STRING)
        elif kind == ARRAY:
            header.arrays[key] = self._array(key)
        elif kind in _SCALARS:
            header.values[key] = self._number(_SCALARS[kind])
        else:
            fail(f"{key!r} has the unknown type {kind}: the header is damaged")
        if self._at > MAX_HEADER:
            fail(f"the header is over {MAX_HEADER} bytes: it is damaged")

    def _array(self, key: str) -> Array:
        """Walk over an array; its numbers are kept if they are few."""
        fail = self._header.fail
        kind, count = self._number(U32), self._number(U64)
        if kind == STRING:
            if count > MAX_STRINGS:
                fail(f"{key!r} has {count} texts, over the {MAX_STRINGS} allowed")
            self._skip_strings(count)
            return Array(kind, count)
        if kind not in _SCALARS:
            fail(f"{key!r} is an array of the unknown type {kind}: the header is damaged")
        element = _SCALARS[kind]
        if count * element.size > self._size - self._at:
            self._cut()
        start = self._at
        self._at += count * element.size
        if count > MAX_KEPT:
            return Array(kind, count)
        self._hold(_NUMBER_COST * count)
        held = self._data[start : self._at]
        return Array(kind, count, tuple(value for (value,) in element.iter_unpack(held)))

    def _skip_strings(self, count: int) -> None:
        """Step from text to text, in a plain loop: it runs 150,000 times for a usual vocabulary."""
        at, data, unpack = self._at, self._data, U64.unpack_from
        if 8 * count > self._size - at:
            self._cut()
        self._walked += count
        if self._walked > MAX_WALKED:
            self._header.fail(f"over {MAX_WALKED} texts in arrays: the header is damaged")
        try:
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
        except (struct.error, OverflowError):
            self._cut()
        if at > self._size:
            self._cut()
        self._at = at

    def _tensor(self, offset: int, alignment: int) -> int:
        """Read one tensor that must begin at `offset`; return where the next one must."""
        header, fail = self._header, self._header.fail
        name = self._string(MAX_NAME)
        if name in header.tensors:
            fail(f"tensor {name!r} is there twice: the header is damaged")
        dimensions = self._number(U32)
        if dimensions > MAX_DIMENSIONS:
            fail(f"tensor {name!r} has {dimensions} dimensions: the header is damaged")
        shape = tuple(self._number(U64) for _ in range(dimensions))
        number, at = self._number(U32), self._number(U64)
        if number not in TYPES:
            fail(f"tensor {name!r} has type {number}, which this release does not know")
        kind, elements, block = TYPES[number]
        total = math.prod(shape)
        if not 0 < total < MAX_VALUE or (shape and shape[0] % elements):
            fail(f"tensor {name!r} cannot have the shape {shape} in {kind}")
        if kind in UNCOMPUTABLE and dimensions > 1:
            fail(f"tensor {name!r} is {kind}, with which llama.cpp cannot compute")
        if at != offset:
            fail(f"tensor {name!r} begins at {at} and not at {offset}: damaged")
        size = total // elements * block
        header.tensors[name] = Tensor(kind, shape, size, at)
        return at + -(-size // alignment) * alignment

    def _hold(self, count: int) -> None:
        """Count bytes that are kept."""
        self._held += count
        if self._held > MAX_HELD:
            self._header.fail("the settings hold more than those of a model can: damaged")

    def _number(self, form: struct.Struct) -> int:
        """Read one number; by the form it may also be a float or a boolean."""
        if form.size > self._size - self._at:
            self._cut()
        (value,) = form.unpack_from(self._data, self._at)
        self._at += form.size
        return value  # type: ignore[no-any-return]

    def _string(self, limit: int) -> str:
        """Read a text, of which the first `MAX_KEPT` bytes are kept."""
        length = self._number(U64)
        if length > self._size - self._at:
            self._cut()
        if length > limit:
            self._header.fail(f"a text of {length} bytes is over the {limit} allowed")
        kept = min(length, MAX_KEPT)
        self._hold(kept)
        text = self._data[self._at : self._at + kept].decode("utf-8", "replace")
        self._at += length
        return text

    def _cut(self) -> NoReturn:
        self._header.fail("the header ends in the middle: the file is cut short or damaged")
