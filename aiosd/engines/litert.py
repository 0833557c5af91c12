"""TFLite models in this process: LiteRT, or the older tflite-runtime where that is what there is.

The caller has checked the file's digest and structure: tflite-runtime crashes on a truncated file,
and neither library notices a changed weight.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import CancelledError, ExpertFailedError, InvalidError, PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Piece, Prepared, Tensors

Numbers = NDArray[Any]

PACKAGES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}

_CUSTOM_OP = re.compile(r"unresolved custom op: (?P<name>[^\s.]+)")


class Interpreter(Protocol):
    """What both libraries offer of an interpreter, as far as it is used here."""

    def allocate_tensors(self) -> None:
        """Plan and take the memory of all tensors."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Index, shape, type and quantization of each input."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Index, shape, type and quantization of each output."""

    def resize_tensor_input(self, index: int, shape: Sequence[int], *, strict: bool) -> None:
        """Change an input's shape; `strict` allows only dimensions that the model leaves open."""

    def set_tensor(self, index: int, value: Numbers) -> None:
        """Copy an array into a tensor."""

    def get_tensor(self, index: int) -> Numbers:
        """Copy a tensor out."""

    def invoke(self) -> None:
        """Run the model once."""

    def reset_all_variables(self) -> None:
        """Forget what a model with memory (an LSTM) has kept from the run before."""


@dataclass(frozen=True)
class Library:
    """A library that runs TFLite models: its name, its version, and how it opens a file."""

    name: str
    version: str
    open: Callable[..., Interpreter]


def find_library(name: str = "") -> Library:
    """Import the library of that name, or without one the first of `PACKAGES` that is installed.

    Raises:
        ImportError: none is installed.
    """
    names = [name] if name else list(PACKAGES)
    for each in names:
        try:
            module = import_module(f"{PACKAGES[each]}.interpreter")
        except ImportError:
            continue
        version = str(getattr(import_module(PACKAGES[each]), "__version__", "unknown"))
        return Library(each, version, module.Interpreter)
    raise ImportError(f"none of {', '.join(names)} is installed")


_FOUND = find_library()  # at import, so that a host pays once for all the workers it forks


@dataclass(frozen=True)
class _Port:
    """One input or output of the model."""

    index: int
    name: str
    shape: tuple[int, ...]
    open_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero: int

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> "_Port":
        shape = tuple(int(length) for length in details["shape"])
        signature = tuple(int(length) for length in details.get("shape_signature", ()))
        scale, zero = details["quantization"]
        return cls(
            index=int(details["index"]),
            name=str(details["name"]),
            shape=shape,
            open_shape=signature if len(signature) == len(shape) else shape,
            dtype=np.dtype(details["dtype"]),
            scale=float(scale),
            zero=int(zero),
        )

    def fit(self, window: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape in which the model takes one window of that shape; None if it cannot.

        The model may have a batch axis or not, may leave dimensions open, and may hold axes of
        length 1 that the window lacks.
        """
        if _squeezed(window) == _squeezed(self.shape):
            return self.shape
        for wanted in ((1, *window), window):
            if len(wanted) == len(self.open_shape) and all(
                own in (given, -1) for given, own in zip(wanted, self.open_shape, strict=True)
            ):
                return wanted
        return None

    def convert(self, array: Numbers) -> Numbers:
        """Return the array in the model's type: quantized, widened, or as it is.

        Raises:
            InvalidError: a type that cannot become the model's without guessing, or NaN.
        """
        given, own = array.dtype, self.dtype
        if given.kind == "f" and not np.isfinite(array).all():
            raise InvalidError(f"model input {self.name!r} holds NaN or infinity", field="input")
        if given == own:
            return array
        if given.kind == "f" and own.kind in "iu" and self.scale:
            return self._quantize(array)
        if given.kind == own.kind == "f" or (
            given.kind in "iu" and own.kind in "iu" and np.can_cast(given, own, "safe")
        ):
            return array.astype(own)
        raise InvalidError(
            f"model input {self.name!r} takes {own}, not {given}; "
            "send that type, or let the package convert it (tensor.affine gives float32, "
            "and float32 is quantized for an integer model)",
            field="input",
        )

    def _quantize(self, array: Numbers) -> Numbers:
        # real = scale · (q − zero): the TFLite quantization specification, rounded half to even.
        limits = np.iinfo(self.dtype)
        steps = np.rint(array.astype(np.float32) * np.float32(1 / self.scale))
        steps += np.float32(self.zero)
        quantized: Numbers = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return quantized

    def real(self, array: Numbers) -> Numbers:
        """Return an output as real numbers: float32, or the integers of an unquantized output."""
        if self.scale and self.dtype.kind in "iu":
            shifted = array.astype(np.float32)
            shifted -= np.float32(self.zero)
            shifted *= np.float32(self.scale)
            return shifted
        if self.dtype.kind in "iub" and self.dtype.itemsize > 1:
            return array
        return array if self.dtype == np.float32 else array.astype(np.float32)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


class LitertEngine:
    """Runs one TFLite model; see `aiosd.engines.engine.Engine` for the contract.

    Windows (axis 0 of each array) run one by one through a model with a batch of 1, each from the
    model's initial state; outputs come back as float32 and stacked along axis 0.
    """

    def __init__(self, library: Library = _FOUND) -> None:
        """Take another library than the first one found, to compare them."""
        self._library = library
        self._interpreter: Interpreter | None = None
        self._inputs: tuple[_Port, ...] = ()
        self._outputs: tuple[_Port, ...] = ()
        self._threads = self._most = 1
        self._processors: list[int] = []

    def version(self) -> str:
        """Name and version of the library that runs the model."""
        return f"{self._library.name} {self._library.version}"

    def load(self, files: Mapping[str, Path], need: EngineNeed, *, threads: int) -> None:
        """Open the model from its file (mapped, not read) and take its memory.

        `need` holds nothing that a TFLite model has settings for.

        Raises:
            PackageError: no model, not a model, or one that needs an operator of other software.
        """
        del need
        path = files.get("model")
        if path is None:
            raise PackageError('a package for this engine needs a file with role = "model"')
        try:
            interpreter = self._library.open(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._bad_model(error, path) from error
        self._inputs = tuple(_Port.of(each) for each in interpreter.get_input_details())
        self._outputs = tuple(_Port.of(each) for each in interpreter.get_output_details())
        for port in (*self._inputs, *self._outputs):
            if port.dtype.kind not in "fiub":
                raise PackageError(
                    f"{port.name!r} is of type {port.dtype}; only numbers are supported",
                    path=str(path),
                )
        self._interpreter = interpreter
        self._threads = self._most = threads
        self._processors = sorted(os.sched_getaffinity(0))

    def run(self, prepared: Prepared, *, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """Run every window and yield one `Tensors`.

        Raises:
            InvalidError: wrong number, shape or type of arrays; the message says what fits.
            CancelledError: `cancelled()` became true between two windows.
            ExpertFailedError: the model failed while it ran; `reason` is the library's message.
        """
        interpreter = self._interpreter
        if interpreter is None:
            raise ExpertFailedError("no model is loaded", reason="run before load")
        if not isinstance(prepared, Tensors):
            raise ExpertFailedError(
                "the package's pipeline does not end in arrays, which a TFLite model takes",
                reason=f"prepared input is {type(prepared).__name__}",
            )
        feeds = self._feeds(interpreter, prepared)
        windows: list[list[Numbers]] = []
        try:
            for window in range(len(feeds[0])):
                if cancelled():
                    raise CancelledError("cancelled between two windows")
                interpreter.reset_all_variables()
                for port, feed in zip(self._inputs, feeds, strict=True):
                    interpreter.set_tensor(port.index, feed[window])
                interpreter.invoke()
                windows.append([interpreter.get_tensor(port.index) for port in self._outputs])
        except (RuntimeError, ValueError) as error:
            raise ExpertFailedError(
                f"the model failed while it ran: {_one_line(error)}", reason=_one_line(error)
            ) from error
        yield Tensors(
            tuple(
                port.real(_stack([window[place] for window in windows]))
                for place, port in enumerate(self._outputs)
            )
        )

    def use_threads(self, threads: int) -> None:
        """Keep this process on so many processors: an interpreter's threads are made for good.

        Two of its threads on one processor take no longer than one (they sleep while they wait),
        and making another interpreter takes longer than most models run.
        """
        threads = min(threads, self._most)
        if threads == self._threads:
            return
        self._threads = threads
        own = self._processors
        if threads < self._most:
            # Workers begin at different places, so that they do not all meet on the first ones.
            first = os.getpid() % len(own)
            own = [own[(first + at) % len(own)] for at in range(min(threads, len(own)))]
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), own)

    def close(self) -> None:
        """Let go of the model."""
        self._interpreter = None
        self._inputs = self._outputs = ()

    def _feeds(self, interpreter: Interpreter, prepared: Tensors) -> list[Numbers]:
        """Return each input as (windows, *shape the model takes), in the model's types."""
        arrays = [np.asarray(array) for array in prepared.arrays]
        if len(arrays) != len(self._inputs):
            raise InvalidError(
                f"the model takes {len(self._inputs)} arrays, not {len(arrays)}", field="input"
            )
        counts = {array.shape[0] if array.ndim else 0 for array in arrays}
        if len(counts) > 1 or not min(counts):
            raise InvalidError(
                f"each array needs the same number of windows, at least 1; got {sorted(counts)}",
                field="input",
            )
        feeds, resized = [], []
        for place, (port, array) in enumerate(zip(self._inputs, arrays, strict=True)):
            shape = port.fit(array.shape[1:])
            if shape is None:
                raise InvalidError(
                    f"model input {port.name!r} takes shape {list(port.open_shape)} "
                    f"(-1 is any length), not {list(array.shape[1:])} per window",
                    field="input.shape",
                )
            if shape != port.shape:
                resized.append((place, shape))
            feeds.append(port.convert(array).reshape(len(array), *shape))
        if resized:
            self._resize(interpreter, resized)
        return feeds

    def _resize(self, interpreter: Interpreter, resized: list[tuple[int, tuple[int, ...]]]) -> None:
        """Give inputs with open dimensions their new shapes, or leave everything as it was."""
        before = self._inputs
        try:
            for place, shape in resized:
                interpreter.resize_tensor_input(before[place].index, shape, strict=True)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            for port in before:
                interpreter.resize_tensor_input(port.index, port.shape, strict=False)
            interpreter.allocate_tensors()
            raise InvalidError(
                f"the model does not take that shape: {_one_line(error)}", field="input.shape"
            ) from error
        self._inputs = tuple(_Port.of(each) for each in interpreter.get_input_details())
        self._outputs = tuple(_Port.of(each) for each in interpreter.get_output_details())

    def _bad_model(self, error: Exception, path: Path) -> PackageError:
        found = _CUSTOM_OP.search(str(error))
        if found:
            return PackageError(
                f"the model needs the custom op {found['name']!r}, which {self.version()} does "
                "not have; use a model made for the CPU from built-in operators",
                path=str(path),
            )
        return PackageError(
            f"not a model {self.version()} can run: {_one_line(error)}", path=str(path)
        )


def _stack(arrays: list[Numbers]) -> Numbers:
    """Join the windows' outputs on axis 0, which is the model's batch axis where it has one."""
    first = arrays[0]
    batched = first.ndim > 0 and first.shape[0] == 1
    if len(arrays) == 1:
        return first if batched else first[np.newaxis]
    return np.concatenate(arrays) if batched else np.stack(arrays)


def _one_line(error: Exception) -> str:
    """Return the library's message short and on one line."""
    return " ".join(str(error).split())[:300]
