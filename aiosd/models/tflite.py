"""What a TFLite file says of itself: checked before a library that would crash on it sees it.

The layout is that of TensorFlow Lite's `schema.fbs`; numbers of fields are the order in which the
schema declares them.
"""

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.models.arena import Lifetime, arena_bytes
from aiosd.models.flatbuffer import Reader, Table
from aiosd.models.tflite_operators import OPERATORS

MAX_TENSORS = 65_536
MAX_RANK = 16
MAX_BYTES = 2**40

# schema.fbs, enum TensorType, with bits per element (0: not of a fixed size).
_TYPES = (
    ("float32", 32),
    ("float16", 16),
    ("int32", 32),
    ("uint8", 8),
    ("int64", 64),
    ("string", 0),
    ("bool", 8),
    ("int16", 16),
    ("complex64", 64),
    ("int8", 8),
    ("float64", 64),
    ("complex128", 128),
    ("uint64", 64),
    ("resource", 0),
    ("variant", 0),
    ("uint32", 32),
    ("uint16", 16),
    ("int4", 4),
    ("bfloat16", 16),
    ("int2", 2),
    ("uint4", 4),
)
_CUSTOM = 32  # BuiltinOperator.CUSTOM
_OLD_LIMIT = 127  # operators up to here may be in the older field of one byte


@dataclass(frozen=True)
class TensorFacts:
    """One tensor: its name, shape (-1: any length), type and bytes; `constant` is a weight."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    constant: bool


@dataclass(frozen=True)
class TfliteFacts:
    """The facts of one file.

    `operators` are the builtin operators used, `custom_operators` the others, by name.
    `weights_bytes` is the file's constant data. `activation_bytes` adds up all other tensors: an
    upper bound; `arena_bytes` is what they need when memory is reused between them.
    `packed_bytes` are the weights of matrix products, which XNNPACK copies into its own layout;
    `pointer_bytes` is the largest table of pointers that it makes for a convolution.
    """

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[str, ...]
    custom_operators: tuple[str, ...]
    operator_count: int
    tensor_count: int
    weights_bytes: int
    activation_bytes: int
    arena_bytes: int
    packed_bytes: int
    pointer_bytes: int
    file_size: int


def read_tflite(path: Path) -> TfliteFacts:
    """Return the facts of the TFLite file at `path`.

    Raises:
        PackageError: the file is not a whole, sane TFLite file; the message says what is wrong
            and what to do.
    """
    with mapped(path) as reader:
        return Model(reader).facts()


@contextmanager
def mapped(path: Path) -> Iterator[Reader]:
    """Give a reader of the file at `path`, whose bytes are mapped meanwhile.

    Raises:
        PackageError: it cannot be read, or is no TFLite file by its first bytes.
    """
    try:
        with path.open("rb") as file:
            _check_start(file.read(64), str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                view = memoryview(data)
                try:
                    yield Reader(view, str(path))
                finally:
                    view.release()
    except OSError as error:
        raise PackageError(f"the file cannot be read: {error}", path=str(path)) from error


def _check_start(start: bytes, path: str) -> None:
    """Tell apart the usual things that are not a model."""
    if start.startswith(b"version https://git-lfs"):
        message = "this is a git-lfs pointer, not a model: run `git lfs pull`"
    elif start.lstrip()[:1] == b"<":
        message = "this is a web page, not a model: download the file itself again"
    elif start[4:8] != b"TFL3":
        message = "this is not a TFLite file (no mark TFL3): check where it is from"
    else:
        return
    raise PackageError(message, path=path)


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Model:
    """The model's tables, gone through once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.root = root = reader.root()
        self._codes = [self._code(code) for code in root.tables(1)]
        self._buffers = [self._buffer(buffer) for buffer in root.tables(4)]
        self._graphs = list(root.tables(2))
        if not self._graphs:
            reader.fail("the file holds no graph: it is damaged")

    def graphs(self) -> list["Graph"]:
        """Return the graphs, every number of a tensor, a buffer and an operator in them checked.

        Raises:
            PackageError: one is wrong.
        """
        return [Graph(self._reader, graph, self._codes, self._buffers) for graph in self._graphs]

    def facts(self) -> TfliteFacts:
        """Return the facts.

        Raises:
            PackageError: as `graphs`.
        """
        graphs = self.graphs()
        used = {operator.name for graph in graphs for operator in graph.operators}
        builtin = {name for name, custom in self._codes if not custom}
        main = graphs[0]
        return TfliteFacts(
            inputs=tuple(main.tensors[i] for i in main.inputs),
            outputs=tuple(main.tensors[i] for i in main.outputs),
            operators=tuple(sorted(used & builtin)),
            custom_operators=tuple(sorted(used - builtin)),
            operator_count=sum(len(graph.operators) for graph in graphs),
            tensor_count=sum(len(graph.tensors) for graph in graphs),
            weights_bytes=sum(self._buffers),
            activation_bytes=sum(graph.activation_bytes() for graph in graphs),
            arena_bytes=sum(graph.arena_bytes() for graph in graphs),
            packed_bytes=sum(graph.packed_bytes() for graph in graphs),
            pointer_bytes=max(graph.pointer_bytes() for graph in graphs),
            file_size=self._reader.size,
        )

    def _code(self, code: Table) -> tuple[str, bool]:
        """Return an operator's name, and whether it is a custom one."""
        number = max(code.byte(0), code.integer(3))
        if number == _CUSTOM:
            return code.text(1) or "(a custom operator without a name)", True
        if not 0 <= number < len(OPERATORS):
            self._reader.fail(f"operator {number} is newer than this release knows")
        return OPERATORS[number], False

    def _buffer(self, buffer: Table) -> int:
        """Return a buffer's bytes; large ones lie behind the FlatBuffer, told by an offset."""
        offset, size = buffer.long(1), buffer.long(2)
        if offset > 1 and offset + size > self._reader.size:
            self._reader.fail(
                "weights lie beyond the end: the file is cut short, download it again"
            )
        return size if offset > 1 else buffer.size(0)


class Graph:
    """One graph of the model: its tensors, and the operators in the order they run."""

    def __init__(
        self, reader: Reader, table: Table, codes: list[tuple[str, bool]], buffers: list[int]
    ) -> None:
        self._reader = reader
        self._codes = codes
        self.table = table
        self.tensors = [self._tensor(tensor, buffers) for tensor in table.tables(0)]
        if len(self.tensors) > MAX_TENSORS:
            reader.fail(f"{len(self.tensors)} tensors are over the {MAX_TENSORS} allowed")
        self.inputs = self._indices(table.integers(1), least=0)
        self.outputs = self._indices(table.integers(2), least=0)
        self.operators = [self._operator(operator) for operator in table.tables(3)]

    def activation_bytes(self) -> int:
        """Add up what is computed."""
        return sum(tensor.size_bytes for tensor in self.tensors if not tensor.constant)

    def arena_bytes(self) -> int:
        """Return what the computed tensors need with memory reused.

        Inputs and outputs stay for the whole run; any other tensor lives from the operator that
        first names it to the last.
        """
        end = len(self.operators)
        spans: dict[int, list[int]] = {i: [-1, end] for i in (*self.inputs, *self.outputs)}
        for number, operator in enumerate(self.operators):
            for index in (*operator.inputs, *operator.outputs):
                span = spans.setdefault(index, [number, number])
                span[1] = max(span[1], number)
        return arena_bytes(
            [
                Lifetime(self.tensors[index].size_bytes, first, last)
                for index, (first, last) in spans.items()
                if index >= 0 and not self.tensors[index].constant
            ]
        )

    def packed_bytes(self) -> int:
        """Add up the constants of matrix products and convolutions, in the layout of XNNPACK."""
        packed = {
            index
            for operator in self.operators
            if operator.name in _PACKED
            for index in operator.inputs
            if index >= 0 and self.tensors[index].constant
        }
        return sum(self.tensors[index].size_bytes for index in packed)

    def pointer_bytes(self) -> int:
        """Return the bytes of pointers for the largest convolution: one per output and weight."""
        largest = 0
        for operator in self.operators:
            if operator.name in _WINDOWED and len(operator.inputs) > 1 and operator.outputs:
                out = self.tensors[operator.outputs[0]].shape
                kernel = self.tensors[operator.inputs[1]].shape
                if len(out) == len(kernel) == 4 and kernel[1] * kernel[2] > 1:  # noqa: PLR2004 -- NHWC
                    largest = max(largest, 8 * out[1] * out[2] * kernel[1] * kernel[2])
        return largest

    def _tensor(self, tensor: Table, buffers: list[int]) -> TensorFacts:
        name, shape, number = tensor.text(3), tensor.integers(0), tensor.byte(1)
        if number >= len(_TYPES):
            self._reader.fail(
                f"tensor {name!r} has type {number}, which this release does not know"
            )
        dtype, bits = _TYPES[number]
        elements = math.prod(abs(length) for length in shape)
        size = -(-elements * bits // 8)
        if len(shape) > MAX_RANK or any(length < -1 for length in shape) or size > MAX_BYTES:
            self._reader.fail(f"tensor {name!r} cannot have the shape {shape[:MAX_RANK]}")
        index = tensor.unsigned(2)
        if index >= max(len(buffers), 1):
            self._reader.fail(f"tensor {name!r} has its data in buffer {index}, which is not there")
        held = buffers[index] if buffers else 0
        if 0 < held < size and tensor.table(6) is None:
            self._reader.fail(f"tensor {name!r} needs {size} bytes but has {held}: damaged")
        signature = tensor.integers(7)
        shown = signature if len(signature) == len(shape) else shape
        return TensorFacts(name, shown, dtype, size, constant=held > 0)

    def _operator(self, operator: Table) -> _Operator:
        code = operator.unsigned(0)
        if code >= len(self._codes):
            self._reader.fail(f"an operator has the code {code}, which is not there: damaged")
        # Options are the library's to read; that they are in the file is checked here.
        operator.table(4)
        operator.size(5)
        self._indices(operator.integers(8), least=-1)
        return _Operator(
            self._codes[code][0],
            self._indices(operator.integers(1), least=-1),
            self._indices(operator.integers(2), least=-1),
        )

    def _indices(self, indices: tuple[int, ...], *, least: int) -> tuple[int, ...]:
        """Check numbers of tensors; -1 stands for one left out."""
        for index in indices:
            if not least <= index < len(self.tensors):
                self._reader.fail(f"tensor {index} of {len(self.tensors)} is asked for: damaged")
        return indices


_WINDOWED = {"CONV_2D", "DEPTHWISE_CONV_2D"}
_PACKED = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "BATCH_MATMUL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "PRELU",
}
