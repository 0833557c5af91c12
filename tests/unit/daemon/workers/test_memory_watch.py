"""What is read of busy workers and of the machine, and when; the files are a test's."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiosd.daemon.workers import memory_watch
from aiosd.daemon.workers.memory_watch import MemoryWatch
from aiosd.domain.reading import ProcessMemory, ProcessSource

MIB = 2**20


class FakeBroker:
    """Says who is busy, and notes what it hears."""

    def __init__(self) -> None:
        self.busy: list[tuple[str, int, int]] = []
        self.grown: list[tuple[str, int]] = []
        self.pressed = 0
        self.anybody = True

    def watched(self) -> list[tuple[str, int, int]]:
        return self.busy

    def on_growth(self, expert: str, held_bytes: int) -> None:
        self.grown.append((expert, held_bytes))

    def on_pressure(self) -> bool:
        self.pressed += 1
        return self.anybody


class Stage:
    """A watch over one worker whose memory a test sets."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.broker = root, FakeBroker()
        self.resident, self.own, self.exact = 50 * MIB, 10 * MIB, 0
        self.available(900)
        (root / "SIMULATED").write_text("a test's")
        monkeypatch.setattr(memory_watch, "read_resident", lambda _pid: self.resident)
        monkeypatch.setattr(memory_watch, "read_process", self._read)
        self.watch = MemoryWatch(asyncio.get_running_loop(), root, forked=True)
        self.watch.listen(self.broker)

    def available(self, mebibytes: int) -> None:
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc" / "meminfo").write_text(
            f"MemTotal: {1024 * 1024} kB\nMemAvailable: {mebibytes * 1024} kB\n"
        )

    def look(self) -> None:
        self.watch._look()

    @property
    def waits(self) -> bool:
        """Whether the watch will look again by itself."""
        return self.watch._timer is not None

    def _read(self, _pid: int) -> ProcessMemory:
        self.exact += 1
        return ProcessMemory(self.resident, self.own, self.own, 0, ProcessSource.SMAPS_ROLLUP)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:  # type: ignore[misc]
    made = Stage(tmp_path, monkeypatch)
    yield made
    made.watch.close()


async def test_nothing_is_read_while_nothing_runs(stage: Stage) -> None:
    assert not stage.waits
    stage.watch.wake()
    assert stage.waits
    stage.look()  # nobody is busy any more
    assert not stage.waits


async def test_it_looks_again_while_anybody_is_busy(stage: Stage) -> None:
    stage.broker.busy = [("echo", 7, 60 * MIB)]
    stage.watch.wake()
    stage.look()
    assert stage.waits
    stage.broker.busy = []
    stage.look()
    assert not stage.waits


async def test_a_worker_is_read_exactly_only_when_it_may_hold_more_than_is_booked(
    stage: Stage,
) -> None:
    stage.broker.busy = [("echo", 7, 12 * MIB)]
    stage.look()  # 50 MiB are resident, but most are shared
    stage.look()
    assert (stage.exact, stage.broker.grown) == (1, [])
    stage.resident += 1 * MIB
    stage.look()
    assert stage.exact == 1
    stage.resident, stage.own = 90 * MIB, 50 * MIB
    stage.look()
    assert (stage.exact, stage.broker.grown) == (2, [("echo", 50 * MIB)])


async def test_one_that_answers_briefly_again_and_again_is_read_exactly_once_in_a_while(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = [("echo", 7, 12 * MIB)]
    for stage.broker.busy in (answering, [], answering, [], answering):
        stage.look()
    assert stage.exact == 1
    monkeypatch.setattr(memory_watch, "KEPT_SECONDS", -1.0)
    for stage.broker.busy in ([], answering):
        stage.look()
    assert stage.exact == 2


async def test_who_has_just_told_what_it_holds_is_not_read_again_unless_it_grows(
    stage: Stage,
) -> None:
    stage.watch.know("echo", 7, 10 * MIB)
    stage.broker.busy = [("echo", 7, 12 * MIB)]
    stage.look()
    assert stage.exact == 0
    stage.resident += 3 * MIB
    stage.look()
    assert stage.exact == 1


async def test_another_process_of_the_same_expert_is_read_anew(stage: Stage) -> None:
    stage.broker.busy = [("echo", 7, 12 * MIB)]
    stage.look()
    stage.broker.busy = [("echo", 8, 12 * MIB)]
    stage.look()
    assert stage.exact == 2


async def test_a_machine_that_is_short_of_memory_lets_one_go_and_says_so(stage: Stage) -> None:
    stage.broker.busy = [("echo", 7, 60 * MIB)]
    stage.available(20)
    stage.look()
    stage.look()  # within the pause
    assert (stage.broker.pressed, stage.watch.short) == (1, True)
    stage.available(900)
    stage.look()
    assert not stage.watch.short


async def test_it_goes_on_looking_while_letting_go_helps_and_no_longer(stage: Stage) -> None:
    stage.available(20)
    stage.look()
    assert stage.waits
    stage.watch._pressure._released_at = None  # the pause is over
    stage.broker.anybody = False
    stage.look()
    assert not stage.waits
    assert stage.watch.short
    stage.available(900)
    assert not stage.watch.short  # though nobody has looked since


async def test_a_load_that_the_machine_cannot_hold_is_told_by_how_much(stage: Stage) -> None:
    stage.available(100)
    low = 1024 * MIB // 20
    assert stage.watch.lacks(100 * MIB - low) == 0
    assert stage.watch.lacks(100 * MIB) == low


async def test_a_simulated_board_gets_no_trigger_of_the_real_kernel(stage: Stage) -> None:
    assert "no stall trigger: a simulated board" in stage.watch.mechanism


async def test_a_stall_is_counted_and_with_little_memory_somebody_goes(stage: Stage) -> None:
    class FakeTrigger:
        def __init__(self) -> None:
            self.ready, self._alarm = os.pipe()
            self.gone = False

        def fileno(self) -> int:
            return self.ready

        def lost(self) -> bool:
            return self.gone

        def close(self) -> None:
            os.close(self.ready)
            os.close(self._alarm)

    trigger = FakeTrigger()
    stage.watch._trigger = trigger  # type: ignore[assignment]
    stage.watch._on_stall()
    assert (stage.watch.stalls, stage.broker.pressed) == (1, 0)
    stage.available(200)
    stage.watch._on_stall()
    assert (stage.watch.stalls, stage.broker.pressed) == (2, 1)
    trigger.gone = True
    stage.watch._on_stall()
    assert stage.watch.stalls == 2


async def test_a_machine_that_does_not_say_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch)
    (tmp_path / "proc" / "meminfo").write_text("nonsense\n")
    assert stage.watch.lacks(10**15) == 0
    stage.look()
    assert stage.broker.pressed == 0
    stage.watch.close()
