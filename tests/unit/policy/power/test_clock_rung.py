"""The rung between threads and pauses: a slower clock."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.energy import CpuInterval, MeteredInterval
from aiosd.domain.power import Scope
from aiosd.policy.power.clock_rung import LOWEST_SHARE, ClockRung
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.power.power_rules import PowerRules
from tools.boardsim.model import Limits, SimulatedBoard
from tools.boardsim.shapes import find_board

TICK = 0.5


def test_pauses_become_a_slower_clock_step_by_step_down_to_the_lowest() -> None:
    rung = ClockRung()
    shares = [rung.step(0.5, TICK * n) for n in range(60)]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == LOWEST_SHARE
    steps = [n for n in range(1, 60) if shares[n] != shares[n - 1]]
    assert min(b - a for a, b in itertools.pairwise(steps)) * TICK >= 2.0


def test_a_moment_of_pauses_moves_nothing() -> None:
    rung = ClockRung()
    for n in range(200):
        assert rung.step(0.5 if n % 3 else 1.0, TICK * n) == 1.0


def test_the_clock_comes_back_slowly_once_nothing_rests() -> None:
    rung = ClockRung()
    for n in range(8):
        rung.step(0.5, TICK * n)
    assert rung.share < 1.0
    low = rung.share
    assert rung.step(1.0, 10.0) == low
    assert rung.step(1.0, 19.5) == low
    assert rung.step(1.0, 20.0) > low


def test_a_step_up_that_was_taken_back_makes_the_next_wait_twice_as_long() -> None:
    rung = ClockRung()
    now, waits, raised_at = 0.0, [], 0.0
    # A board where the full clock is always one step too much.
    while len(waits) < 4:
        before = rung.share
        rung.step(0.5 if rung.share > 0.8 else 1.0, now)
        if rung.share > before:
            waits.append(now - raised_at)
            raised_at = now
        now += TICK
    assert waits[3] > 1.8 * waits[2] > 3 * waits[1]


def test_without_a_cap_the_clock_is_full_at_once() -> None:
    rung = ClockRung()
    for n in range(20):
        rung.step(0.3, TICK * n)
    rung.release()
    assert rung.share == 1.0


@given(duties=st.lists(st.floats(0.1, 1.0), max_size=200))
def test_the_share_stays_within_its_bounds_and_moves_by_one_step(duties: list[float]) -> None:
    rung = ClockRung()
    last = 1.0
    for n, duty in enumerate(duties):
        share = rung.step(duty, TICK * n)
        assert LOWEST_SHARE <= share <= 1.0
        assert abs(share - last) < 0.1 + 1e-9
        last = share


def work_under(cap: float, name: str, *, rung: ClockRung | None) -> tuple[float, float]:
    """Ten minutes of full demand on a simulated board; return (work a second, mean watts)."""
    board = SimulatedBoard(find_board(name))
    profile = board.board.profile
    rules = PowerRules.of(profile, cap)
    governor = PowerGovernor(rules)
    cores, now = 0.0, 0.0
    start = board.state
    for n in range(2400):
        before = board.state
        state = board.step(0.25, cores)
        now = state.seconds
        joules = state.joules[Scope.BOARD] - before.joules[Scope.BOARD]
        spent = sum(state.busy) * 0.25
        interval = CpuInterval(before.seconds, now, (("llm", spent),), 0.0)
        governor.on_interval(MeteredInterval(interval, joules))
        governor.on_idle(profile.power.idle_watts)
        if n % 2:
            continue
        allowance = governor.allowance(now)
        cores = allowance.threads * allowance.duty
        if rung is not None:
            share = rung.step(allowance.duty, now)
            tops = enumerate(cluster.khz[-1] for cluster in board.board.shape.clusters)
            board.limits = Limits({place: round(top * share) for place, top in tops})
        if n == 600:
            start = state
    end = board.state
    seconds = end.seconds - start.seconds
    watts = (end.joules[Scope.BOARD] - start.joules[Scope.BOARD]) / seconds
    return (end.work_seconds - start.work_seconds) / seconds, watts


@pytest.mark.parametrize(("name", "cap"), [("raspberry-pi-4", 3.6), ("raspberry-pi-5", 7.0)])
def test_under_one_cap_a_slower_clock_gets_more_done_on_the_simulated_board(
    name: str, cap: float
) -> None:
    paused, paused_watts = work_under(cap, name, rung=None)
    slower, slower_watts = work_under(cap, name, rung=ClockRung())
    assert slower > 1.05 * paused
    assert max(paused_watts, slower_watts) < 1.03 * cap
