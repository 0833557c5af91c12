import os
from pathlib import Path

import msgspec
import pytest
from fakes.board import FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import PowerFacts
from aiosd.domain.calibration import Calibration, Point, PolicyCost
from aiosd.domain.power import CounterSample, CpuPolicy, CpuReading, EnergySource, Scope
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.model import (
    BusyModel,
    open_calibrated_model,
    open_default_model,
    read_calibration,
    watts_at,
)

PI_4 = PowerFacts(idle_watts=1.6, load_watts=5.0)
TICKS = os.sysconf("SC_CLK_TCK")
CALIBRATION = Calibration(
    board="raspberry-pi-4",
    meter="a USB meter",
    idle_watts=2.0,
    residual_watts=0.1,
    policies=[
        PolicyCost(
            policy="policy0",
            points=[Point(khz=1500000, add_watts=0.7), Point(khz=600000, add_watts=0.3)],
        )
    ],
)


def pi_4(root: Path, *, khz: int = 1500000) -> FakeBoard:
    board = FakeBoard(root).cpus([0, 0, 0, 0])
    return board.policy(0, [0, 1, 2, 3], max_khz=1500000, current_khz=khz)


def run(board: FakeBoard, facts: PowerFacts, busy_seconds: list[float], seconds: float) -> float:
    meter = open_default_model(facts, board.root)
    meter.sample(10.0)
    board.cpus([round(busy * TICKS) for busy in busy_seconds])
    sample = meter.sample(10.0 + seconds)
    meter.close()
    return sample.joules


@pytest.mark.parametrize(
    ("busy", "watts"),
    [([0.0] * 4, 1.6), ([1.0] * 4, 5.0), ([1.0, 0.0, 0.0, 0.0], 2.45), ([0.5] * 4, 3.3)],
)
def test_the_default_is_a_straight_line_from_idle_to_load(
    tmp_path: Path, busy: list[float], watts: float
) -> None:
    joules = run(pi_4(tmp_path), PI_4, [10 * share for share in busy], 10.0)
    assert joules == pytest.approx(10 * watts)


def test_half_the_clock_takes_half_the_extra(tmp_path: Path) -> None:
    assert run(pi_4(tmp_path, khz=750000), PI_4, [10.0] * 4, 10.0) == pytest.approx(16 + 17)


def test_time_in_state_decides_rather_than_the_clock_of_the_moment(tmp_path: Path) -> None:
    board = pi_4(tmp_path)
    states = [(600000, 100), (1500000, 100)]
    board.policy(0, [0, 1, 2, 3], max_khz=1500000, states=states)
    meter = open_default_model(PI_4, tmp_path)
    meter.sample(0.0)
    board.cpus([TICKS] * 4)
    board.policy(0, [0, 1, 2, 3], max_khz=1500000, states=[(600000, 200), (1500000, 100)])
    assert meter.sample(1.0).joules == pytest.approx(1.6 + 3.4 * 0.4)


def test_a_small_core_weighs_by_its_capacity(tmp_path: Path) -> None:
    facts = PowerFacts(idle_watts=2.0, load_watts=14.0)
    board = FakeBoard(tmp_path).cpus([0, 0])
    board.policy(0, [0], max_khz=1800000).policy(1, [1], max_khz=2400000)
    board.write({"sys/devices/system/cpu/cpu0/cpu_capacity": 512})
    board.write({"sys/devices/system/cpu/cpu1/cpu_capacity": 1024})
    meter = open_default_model(facts, tmp_path)
    meter.sample(0.0)
    board.cpus([TICKS, 0])
    assert meter.sample(1.0).joules == pytest.approx(2.0 + 4.0)
    board.cpus([TICKS, TICKS])
    assert meter.sample(2.0).joules == pytest.approx(6.0 + 2.0 + 8.0)


def test_without_cpufreq_a_busy_core_takes_its_part_of_the_load(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([0, 0])
    assert run(board, PI_4, [1.0, 0.0], 1.0) == pytest.approx(1.6 + 1.7)


def test_a_counter_that_falls_counts_as_idle(tmp_path: Path) -> None:
    board = pi_4(tmp_path).cpus([500, 500, 500, 500])
    assert run(board, PI_4, [0.0] * 4, 1.0) == pytest.approx(1.6)


def test_the_default_says_that_it_may_be_wrong_by_a_third(tmp_path: Path) -> None:
    pi_4(tmp_path)
    meter = open_default_model(PI_4, tmp_path)
    assert meter.sample(0.0) == CounterSample(0.0, 0.0, 0.30)
    assert (meter.source, meter.scope) == (EnergySource.DEFAULT_MODEL, Scope.BOARD)


def test_a_board_without_figures_has_no_default(tmp_path: Path) -> None:
    pi_4(tmp_path)
    with pytest.raises(SensorError, match="no idle_watts"):
        open_default_model(PowerFacts(), tmp_path)


def test_a_curve_is_straight_between_its_points() -> None:
    curve = CALIBRATION.policies[0].curve()
    assert curve == ((600000, 0.3), (1500000, 1.0))
    read = [watts_at(curve, khz) for khz in (0, 300000, 600000, 1050000, 1500000, 9999999)]
    assert read == pytest.approx([0.0, 0.15, 0.3, 0.65, 1.0, 1.0])


points = st.builds(Point, khz=st.integers(1, 5_000_000), add_watts=st.floats(0, 20))


@given(
    points=st.lists(points, min_size=1, max_size=8),
    clocks=st.tuples(st.integers(0, 6_000_000), st.integers(0, 6_000_000)),
)
def test_no_calibration_can_say_that_a_faster_core_takes_less(
    points: list[Point], clocks: tuple[int, int]
) -> None:
    curve = PolicyCost(policy="policy0", points=points).curve()
    low, high = sorted(clocks)
    assert 0 <= watts_at(curve, low) <= watts_at(curve, high) + 1e-9


class OneReading:
    def read(self, now: float) -> CpuReading:
        return CpuReading(now, ((0, 0.0),))

    def close(self) -> None:
        pass


busy_times = st.lists(st.floats(-5, 20), min_size=2, max_size=2)


@given(less=busy_times, khz=st.integers(1, 3_000_000), more=st.floats(0, 5))
def test_more_busy_time_never_takes_less_and_idle_is_the_floor(
    less: list[float], khz: int, more: float
) -> None:
    model = BusyModel(
        OneReading(),
        (EnergySource.DEFAULT_MODEL, Scope.BOARD),
        2.0,
        {"policy0": ((1_000_000, 0.5), (2_000_000, 2.0))},
        flat_watts=1.0,
        uncertainty_share=0.3,
    )
    policy = (CpuPolicy("policy0", (0, 1), current_khz=khz),)
    start = CpuReading(0.0, ((0, 10.0), (1, 10.0)), policy)

    def joules(busy: list[float]) -> float:
        after = tuple((cpu, 10.0 + seconds) for cpu, seconds in enumerate(busy))
        return model.joules_between(start, CpuReading(10.0, after, policy))

    assert 20.0 <= joules(less) <= joules([less[0], less[1] + more]) + 1e-9
    assert joules(less) <= 20.0 + 2 * 10 * 2.0 + 1e-9


def test_a_calibration_is_written_read_back_and_used(tmp_path: Path) -> None:
    pi_4(tmp_path)
    path = tmp_path / "calibration.json"
    path.write_bytes(msgspec.json.encode(CALIBRATION))
    assert read_calibration(path, "raspberry-pi-4") == CALIBRATION
    meter = open_calibrated_model(CALIBRATION, tmp_path)
    meter.sample(0.0)
    FakeBoard(tmp_path).cpus([TICKS, TICKS, 0, 0])
    sample = meter.sample(1.0)
    assert sample.joules == pytest.approx(2.0 + 2 * 1.0)
    assert (sample.uncertainty_share, meter.source) == (0.10, EnergySource.CALIBRATED_MODEL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no calibration"),
        ("{", "calibrate again"),
        ('{"board": "x"}', "calibrate again"),
        (msgspec.json.encode(CALIBRATION).decode().replace("0.3", "-0.3"), ">= 0"),
    ],
)
def test_a_calibration_that_is_missing_damaged_or_falling_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(SensorError, match=said):
        read_calibration(path, "raspberry-pi-4")


def test_a_calibration_of_another_board_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(msgspec.json.encode(CALIBRATION))
    with pytest.raises(SensorError, match="is of the board 'raspberry-pi-4', this is 'rk3588'"):
        read_calibration(path, "rk3588")


def test_a_cpu_that_comes_online_brings_no_past_with_it(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([0])
    meter = open_default_model(PI_4, tmp_path)
    meter.sample(0.0)
    board.cpus([0, 1000 * TICKS])
    assert meter.sample(1.0).joules == pytest.approx(1.6)


def test_a_poor_fit_is_a_larger_error_but_never_larger_than_the_defaults(tmp_path: Path) -> None:
    pi_4(tmp_path)
    shares = [
        open_calibrated_model(msgspec.structs.replace(CALIBRATION, residual_watts=watts), tmp_path)
        .sample(0.0)
        .uncertainty_share
        for watts in (0.0, 0.4, 5.0)
    ]
    assert shares == pytest.approx([0.10, 0.20, 0.30])


def test_no_core_is_busy_for_longer_than_the_time_that_passed(tmp_path: Path) -> None:
    assert run(pi_4(tmp_path), PI_4, [30.0] * 4, 10.0) == pytest.approx(10 * 5.0)


@pytest.mark.parametrize(
    ("adds", "saves"),
    [([0.3, 0.7], True), ([0.39, 0.6], False), ([1.0], False), ([0.0, 0.0], False)],
)
def test_a_slower_clock_saves_where_a_cycle_takes_clearly_less(
    adds: list[float],
    saves: bool,  # noqa: FBT001 - the expected answer
) -> None:
    points = [Point(khz=600_000 + 900_000 * n, add_watts=watts) for n, watts in enumerate(adds)]
    made = msgspec.structs.replace(
        CALIBRATION, policies=[PolicyCost(policy="policy0", points=points)]
    )
    assert made.slower_clock_saves is saves
