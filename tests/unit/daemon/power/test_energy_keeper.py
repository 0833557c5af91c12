"""When the file of energy knowledge is written: rarely, and never for nothing."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.board import FakeBoard

from aiosd.daemon.power.energy_keeper import WRITE_SECONDS, EnergyKeeper
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.domain.board import BoardProfile, PowerFacts

PROFILE = BoardProfile(
    name="raspberry-pi-4", summary="x", power=PowerFacts(idle_watts=1.6, load_watts=5.0)
)


class SlowLoop(asyncio.SelectorEventLoop):
    """A loop whose timers of ten minutes the test fires itself."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], object]] = []

    def call_later(self, delay, callback, *args, context=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN201
        if delay < WRITE_SECONDS:
            return super().call_later(delay, callback, *args, context=context)
        self.due.append(callback)
        return super().call_later(1e6, callback, *args, context=context)


class Kept:
    def __init__(self, folder: Path, loop: SlowLoop, profile: BoardProfile = PROFILE) -> None:
        board = FakeBoard(folder / "board").cpus([0, 0])
        board.policy(0, [0, 1], max_khz=1_500_000)
        self.path = folder / "energy.json"
        none = folder / "calibration.json"
        self.telemetry = Telemetry(loop, board.root, profile, none, lambda: ())
        self.keeper = EnergyKeeper(loop, self.path, self.telemetry, lambda: {"llm": "1"})

    def ask(self, number: int = 1) -> None:
        self.telemetry.started(number, "llm", "anna")
        self.telemetry.ended(number, 0.1)

    async def stop(self) -> None:
        await self.keeper.close()
        self.telemetry.close()


@pytest.fixture
def loop() -> Iterator[SlowLoop]:
    made = SlowLoop()
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


def test_an_idle_daemon_has_no_timer_and_writes_nothing(tmp_path: Path, loop: SlowLoop) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop)
        kept.keeper.restore()
        assert loop.due == []
        await kept.stop()
        assert not kept.path.exists()

    loop.run_until_complete(go())


def test_a_thousand_requests_are_written_once_in_ten_minutes_and_not_by_the_request(
    tmp_path: Path, loop: SlowLoop
) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop)
        for number in range(1000):
            kept.ask(number)
        assert len(loop.due) == 1
        assert not kept.path.exists()
        loop.due.pop()()
        writing = kept.keeper._writing
        assert writing is not None
        await writing
        first = kept.path.stat()
        assert loop.due == []
        await kept.stop()
        assert kept.path.stat().st_ino == first.st_ino  # nothing was new

    loop.run_until_complete(go())


def test_a_clean_stop_writes_and_the_next_start_goes_on_from_it(
    tmp_path: Path, loop: SlowLoop
) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop)
        kept.ask()
        await kept.stop()
        told = kept.telemetry.books.totals()
        again = Kept(tmp_path, loop)
        again.keeper.restore()
        totals = again.telemetry.books.totals()
        assert totals.experts == told.experts
        assert totals.meter_joules == told.meter_joules
        assert again.keeper.since == kept.keeper.since
        await again.stop()

    loop.run_until_complete(go())


def test_another_boards_knowledge_is_left_out_with_a_warning(
    tmp_path: Path, loop: SlowLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop)
        kept.ask()
        await kept.stop()
        other = BoardProfile(name="rk3566", summary="x", power=PROFILE.power)
        again = Kept(tmp_path, loop, other)
        again.keeper.restore()
        assert again.telemetry.books.totals().meter_joules == 0
        assert "energy is counted anew" in caplog.text
        await again.stop()

    loop.run_until_complete(go())


def test_a_disk_that_says_no_is_told_of_once_and_harms_nobody(
    tmp_path: Path, loop: SlowLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop)
        kept.path.mkdir()
        (kept.path / "x").touch()
        for number in range(3):
            kept.ask(number)
            loop.due.pop()()
            writing = kept.keeper._writing
            assert writing is not None
            await writing
        assert caplog.text.count("energy is not kept over a restart") == 1
        await kept.stop()

    loop.run_until_complete(go())


def test_a_board_without_any_figure_keeps_nothing(tmp_path: Path, loop: SlowLoop) -> None:
    async def go() -> None:
        kept = Kept(tmp_path, loop, BoardProfile(name="generic", summary="x"))
        kept.keeper.restore()
        kept.ask()
        await kept.stop()
        assert not kept.path.exists()

    loop.run_until_complete(go())
