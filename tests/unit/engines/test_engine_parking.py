"""An engine that is parked gives memory back, and answers as one that never was."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

from gguf_writer import write_small_model

from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Embedding, Piece, TextEnd, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.engines import memory
from aiosd.engines.echo import EchoEngine
from aiosd.engines.engine import Parking
from aiosd.engines.llama import LlamaEngine
from aiosd.sensors.memory import read_process

PROMPT = TextPrompt(text="once upon a time", sampling=Sampling(max_tokens=24, seed=1))
NEED = EngineNeed(name="llama", context=256, batch=16)
MIB = 2**20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def engine(model: Path) -> Iterator[LlamaEngine]:
    engine = LlamaEngine()
    engine.load({"model": model}, NEED, threads=1)
    yield engine
    engine.close()


def last(engine: LlamaEngine, prompt: TextPrompt = PROMPT) -> Piece:
    return list(engine.run(prompt, cancelled=lambda: False))[-1]


def text(engine: LlamaEngine) -> str:
    end = last(engine)
    assert isinstance(end, TextEnd)
    return end.text


def resident(path: Path) -> int:
    """Return the bytes of a mapped file that are in this process, from /proc/self/smaps."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "-" in words[0]:
            inside = words[-1] == str(path)
        elif inside and words[0] == "Rss:":
            found += int(words[1]) * 1024
    return found


def test_an_engine_says_whether_it_can_be_parked() -> None:
    assert isinstance(LlamaEngine(), Parking)
    assert not isinstance(EchoEngine(), Parking)


@pytest.mark.parametrize("pages", [False, True])
def test_the_answer_after_parking_is_the_same(engine: LlamaEngine, *, pages: bool) -> None:
    before = text(engine)
    for _ in range(3):
        engine.park(pages=pages)
        took = engine.resume()
        assert (took is not None) == pages
        assert text(engine) == before
        assert text(engine) == before  # of the same prompt again only the last logits are taken


def test_one_that_is_run_while_parked_comes_back_by_itself(engine: LlamaEngine) -> None:
    before = text(engine)
    engine.park(pages=True)
    assert text(engine) == before
    engine.park(pages=False)
    engine.park(pages=True)  # from context to pages, step by step
    assert text(engine) == before


def test_one_that_embeds_comes_back_as_one_that_embeds(engine: LlamaEngine) -> None:
    prompt = TextPrompt(text="once upon a time", sampling=Sampling(), embed=True)
    before = last(engine, prompt)
    engine.park(pages=False)
    engine.resume()
    assert isinstance(before, Embedding)
    assert last(engine, prompt) == before


def test_parking_gives_back_what_the_context_took(model: Path) -> None:
    engine = LlamaEngine()
    engine.load({"model": model}, EngineNeed(name="llama", context=256, batch=256), threads=1)
    text(engine)
    ready = read_process(os.getpid())
    engine.park(pages=False)
    parked = read_process(os.getpid())
    assert ready is not None
    assert parked is not None
    assert ready.anon_bytes - parked.anon_bytes > MIB // 4
    engine.close()


def test_the_pages_of_a_model_go_and_come_back(engine: LlamaEngine, model: Path) -> None:
    text(engine)
    assert resident(model) > 0
    engine.park(pages=True)
    assert resident(model) == 0
    engine.resume()
    assert resident(model) > model.stat().st_size // 2


def test_pages_that_are_written_to_are_left_alone(tmp_path: Path) -> None:
    """Giving up a private page with changes would lose them."""
    path = tmp_path / "written"
    path.write_bytes(b"a" * mmap.PAGESIZE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[0] = ord("b")
        memory.unmap_pages([str(path)])
        assert mapped[0] == ord("b")
