"""A bundled expert in the real pipeline and engine, without a worker around it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aiosd.domain.inputs import Input
from aiosd.domain.manifest import Manifest
from aiosd.domain.request import Sampling
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.toml import decode_toml

LIBRARIES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
Ask = Callable[[Input], dict[str, Any]]


def read(repo: Path, name: str) -> Manifest:
    """The manifest of an expert of this repository."""
    path = repo / "experts" / name / "expert.toml"
    return decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))


def opened(repo: Path, name: str, library: str) -> Ask:
    """A function that asks the expert; skips where the library is not installed."""
    if find_spec(LIBRARIES[library]) is None:
        pytest.skip(f"{library} is not installed")
    from aiosd.engines.litert import LitertEngine, find_library  # noqa: PLC0415 - may be absent

    manifest, folder = read(repo, name), repo / "experts" / name
    assert manifest.model is not None
    engine, pipeline = LitertEngine(find_library(library)), Pipeline(manifest, folder)
    engine.load({"model": folder / manifest.model.path}, manifest.engine, threads=1)

    def ask(value: Input) -> dict[str, Any]:
        prepared = pipeline.prepare(value, Sampling())
        (piece,) = engine.run(prepared, cancelled=lambda: False)
        return pipeline.finish(prepared, piece)

    return ask
