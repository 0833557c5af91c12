"""The bundled audio expert answers as it should in the real pipeline and engine."""

import hashlib
import io
import wave
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiosd.domain.errors import InvalidError
from aiosd.domain.inputs import AudioInput
from aiosd.domain.manifest import Manifest
from aiosd.domain.request import Sampling
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.toml import decode_toml

LIBRARIES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
Ask = Callable[[bytes], dict[str, Any]]


@pytest.fixture
def package(repo: Path) -> Path:
    return repo / "experts" / "keyword"


@pytest.fixture
def manifest(package: Path) -> Manifest:
    path = package / "expert.toml"
    return decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))


@pytest.fixture(params=LIBRARIES)
def ask(package: Path, manifest: Manifest, request: pytest.FixtureRequest) -> Ask:
    """A function that asks the expert; skips where the library is not installed."""
    if find_spec(LIBRARIES[request.param]) is None:
        pytest.skip(f"{request.param} is not installed")
    from aiosd.engines.litert import LitertEngine, find_library  # noqa: PLC0415 - may be absent

    engine, pipeline = LitertEngine(find_library(request.param)), Pipeline(manifest, package)
    assert manifest.model is not None
    engine.load({"model": package / manifest.model.path}, manifest.engine, threads=1)

    def answer(sound: bytes) -> dict[str, Any]:
        prepared = pipeline.prepare(AudioInput(data=sound), Sampling())
        (piece,) = engine.run(prepared, cancelled=lambda: False)
        return pipeline.finish(prepared, piece)

    return answer


def recording(samples: np.ndarray, rate: int = 16_000) -> bytes:  # type: ignore[type-arg]
    """A mono WAV file of samples between -1 and 1."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def read(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def test_every_self_test_case_is_answered_as_expected(
    package: Path, manifest: Manifest, ask: Ask
) -> None:
    assert len(manifest.self_test.cases) >= 5
    for case in manifest.self_test.cases:
        assert case.file is not None
        assert case.expect is not None
        assert ask((package / case.file).read_bytes())["label"] == case.expect["label"], case.file


def test_a_word_said_softer_is_the_same_word(package: Path, ask: Ask) -> None:
    loud = read(package / "keyword.case-yes.wav")
    assert ask(recording(0.2 * loud))["label"] == "yes"


def test_the_shares_of_the_labels_add_up_to_one_at_most(package: Path, ask: Ask) -> None:
    answer = ask((package / "keyword.case-left.wav").read_bytes())
    scores = [each["score"] for each in answer["top"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(answer["score"])
    assert sum(scores) <= 1.0 + 1e-6


def test_a_second_of_a_quiet_room_is_silence(ask: Ask) -> None:
    noise = np.random.default_rng(1).normal(size=16_000)
    assert ask(recording(0.001 * noise))["label"] == "silence"


@pytest.mark.parametrize("count", [1600, 4000, 16_000])
def test_no_sound_at_all_is_no_word(count: int, ask: Ask) -> None:
    assert ask(recording(np.zeros(count)))["label"] in ("silence", "unknown")


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no sound at all"])
def test_what_is_no_recording_is_refused(data: bytes, ask: Ask) -> None:
    with pytest.raises(InvalidError):
        ask(data)


def test_the_files_are_those_that_the_manifest_names(package: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        assert hashlib.sha256((package / file.path).read_bytes()).hexdigest() == file.sha256
