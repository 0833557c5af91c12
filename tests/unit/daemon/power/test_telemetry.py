"""The power side of the daemon on a folder that stands for a board, with a clock of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.board import FakeBoard

from aiosd.boards.profiles import read_profiles
from aiosd.daemon.power.telemetry import (
    DECIDE_SECONDS,
    IDLE_SECONDS,
    OWN_SHARE,
    SURPLUS_SECONDS,
    Telemetry,
)
from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.errors import OverPowerError
from aiosd.domain.request import Priority

PROFILES = Path(__file__).resolve().parents[4] / "board-profiles"


@dataclass
class FakeTimer:
    """A call that is due at some time."""

    due: float
    act: Callable[[], None]
    cancelled: bool = False

    def when(self) -> float:
        return self.due

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLoop:
    """A clock, and what was planned."""

    now: float = 100.0
    timers: list[FakeTimer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, act: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(due, act))
        return self.timers[-1]

    def waits(self) -> float | None:
        """Return after how long the next timer fires."""
        self.timers = [each for each in self.timers if not each.cancelled]
        return min((each.due - self.now for each in self.timers), default=None)

    def pass_time(self, seconds: float) -> int:
        """Let time pass; return how many timers fired."""
        until, fired = self.now + seconds, 0
        while (wait := self.waits()) is not None and self.now + wait <= until:
            timer = min(self.timers, key=lambda each: each.due)
            self.timers.remove(timer)
            self.now = timer.due
            timer.act()
            fired += 1
        self.now = until
        return fired


class Stage:
    """A Jetson Orin Nano that takes 5.397 W whatever anybody does."""

    def __init__(self, root: Path) -> None:
        FakeBoard(root).orin_nano().cpus([100] * 6).zones(("cpu-thermal", 51000))
        self.loop = FakeLoop()
        self.told: list[Allowance | None] = []
        self.spent = self.cost = 0.0
        self.awaits: Priority | None = None
        profile = read_profiles([PROFILES])["jetson-orin-nano"]
        self.telemetry = Telemetry(
            self.loop,  # type: ignore[arg-type]
            root,
            profile,
            root / "calibration.json",
            lambda: (),
            spent=self._spend,
        )
        self.telemetry.listen(self.told.append, lambda: self.awaits)
        self.telemetry.start()

    def _spend(self) -> float:
        """Tell a CPU time that goes on by `cost` from each reading's begin to its end."""
        self.spent += self.cost
        return self.spent

    def cap(self, watts: float = 0.0, joules: float = 0.0) -> None:
        self.telemetry.cap(watts, joules, 6, patience_seconds=10.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.telemetry.close()


def test_without_a_cap_nothing_is_decided_and_nothing_wakes_but_the_idle_clock(
    stage: Stage,
) -> None:
    stage.cap()
    stage.telemetry.admit("echo", background=False)
    assert stage.told == [None]
    assert stage.loop.waits() == pytest.approx(IDLE_SECONDS)


def test_heat_holds_a_board_whose_owner_has_set_no_cap(tmp_path: Path, stage: Stage) -> None:
    stage.cap()
    FakeBoard(tmp_path).zones(("cpu-thermal", 97000))
    stage.awaits = None
    stage.telemetry.started(1, "echo", "me")
    stage.loop.pass_time(2.0)
    hot = stage.told[-1]
    assert hot is not None
    assert "cpu-thermal 97 °C" in hot.why[-1]
    assert hot.duty < 1.0 or hot.threads < 6
    FakeBoard(tmp_path).zones(("cpu-thermal", 51000))
    stage.loop.pass_time(60.0)
    assert stage.told[-1] is None
    stage.telemetry.ended(1)


def test_a_battery_is_made_to_last_only_for_an_owner_with_a_cap(stage: Stage) -> None:
    stage.cap()
    assert not stage.telemetry.governor.rules.lasting
    stage.cap(100.0)
    assert stage.telemetry.governor.rules.lasting


def test_a_cap_below_the_idle_holds_requests_and_then_refuses_them(stage: Stage) -> None:
    stage.cap(1.0)
    stage.telemetry.admit("echo", background=False)
    stage.awaits = Priority.NORMAL
    stage.loop.pass_time(20.0)
    told = [each.admit for each in stage.told if each]
    assert told[0] is Admission.NOW
    assert told[-1] is Admission.REFUSE
    with pytest.raises(OverPowerError):
        stage.telemetry.admit("echo", background=False)
    stage.telemetry.admit("echo", background=True)


def test_what_is_allowed_is_told_when_it_changes_and_not_again(stage: Stage) -> None:
    stage.cap(100.0)
    stage.awaits = Priority.NORMAL
    stage.telemetry.admit("echo", background=False)
    stage.loop.pass_time(30.0)
    assert len(stage.told) == 1


def test_while_somebody_waits_for_power_it_is_decided_twice_a_second(stage: Stage) -> None:
    stage.cap(100.0)
    stage.loop.pass_time(5.0)
    stage.awaits = Priority.INTERACTIVE
    stage.telemetry.admit("echo", background=False)
    assert stage.loop.pass_time(10.0) == pytest.approx(10.0 / DECIDE_SECONDS, abs=1)


def test_while_only_background_waits_it_is_decided_now_and_then(stage: Stage) -> None:
    stage.cap(100.0)
    stage.loop.pass_time(5.0)
    stage.awaits = Priority.BACKGROUND
    stage.telemetry.admit("echo", background=True)
    assert stage.loop.pass_time(60.0) == pytest.approx(60.0 / SURPLUS_SECONDS, abs=2)


def test_once_nobody_waits_the_clock_is_slow_again(stage: Stage) -> None:
    stage.cap(100.0)
    stage.awaits = Priority.NORMAL
    stage.telemetry.admit("echo", background=False)
    stage.loop.pass_time(5.0)
    stage.awaits = None
    stage.loop.pass_time(1.0)
    assert stage.loop.waits() is not None
    assert stage.loop.pass_time(60.0) <= 3


def test_joules_that_will_not_be_there_in_time_are_refused_on_arrival(stage: Stage) -> None:
    stage.telemetry.predict = lambda _expert: 8.0  # type: ignore[method-assign]
    stage.cap(joules=8.0)
    stage.telemetry.admit("echo", background=False)
    stage.cap(joules=7.0)
    with pytest.raises(OverPowerError, match="the joule bucket has not enough") as refused:
        stage.telemetry.admit("echo", background=False)
    assert refused.value.retry_after_seconds is None
    stage.telemetry.admit("echo", background=True)


def test_a_cap_that_is_lifted_is_told(stage: Stage) -> None:
    stage.cap(1.0)
    stage.cap(0.0)
    assert stage.told[-1] is None
    assert stage.telemetry.allowance is None


@pytest.mark.parametrize(("cost", "readings"), [(0.0002, 100), (0.0008, 25), (0.002, 10)])
def test_where_a_reading_costs_much_there_are_fewer_of_them(
    stage: Stage, cost: float, readings: int
) -> None:
    stage.cost = cost
    stage.telemetry.started(1, "echo", "anna")
    stage.loop.pass_time(20.0)
    assert stage.loop.pass_time(10.0) == pytest.approx(readings, rel=0.2)
    assert readings * cost / 10.0 <= OWN_SHARE * 1.25
