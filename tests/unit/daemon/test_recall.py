"""Measurements are kept over restarts, and written rarely."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiosd.daemon.recall import WRITE_SECONDS, Recall
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, Task
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.restart import RestartRules
from aiosd.policy.serving.slots import Slot
from aiosd.store.footprints import Footprints

MANIFEST = Manifest(
    name="one",
    release=1,
    summary="one",
    licence="MIT",
    task=Task.TEXT_GENERATE,
    engine=EngineNeed(name="llama"),
    input=InputNeed(type=InputType.TEXT),
)


class FakeTimer:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop(asyncio.AbstractEventLoop):
    """Keeps timers instead of waiting for them."""

    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []
        self.delays: list[float] = []

    def call_later(self, delay: float, callback: Callable[[], None], *_: object) -> FakeTimer:
        self.delays.append(delay)
        self.timers.append(FakeTimer(callback))
        return self.timers[-1]


class Rig:
    """A recall over one expert and a book in a folder."""

    def __init__(self, folder: Path, board: str = "rpi5") -> None:
        self.book = folder / "footprints.json"
        self.loop = FakeLoop()
        self.recall = Recall(self.loop, Footprints(self.book), board)
        self.known = self.recall.find(MANIFEST)
        self.slot = Slot(ExpertFacts("one", 50, known=self.known), RestartRules())
        self.recall.watch({"one": self.slot})

    def measured(self, size: int, engine: str = "llama 1") -> None:
        self.recall.on_engine("one", engine)
        self.slot.on_measured(size)
        self.recall.on_news("one")


def test_nothing_is_written_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    assert rig.loop.delays == [WRITE_SECONDS]
    assert not rig.book.exists()
    rig.measured(60)
    assert rig.loop.delays == [WRITE_SECONDS]
    rig.loop.timers[0].act()
    assert Rig(tmp_path).slot.appetite.peak_bytes == 60


def test_what_is_known_already_starts_no_timer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    rig.loop.timers[0].act()
    stamp = rig.book.stat().st_mtime_ns
    rig.measured(40)
    rig.recall.close()
    assert len(rig.loop.timers) == 1
    assert rig.book.stat().st_mtime_ns == stamp


def test_a_clean_stop_writes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    rig.recall.close()
    assert rig.loop.timers[0].cancelled
    assert Rig(tmp_path).slot.appetite.peak_bytes == 40


def test_another_board_and_another_context_know_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    rig.recall.close()
    assert Rig(tmp_path, "rpi4").known is None
    again = Rig(tmp_path)
    wider = msgspec.structs.replace(MANIFEST, engine=EngineNeed(name="llama", context=4096))
    assert again.recall.find(wider) is None
    assert again.recall.find(MANIFEST) is not None


def test_another_engine_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    rig.recall.close()
    again = Rig(tmp_path)
    assert again.recall.on_engine("one", "llama 1")
    assert not again.recall.on_engine("one", "llama 2")


def test_what_was_learnt_of_a_release_outlives_its_replacement(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.measured(40)
    next_release = msgspec.structs.replace(MANIFEST, release=2)
    assert rig.recall.find(next_release) is None
    rig.recall.close()
    known = Rig(tmp_path).known
    assert known is not None
    assert known.peak_bytes == 40
