"""Steps for plain arrays: features that a caller sends, and numbers that it gets."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import TensorInput
from aiosd.domain.post_steps import EmbeddingNormalize, TensorValues
from aiosd.domain.pre_steps import TensorAffine, TensorDecode, TensorWindow
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.scores import answer_of

Call = Callable[[object], object]
Numbers = NDArray[Any]

MAX_AXES = 8
MAX_ELEMENTS = 1 << 26  # of all windows of one request: 256 MiB of float32


def decode(spec: TensorDecode, folder: Path) -> Call:
    """Make a callable from `TensorInput` to an array over the caller's bytes (read-only)."""
    del folder
    if len(spec.shape) > MAX_AXES or any(length < 1 and length != -1 for length in spec.shape):
        raise PackageError(f"shape {spec.shape}: at most {MAX_AXES} lengths, each over 0 or -1")
    dtype = np.dtype(spec.dtype).newbyteorder("<")

    def call(value: object) -> object:
        if not isinstance(value, TensorInput) or value.data is None:
            raise InvalidError("no tensor was sent", field="input.data")
        if value.dtype != spec.dtype:
            raise InvalidError(
                f"the expert takes {spec.dtype}, not {value.dtype}", field="input.dtype"
            )
        shape = value.shape
        if len(shape) != len(spec.shape) or any(
            given < 1 or wanted not in (given, -1)
            for given, wanted in zip(shape, spec.shape, strict=True)
        ):
            raise InvalidError(
                f"the expert takes shape {spec.shape} (-1 is any length over 0), not {shape}",
                field="input.shape",
            )
        size = prod(shape) * dtype.itemsize
        if len(value.data) != size:
            raise InvalidError(
                f"{len(value.data)} bytes came; {spec.dtype} of shape {shape} are {size}",
                field="input.data",
            )
        array = np.frombuffer(value.data, dtype).reshape(shape)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidError("the tensor holds NaN or infinity", field="input.data")
        return array

    return call


def affine(spec: TensorAffine, folder: Path) -> Call:
    """Make a callable for an array, a tuple of arrays, or the outputs of an answer."""
    del folder
    scale, offset = np.float32(spec.scale), np.float32(spec.offset)

    def change(array: Numbers) -> Numbers:
        changed = array.astype(np.float32)
        changed *= scale
        changed += offset
        return changed

    def call(value: object) -> object:
        if isinstance(value, Answer):
            return replace(value, tensors=tuple(change(tensor) for tensor in value.tensors))
        if isinstance(value, tuple):
            return tuple(change(array) for array in value)
        return change(_array(value, "tensor.affine"))

    return call


def window(spec: TensorWindow, folder: Path) -> Call:
    """Make a callable from (rows, …) to (n, length · …)."""
    del folder
    if spec.length < 1 or spec.hop < 1:
        raise PackageError("length and hop must be at least 1")

    def call(value: object) -> object:
        rows = _array(value, "tensor.window")
        if rows.ndim == 0 or len(rows) < spec.length:
            raise InvalidError(
                f"{len(rows) if rows.ndim else 0} rows came; the expert takes at least "
                f"{spec.length}",
                field="input.shape",
            )
        count = (len(rows) - spec.length) // spec.hop + 1
        if count * spec.length * prod(rows.shape[1:]) > MAX_ELEMENTS:
            raise InvalidError(
                f"{len(rows)} rows make {count} windows, more than fit; send fewer",
                field="input.shape",
            )
        views = np.lib.stride_tricks.sliding_window_view(rows, spec.length, axis=0)
        return np.moveaxis(views[:: spec.hop], -1, 1).reshape(count, -1)

    return call


def _array(value: object, step: str) -> Numbers:
    if not isinstance(value, np.ndarray):
        raise ExpertFailedError(
            f"{step} cannot take {type(value).__name__}: the package's steps are in the wrong "
            "order",
            reason="wrong order of steps",
        )
    return value


def values(spec: TensorValues, folder: Path) -> Call:
    """Make a callable that writes `values`: nested lists, one per output of the model."""
    del spec, folder

    def call(value: object) -> object:
        answer = answer_of(value, "tensor.values")
        lists = [tensor.tolist() for tensor in answer.tensors]
        return replace(answer, output={**answer.output, "values": lists})

    return call


def normalize(spec: EmbeddingNormalize, folder: Path) -> Call:
    """Make a callable that writes `embedding`: the first output, of length 1."""
    del spec, folder

    def call(value: object) -> object:
        answer = answer_of(value, "embedding.normalize")
        vector = answer.tensors[0].reshape(-1).astype(np.float64)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            raise ExpertFailedError(
                f"the model gave an embedding of length {length}", reason="no direction"
            )
        unit = (vector / length).astype(np.float32)
        return replace(
            answer,
            tensors=(unit[np.newaxis], *answer.tensors[1:]),
            output={**answer.output, "embedding": unit.tolist()},
        )

    return call


STEPS: dict[type[Step], Callable[[Any, Path], Call]] = {
    TensorDecode: decode,
    TensorAffine: affine,
    TensorWindow: window,
    TensorValues: values,
    EmbeddingNormalize: normalize,
}
