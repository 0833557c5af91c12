"""What a GGUF file says of itself, read within strict limits and without loading the model.

The format is described in ggml's `docs/gguf.md`. Nothing is believed: every count has a limit,
every offset must lie in the file, and what does not fit is a `PackageError`. Large arrays (a
vocabulary) are walked over, never built.
"""

import math
import mmap
import struct
from collections.abc import Iterator
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

Scalar = str | int | float | bool


@dataclass(frozen=True)
class GgufFacts:
    """The facts of one file; a number that the file does not give is 0, a text empty.

    `kv_heads` has one entry per layer. `quantisation` is the bytes of tensors by type, largest
    first. `rope_scaling` is "none" unless the file says otherwise. `window` is the sliding window
    in tokens. `matrices` is the bytes of the weights of matrix products by type, as llama.cpp
    copies those of some types into another layout; `places` says where each tensor begins and ends,
    with its type if it is such a matrix and nothing else. `state_bytes` is the state of a recurrent
    model.
    """

    architecture: str
    name: str
    context_train: int
    layers: int
    embedding: int
    heads: int
    kv_heads: tuple[int, ...] = field(repr=False)
    key_length: int
    value_length: int
    feed_forward: int
    vocabulary: int
    merges: int
    rope_base: float
    rope_scaling: str
    window: int
    state_bytes: int
    tokenizer: str
    quantisation: tuple[tuple[str, int], ...]
    tensor_count: int
    tensor_bytes: int
    matrices: tuple[tuple[str, int], ...]
    places: tuple[tuple[str, int, int], ...] = field(repr=False)
    alignment: int
    file_size: int


def read_gguf(path: Path) -> GgufFacts:
    """Return the facts of the GGUF file at `path`.

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
                return _Reader(data, str(path)).read()
    except OSError as error:
        raise PackageError(f"the file cannot be read: {error}", path=str(path)) from error


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


_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7
_LOOKED_UP = "token_embd.weight"  # the table of embeddings, of which rows are taken
_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: _U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}


class _Reader:
    """Reads one header, front to back."""

    def __init__(self, data: mmap.mmap, path: str) -> None:
        self._data = data
        self._size = len(data)
        self._path = path
        self._at = 4
        self._values: dict[str, Scalar] = {}
        self._arrays: dict[str, tuple[int, tuple[Scalar, ...]]] = {}
        self._tensors: dict[str, tuple[str, tuple[int, ...], int]] = {}
        self._begin = 0

    def read(self) -> GgufFacts:
        version = self._number(_U32)
        if version & 0xFFFF == 0:
            self._fail("the file is for big-endian machines: get the little-endian one")
        if version not in {2, 3}:
            self._fail(f"GGUF version {version} is not 2 or 3: convert the model again")
        tensors, pairs = self._number(_U64), self._number(_U64)
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            self._fail(f"{tensors} tensors and {pairs} settings cannot be: the header is damaged")
        for _ in range(pairs):
            self._pair()
        alignment = self._whole("general.alignment", 32)
        if alignment & (alignment - 1) or not 1 <= alignment <= MAX_STRING:
            self._fail(f"alignment {alignment} is not a power of two: the header is damaged")
        need = 0
        for _ in range(tensors):
            need = self._tensor(need, alignment)
        self._begin = -(-self._at // alignment) * alignment
        if tensors and self._begin + need > self._size:
            self._fail(
                f"the file has {self._size} bytes but its tensors need {self._begin + need}: "
                "it is cut short, download it again"
            )
        return self._facts(alignment)

    def _pair(self) -> None:
        key, kind = self._string(MAX_KEPT), self._number(_U32)
        if key in self._values or key in self._arrays:
            self._fail(f"{key!r} is there twice: the header is damaged")
        if kind == _STRING:
            self._values[key] = self._string(MAX_STRING)
        elif kind == _ARRAY:
            self._arrays[key] = self._array(key)
        elif kind in _SCALARS:
            self._values[key] = self._number(_SCALARS[kind])
        else:
            self._fail(f"{key!r} has the unknown type {kind}: the header is damaged")

    def _array(self, key: str) -> tuple[int, tuple[Scalar, ...]]:
        """Walk over an array; return its length, and its numbers if they are few."""
        kind, count = self._number(_U32), self._number(_U64)
        if kind == _STRING:
            if count > MAX_STRINGS:
                self._fail(f"{key!r} has {count} texts, over the {MAX_STRINGS} allowed")
            self._skip_strings(count)
            return count, ()
        if kind not in _SCALARS:
            self._fail(f"{key!r} is an array of the unknown type {kind}: the header is damaged")
        element = _SCALARS[kind]
        if count * element.size > self._size - self._at:
            self._cut()
        start = self._at
        self._at += count * element.size
        if count > MAX_KEPT:
            return count, ()
        return count, tuple(value for (value,) in element.iter_unpack(self._data[start : self._at]))

    def _skip_strings(self, count: int) -> None:
        """Step from text to text, in a plain loop: it runs 150,000 times for a usual vocabulary."""
        at, data, unpack = self._at, self._data, _U64.unpack_from
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
        name = self._string(MAX_NAME)
        if name in self._tensors:
            self._fail(f"tensor {name!r} is there twice: the header is damaged")
        dimensions = self._number(_U32)
        if dimensions > MAX_DIMENSIONS:
            self._fail(f"tensor {name!r} has {dimensions} dimensions: the header is damaged")
        shape = tuple(self._number(_U64) for _ in range(dimensions))
        number, at = self._number(_U32), self._number(_U64)
        if number not in TYPES:
            self._fail(f"tensor {name!r} has type {number}, which this release does not know")
        kind, elements, block = TYPES[number]
        total = math.prod(shape)
        if not 0 < total < MAX_VALUE or (shape and shape[0] % elements):
            self._fail(f"tensor {name!r} cannot have the shape {shape} in {kind}")
        if kind in UNCOMPUTABLE and dimensions > 1:
            self._fail(f"tensor {name!r} is {kind}, with which llama.cpp cannot compute")
        if at != offset:
            self._fail(f"tensor {name!r} begins at {at} and not at {offset}: damaged")
        size = total // elements * block
        self._tensors[name] = (kind, shape, size)
        return at + -(-size // alignment) * alignment

    def _facts(self, alignment: int) -> GgufFacts:
        architecture = self._text("general.architecture")
        if not architecture:
            self._fail("general.architecture is missing: this is not a model")
        arch, whole = architecture, self._whole
        layers = whole(f"{arch}.block_count")
        embedding = whole(f"{arch}.embedding_length")
        heads = self._most(f"{arch}.attention.head_count")
        length = embedding // heads if heads else 0
        mix: dict[str, int] = {}
        for kind, _, size in self._tensors.values():
            mix[kind] = mix.get(kind, 0) + size
        return GgufFacts(
            architecture=arch,
            name=self._text("general.name"),
            context_train=whole(f"{arch}.context_length"),
            layers=layers,
            embedding=embedding,
            heads=heads,
            kv_heads=self._per_layer(f"{arch}.attention.head_count_kv", layers, heads),
            key_length=whole(f"{arch}.attention.key_length", length),
            value_length=whole(f"{arch}.attention.value_length", length),
            feed_forward=max(
                self._most(f"{arch}.feed_forward_length"),
                whole(f"{arch}.expert_used_count") * whole(f"{arch}.expert_feed_forward_length"),
            ),
            vocabulary=self._vocabulary(arch),
            merges=self._arrays.get("tokenizer.ggml.merges", (0, ()))[0],
            rope_base=self._real(f"{arch}.rope.freq_base"),
            rope_scaling=self._text(f"{arch}.rope.scaling.type") or "none",
            window=whole(f"{arch}.attention.sliding_window"),
            state_bytes=layers * self._state(arch, embedding),
            tokenizer=self._text("tokenizer.ggml.model"),
            quantisation=_by_size(mix),
            tensor_count=len(self._tensors),
            tensor_bytes=sum(mix.values()),
            matrices=_by_size(self._matrices()),
            places=tuple(self._places(alignment)),
            alignment=alignment,
            file_size=self._size,
        )

    def _state(self, arch: str, embedding: int) -> int:
        """Return the bytes of one layer's state (llama.cpp, llama_hparams: n_embd_r, n_embd_s)."""
        inner, state = self._whole(f"{arch}.ssm.inner_size"), self._whole(f"{arch}.ssm.state_size")
        groups, kernel = (
            self._whole(f"{arch}.ssm.group_count"),
            self._whole(f"{arch}.ssm.conv_kernel"),
        )
        mamba = inner * state + max(kernel - 1, 0) * (inner + 2 * groups * state)
        wkv = self._whole(f"{arch}.wkv.head_size")
        return 4 * (mamba + (embedding * (wkv + 2) if wkv else 0))

    def _vocabulary(self, arch: str) -> int:
        """Return the size of the vocabulary, by the longest of the three places that tell it."""
        tokens, _ = self._arrays.get("tokenizer.ggml.tokens", (0, ()))
        _, shape, _ = self._tensors.get("token_embd.weight", ("", (0, 0), 0))
        rows = shape[-1] if len(shape) > 1 else 0
        return max(tokens, rows, self._whole(f"{arch}.vocab_size"))

    def _matrices(self) -> dict[str, int]:
        """Return the bytes of matrices by type.

        The table of embeddings is only looked up, unless there is no `output.weight`: then it is
        multiplied with as well. Rows that are no multiple of 4 are never copied.
        """
        tied = "output.weight" not in self._tensors
        found: dict[str, int] = {}
        for name, (kind, shape, size) in self._tensors.items():
            if _multiplied(shape) and (tied or name != _LOOKED_UP):
                found[kind] = found.get(kind, 0) + size
        return found

    def _places(self, alignment: int) -> Iterator[tuple[str, int, int]]:
        """Yield the type of each matrix that is only multiplied with, else nothing, and its place.

        Tensors lie one behind the other, as `_tensor` has checked.
        """
        at = self._begin
        for name, (kind, shape, size) in self._tensors.items():
            only = _multiplied(shape) and name != _LOOKED_UP
            yield (kind if only else ""), at, at + size
            at += -(-size // alignment) * alignment

    def _per_layer(self, key: str, layers: int, default: int) -> tuple[int, ...]:
        """Return one number per layer, from a number or an array."""
        if layers > MAX_KEPT:
            self._fail(f"{layers} layers are over the {MAX_KEPT} allowed")
        if key in self._arrays:
            numbers = self._arrays[key][1]
            if len(numbers) < layers or not all(_sane(number) for number in numbers):
                self._fail(f"{key} does not have a sane number for each of {layers} layers")
            return tuple(int(number) for number in numbers[:layers])
        return (self._whole(key, default),) * layers

    def _most(self, key: str) -> int:
        """Return a number, or the largest of an array of numbers."""
        if key in self._arrays:
            numbers = self._arrays[key][1]
            if not numbers or not all(_sane(number) for number in numbers):
                self._fail(f"{key} is not made of sane numbers: the header is damaged")
            return max(int(number) for number in numbers)
        return self._whole(key)

    def _whole(self, key: str, default: int = 0) -> int:
        value = self._values.get(key, default)
        if not _sane(value):
            self._fail(f"{key} cannot be {str(value)[:40]!r}: the header is damaged")
        return int(value)

    def _real(self, key: str) -> float:
        value = self._values.get(key, 0.0)
        if isinstance(value, str):
            self._fail(f"{key} is a text and not a number: the header is damaged")
        return float(value)

    def _text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            self._fail(f"{key} is not a text: the header is damaged")
        return value[:MAX_KEPT]

    def _number(self, form: struct.Struct) -> int:
        """Read one number; by the form it may also be a float or a boolean."""
        if form.size > self._size - self._at:
            self._cut()
        (value,) = form.unpack_from(self._data, self._at)
        self._at += form.size
        return value  # type: ignore[no-any-return]

    def _string(self, limit: int) -> str:
        length = self._number(_U64)
        if length > self._size - self._at:
            self._cut()
        if length > limit:
            self._fail(f"a text of {length} bytes is over the {limit} allowed")
        text = self._data[self._at : self._at + length].decode("utf-8", "replace")
        self._at += length
        return text

    def _cut(self) -> NoReturn:
        self._fail("the header ends in the middle: the file is cut short or damaged")

    def _fail(self, message: str) -> NoReturn:
        raise PackageError(message, path=self._path)


def _multiplied(shape: tuple[int, ...]) -> bool:
    """Tell whether llama.cpp may copy a tensor of that shape: a matrix of whole groups of rows."""
    return len(shape) > 1 and shape[1] % 4 == 0


def _by_size(bytes_of: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Return pairs, the largest first."""
    return tuple(sorted(bytes_of.items(), key=lambda item: (-item[1], item[0])))


def _sane(value: Scalar) -> bool:
    """Tell whether a value is a whole number that a model may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_VALUE
