"""A TFLite file as a teacher, in the very library that the board has."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import RecipeError, TeacherError
from tools.distill.table import Input

SOFTMAX = "SOFTMAX"
# Added before the logarithm where only probabilities are to be had.
LEAST = 1e-4


class LitertTeacher:
    """Runs the file on one array at a time; where it ends in a softmax, what goes into that."""

    batch = 64

    def __init__(self, path: Path, sha256: str = "") -> None:
        """Load the file.

        Raises:
            TeacherError: there is none, or it does not load.
            RecipeError: its digest is not the recipe's.
        """
        from ai_edge_litert.interpreter import (  # noqa: PLC0415 - only for this teacher
            Interpreter,
            OpResolverType,
        )

        try:
            data = path.read_bytes()
        except OSError as error:
            raise TeacherError(f"{path}: {error.strerror}") from None
        digest = hashlib.sha256(data).hexdigest()
        if sha256 and digest != sha256:
            raise RecipeError(f"{path} has the digest {digest}, the recipe says {sha256}")
        self.fingerprint = f"litert {digest[:16]}"
        try:
            self._engine: Any = Interpreter(
                model_content=data,
                num_threads=1,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TeacherError(f"{path} does not load: {error}") from None
        self._into = self._engine.get_input_details()[0]
        out = self._engine.get_output_details()[0]["index"]
        operations = self._engine._get_ops_details()  # noqa: SLF001 - the only way to see them
        last = next((op for op in operations if out in op["outputs"]), None)
        self._is_logits = last is not None and last["op_name"] == SOFTMAX
        self._place = int(last["inputs"][0]) if self._is_logits and last else out
        self._scale, self._zero = self._engine._get_tensor_details(  # noqa: SLF001 - likewise
            self._place, 0
        )["quantization"]

    @property
    def input_scale(self) -> tuple[float, int]:
        """Scale and zero point of the input; scale 0 where it takes plain numbers."""
        scale, zero = self._into["quantization"]
        return float(scale), int(zero)

    def quantize(self, one: NDArray[np.float32]) -> NDArray[Any]:
        """Return an input as the file takes it."""
        scale, zero = self._into["quantization"]
        shaped = one.reshape(self._into["shape"])
        if not scale:
            return shaped.astype(self._into["dtype"])
        limits = np.iinfo(self._into["dtype"])
        return np.clip(np.round(shaped / scale) + zero, limits.min, limits.max).astype(
            self._into["dtype"]
        )

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        rows = []
        for one in inputs:
            self._engine.set_tensor(self._into["index"], self.quantize(np.asarray(one, np.float32)))
            self._engine.invoke()
            row = self._engine.get_tensor(self._place)[0].astype(np.float32)
            row = (row - self._zero) * self._scale if self._scale else row
            rows.append(row if self._is_logits else np.log(np.maximum(row, 0) + LEAST))
        return np.stack(rows).astype(np.float32)
