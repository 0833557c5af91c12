"""A built package run as the board runs it: its own pipeline, its model, in a real engine."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Manifest
from aiosd.domain.prepared import Tensors
from aiosd.domain.request import Sampling
from aiosd.engines.litert import LitertEngine, find_library
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.toml import decode_toml

LIBRARIES = ("ai-edge-litert", "tflite-runtime")


class TextPackage:
    """A text package's pipeline and TFLite model, as a worker has them."""

    def __init__(self, folder: Path, library: str = "") -> None:
        """Load the package in `folder`; `library` is one of `LIBRARIES`, or the first there is.

        Raises:
            ImportError: the library is not installed.
        """
        path = folder / "expert.toml"
        self.manifest = decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))
        if self.manifest.model is None:
            raise ValueError(f"{path} names no model")
        self._pipeline = Pipeline(self.manifest, folder)
        self._engine = LitertEngine(find_library(library))
        model = {"model": folder / self.manifest.model.path}
        self._engine.load(model, self.manifest.engine, threads=1)

    def logits(self, text: str) -> NDArray[np.float32]:
        """Return what the model gives, before any post step: float32 (outputs,)."""
        found: NDArray[np.float32] = self._run(text)[1].arrays[0][0]
        return found

    def output(self, text: str) -> dict[str, object]:
        """Return what a caller of the daemon gets."""
        return self._pipeline.finish(*self._run(text))

    def many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the logits of several texts: float32 (texts, outputs)."""
        return np.stack([self.logits(text) for text in texts])

    def microseconds(self, text: str, rounds: int = 300) -> float:
        """Return the median time of one answer, pipeline and model, in microseconds."""
        times = []
        for _ in range(rounds):
            start = perf_counter()
            self.output(text)
            times.append(perf_counter() - start)
        return float(np.median(times)) * 1e6

    def _run(self, text: str) -> tuple[Tensors, Tensors]:
        """Return what the engine was given and what it gave."""
        prepared = self._pipeline.prepare(TextInput(text=text), Sampling())
        given = next(iter(self._engine.run(prepared, cancelled=lambda: False)))
        if not isinstance(prepared, Tensors) or not isinstance(given, Tensors):
            raise TypeError("the package's model does not take and give arrays")
        return prepared, given


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Return probabilities (rows, classes)."""
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature))
    shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def calibration_error(
    scores: NDArray[np.float32], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Return the expected calibration error over `bins` bins of equal width (Guo et al. 2017)."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return float(
        sum(
            abs(float(right[place == one].mean()) - float(scores[place == one].mean()))
            * float((place == one).mean())
            for one in np.unique(place)
        )
    )
