"""A built package run as the board runs it: its own `pre` steps, its model, in a real engine."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.manifest import Manifest
from aiosd.pipelines.text import STEPS
from aiosd.protocol.toml import decode_toml

ENGINES = ("ai_edge_litert", "tflite_runtime")


class TextModel:
    """A text package's steps and TFLite model; `__call__` gives the logits of one text."""

    def __init__(self, folder: Path, engine: str = ENGINES[0]) -> None:
        """Load the package in `folder`; `engine` is the Python package that runs TFLite."""
        path = folder / "expert.toml"
        self.manifest = decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))
        model = self.manifest.model
        if model is None:
            raise ValueError(f"{path} names no model")
        self._pre = [STEPS[type(step)](step, folder) for step in self.manifest.pre]
        interpreter = import_module(f"{engine}.interpreter").Interpreter
        self._run = interpreter(model_path=str(folder / model.path), num_threads=1)
        self._run.allocate_tensors()
        self._in = self._run.get_input_details()[0]["index"]
        self._out = self._run.get_output_details()[0]["index"]

    def __call__(self, text: str) -> NDArray[np.float32]:
        """Return float32 (outputs,)."""
        value: object = text
        for step in self._pre:
            value = step(value)
        self._run.set_tensor(self._in, value)
        self._run.invoke()
        logits: NDArray[np.float32] = self._run.get_tensor(self._out)[0]
        return logits

    def many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (texts, outputs)."""
        return np.stack([self(text) for text in texts])

    def microseconds(self, text: str, rounds: int = 300) -> float:
        """Return the median time of one answer, steps and model, in microseconds."""
        times = []
        for _ in range(rounds):
            start = perf_counter()
            self(text)
            times.append(perf_counter() - start)
        return float(np.median(times)) * 1e6


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
