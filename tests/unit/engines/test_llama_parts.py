"""A model in parts answers as the whole one does, gives its pages back as that, and shares them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

from gguf_writer import write_small_model

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextEnd, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.engines.llama import LlamaEngine
from aiosd.engines.llama_plan import plan_memory
from tools.expert import parts as cutting
from tools.expert.parts import cut
from tools.gguf.random_llama import SMALL, lora_adapter

PROMPT = TextPrompt(text="once upon a time", sampling=Sampling(max_tokens=24, seed=1), margin=True)
NEED = EngineNeed(name="llama", context=256, batch=16)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(cutting, "LEAST_PART", 8192)
    into = tmp_path / "parts"
    into.mkdir()
    return cut(write_small_model(tmp_path), into)


@pytest.fixture
def engine(parts: list[Path]) -> Iterator[LlamaEngine]:
    engine = LlamaEngine()
    engine.load({"model": parts[0]}, NEED, threads=1)
    yield engine
    engine.close()


def answer(engine: LlamaEngine) -> tuple[str, float | None]:
    *_, end = engine.run(PROMPT, cancelled=lambda: False)
    assert isinstance(end, TextEnd)
    return end.text, end.margin


def whole_answer(folder: Path, files: dict[str, Path] | None = None) -> tuple[str, float | None]:
    engine = LlamaEngine()
    engine.load({"model": folder / "small.gguf", **(files or {})}, NEED, threads=1)
    try:
        return answer(engine)
    finally:
        engine.close()


def mapped(folder: Path) -> dict[str, int]:
    """The bytes of each file in a folder that this process has resident."""
    found: dict[str, int] = {}
    name = ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "-" in words[0]:
            name = words[-1] if words[-1].startswith(os.fspath(folder)) else ""
        elif name and words[0] == "Rss:":
            found[name] = found.get(name, 0) + int(words[1]) * 1024
    return found


def test_the_answer_is_the_same_to_the_bit(engine: LlamaEngine, tmp_path: Path) -> None:
    assert answer(engine) == whole_answer(tmp_path)


def test_an_adapter_changes_a_base_in_parts_as_it_changes_a_whole_one(
    parts: list[Path], tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(lora_adapter(SMALL))
    engine = LlamaEngine()
    engine.load({"model": parts[0], "adapter": adapter}, NEED, threads=1)
    assert answer(engine) == whole_answer(tmp_path, {"adapter": adapter}) != whole_answer(tmp_path)
    engine.close()


def test_parking_takes_the_pages_of_every_part(engine: LlamaEngine, parts: list[Path]) -> None:
    before = answer(engine)
    here = mapped(parts[0].parent)
    assert set(here) >= {os.fspath(path) for path in parts[1:]}
    assert sum(here.values()) > 100_000
    engine.park(pages=True)
    assert sum(mapped(parts[0].parent).values()) == 0
    assert engine.resume() is not None
    assert sum(mapped(parts[0].parent).values()) >= sum(here.values())
    assert answer(engine) == before


def test_llama_cpp_opens_the_parts_by_their_names_and_no_others(
    parts: list[Path], tmp_path: Path
) -> None:
    shutil.copy(parts[2], tmp_path / "kept")
    parts[2].unlink()
    engine = LlamaEngine()
    with pytest.raises(PackageError, match="cannot be loaded"):
        engine.load({"model": parts[0]}, NEED, threads=1)
    shutil.copy(parts[1], parts[2])
    with pytest.raises(PackageError, match="cannot be loaded"):
        engine.load({"model": parts[0]}, NEED, threads=1)
    shutil.copy(tmp_path / "kept", parts[2])
    engine.load({"model": parts[0]}, NEED, threads=1)
    engine.close()


def test_what_they_take_is_what_the_whole_takes(parts: list[Path], tmp_path: Path) -> None:
    assert plan_memory(parts[0], NEED) == plan_memory(tmp_path / "small.gguf", NEED)
