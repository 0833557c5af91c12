"""How the simulated board behaves, without any file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.power import Scope
from tools.boardsim.model import Limits, SimulatedBoard, Surroundings
from tools.boardsim.shapes import SHAPES, find_board


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_idle_and_full_load_take_the_watts_of_the_profile(name: str) -> None:
    board = find_board(name)
    model = SimulatedBoard(board)
    idle, load = board.idle_load_watts
    scope = board.profile.power.watts_scope
    assert model.step(1.0, 0.0).watts[scope] == pytest.approx(idle, rel=0.05)
    # Leakage of a warm die comes on top.
    assert model.step(1.0, 99.0).watts[scope] == pytest.approx(load, rel=0.05)


@given(
    name=st.sampled_from(sorted(SHAPES)),
    steps=st.lists(st.tuples(st.floats(0.01, 30.0), st.floats(0.0, 16.0)), min_size=1, max_size=8),
)
def test_energy_is_the_sum_of_power_and_never_falls(
    name: str, steps: list[tuple[float, float]]
) -> None:
    model = SimulatedBoard(find_board(name), battery=0.5)
    for dt, busy in steps:
        before = model.state
        after = model.step(dt, busy)
        idle = model.board.convert(model.board.idle_load_watts[0])[Scope.BOARD]
        gained = after.joules[Scope.BOARD] - before.joules[Scope.BOARD]
        assert gained >= idle * dt * 0.999
        assert sum(after.busy) <= min(busy, model.board.shape.cores) + 1e-9
        used = sum(after.busy_seconds) - sum(before.busy_seconds)
        assert used == pytest.approx(sum(after.busy) * dt, abs=1e-6)
        assert all(sum(totals) == pytest.approx(after.seconds) for totals in after.khz_seconds)
        assert after.battery is not None
        assert before.battery is not None
        assert after.battery < before.battery


def test_it_warms_towards_where_it_settles() -> None:
    model = SimulatedBoard(find_board("rk3588"))
    early = model.step(10.0, 99.0).celsius
    late = model.step(1800.0, 99.0).celsius
    assert early < 55
    assert late == pytest.approx(82.0, abs=2.0)
    assert model.step(3600.0, 0.0).celsius < 45


def test_speed_hurries_heat_and_battery_and_nothing_else() -> None:
    slow = SimulatedBoard(find_board("rpi4"), battery=0.9)
    fast = SimulatedBoard(find_board("rpi4"), battery=0.9, speed=20.0)
    slow.step(60.0, 4.0)
    fast.step(60.0, 4.0)
    assert fast.state.celsius > slow.state.celsius + 15
    assert (fast.state.battery or 1) < (slow.state.battery or 0) - 0.02
    assert fast.state.joules[Scope.BOARD] == pytest.approx(slow.state.joules[Scope.BOARD], rel=0.1)


def test_too_hot_it_slows_down_near_its_limit_and_recovers() -> None:
    model = SimulatedBoard(find_board("rpi5"))
    model.around = Surroundings(air_celsius=35.0)
    state = model.step(1800.0, 4.0)
    assert state.had_throttled
    assert state.khz[0] < 2_400_000
    assert 74 < state.celsius < 84
    model.around = Surroundings()
    state = model.step(600.0, 0.0)
    assert not state.throttled
    assert model.step(1.0, 4.0).khz[0] == 2_400_000


def test_a_pi_3_keeps_twelve_hundred_megahertz_between_its_limits() -> None:
    model = SimulatedBoard(find_board("rpi3"))
    state = model.step(3600.0, 4.0)
    assert state.khz[0] == 1_200_000
    assert state.celsius > 60


def test_a_lower_clock_takes_less_and_does_less() -> None:
    fast, slow = (SimulatedBoard(find_board("rpi4")) for _ in range(2))
    slow.limits = Limits(khz={0: 1_000_000})
    fast.step(60.0, 4.0)
    slow.step(60.0, 4.0)
    assert slow.state.khz[0] == 1_000_000
    assert slow.state.work_seconds == pytest.approx(fast.state.work_seconds * 10 / 18, rel=0.01)
    saved = fast.state.joules[Scope.BOARD] - slow.state.joules[Scope.BOARD]
    assert saved > 0.3 * fast.state.joules[Scope.BOARD]


def test_a_limit_of_watts_is_kept_unless_even_idle_is_above_it() -> None:
    model = SimulatedBoard(find_board("n100"))
    model.limits = Limits(watts=(Scope.PACKAGE, 6.0))
    assert model.step(5.0, 4.0).watts[Scope.PACKAGE] <= 6.0
    model.limits = Limits(watts=(Scope.PACKAGE, 0.1))
    assert model.step(5.0, 4.0).khz == (700_000,) * 4


def test_work_goes_to_the_big_cores_first() -> None:
    state = SimulatedBoard(find_board("rock5b")).step(1.0, 2.5)
    assert state.busy == (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.0)


def test_a_battery_lasts_as_long_as_its_energy_and_fills_on_a_charger() -> None:
    model = SimulatedBoard(find_board("rpi4"), battery=1.0, battery_wh=10.0)
    state = model.step(3600.0, 0.0)
    # 1.6 W through a converter of 95 % out of 10 Wh.
    assert state.battery == pytest.approx(1 - 1.6 / 0.95 / 10, abs=0.005)
    assert model.step(2 * 3600.0, 4.0).battery == 0.0
    model.around = Surroundings(charger=True)
    assert model.step(1800.0, 0.0).battery == pytest.approx(0.5, abs=0.01)


def test_an_impossible_battery_or_speed_is_refused() -> None:
    with pytest.raises(ValueError, match="a battery holds 0 to 1 of itself, not 80"):
        SimulatedBoard(find_board("rpi4"), battery=80.0)
    with pytest.raises(ValueError, match="above 0"):
        SimulatedBoard(find_board("rpi4"), speed=0.0)
