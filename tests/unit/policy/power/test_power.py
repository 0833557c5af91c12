"""The power governor's parts: cap, ladder, bucket, battery."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.board import (
    BatteryRules,
    BoardProfile,
    HeatRules,
    HeatStep,
    HeatZone,
    PowerFacts,
)
from aiosd.domain.energy import CpuInterval, MeteredInterval
from aiosd.domain.power import (
    BatteryReading,
    BatteryState,
    HeatReading,
    Scope,
    ThrottleBits,
)
from aiosd.policy.power.battery_pace import BatteryPace
from aiosd.policy.power.joule_bucket import JouleBucket
from aiosd.policy.power.ladder import LEAST_DUTY, Ladder
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.power.power_rules import PowerRules
from aiosd.policy.power.watt_cap import WattCap

RULES = PowerRules(
    cap_watts=6.0,
    idle_watts=2.8,
    load_watts=9.7,
    heat=HeatRules(
        zones=[HeatZone(type="cpu-thermal")], steps=[HeatStep(at_celsius=70.0, watts_factor=0.5)]
    ),
)


def governor(**changes: object) -> PowerGovernor:
    return PowerGovernor(PowerRules(**{**vars(RULES), **changes}))


def ask(made: PowerGovernor, seconds: float, start: float = 0.0) -> Allowance:
    """Ask once a second; return the last answer."""
    allowance = made.allowance(start)
    for second in range(1, int(seconds)):
        allowance = made.allowance(start + second)
    return allowance


def draining(share: float, watts: float | None = 3.0) -> BatteryReading:
    return BatteryReading(share, BatteryState.DISCHARGING, watts, charger=False)


def heat(celsius: float, zone: str = "cpu-thermal") -> tuple[HeatReading]:
    return (HeatReading(zone, celsius),)


# ── the cap ───────────────────────────────────────────────────────────────────────────────────


def test_without_a_cap_everything_is_allowed() -> None:
    allowance = ask(governor(cap_watts=None), 30)
    assert allowance == Allowance(
        None, (), 4, 1.0, background=True, prefer_smaller=False, admit=Admission.NOW
    )


def test_heat_takes_its_part_and_gives_it_back_three_degrees_lower() -> None:
    cap = WattCap(RULES)
    seen = []
    for celsius in (65.0, 70.5, 69.0, 70.0, 68.0, 67.4, 67.0, 66.9, 70.0):
        cap.on_heat(heat(celsius))
        seen.append(cap.cap(0.0).watts)
    assert seen == [6.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 6.0, 3.0]
    assert cap.cap(0.0).why == ("cpu-thermal 70 °C: 50% of the cap",)


def test_a_zone_that_the_profile_does_not_name_heats_nothing() -> None:
    cap = WattCap(RULES)
    cap.on_heat(heat(99.0, "iwlwifi"))
    assert cap.cap(0.0).watts == 6.0


def test_a_sensor_that_fails_does_not_cool_the_board() -> None:
    cap = WattCap(RULES)
    cap.on_heat(heat(75.0))
    cap.on_heat(())
    assert cap.cap(0.0).watts == 3.0


def test_heat_on_a_board_without_known_watts_takes_cores() -> None:
    made = governor(cap_watts=None, idle_watts=None, load_watts=None)
    made.on_heat(heat(75.0))
    assert ask(made, 5).threads == 2


def test_heat_without_an_owners_cap_is_a_part_of_the_full_load() -> None:
    made = governor(cap_watts=None)
    made.on_heat(heat(75.0))
    assert ask(made, 5).cap_watts == pytest.approx(4.85)


def test_under_voltage_holds_for_a_while_after_it_is_gone() -> None:
    cap = WattCap(RULES)
    cap.on_throttle(ThrottleBits(under_voltage=True), 10.0)
    cap.on_throttle(ThrottleBits(under_voltage=False, had_under_voltage=True), 20.0)
    assert cap.cap(39.0).watts == pytest.approx(3.6)
    assert cap.cap(39.0).why == ("under-voltage: 60% of the cap",)
    assert cap.cap(41.0).watts == 6.0


def test_the_batterys_table_has_a_hysteresis_of_three_per_cent() -> None:
    cap = WattCap(PowerRules(cap_watts=10.0))
    seen = []
    for share in (0.51, 0.50, 0.49, 0.50, 0.52, 0.53, 0.54):
        cap.on_battery(draining(share), None, 0.0)
        seen.append(cap.cap(0.0).factor)
    assert seen == [1.0, 1.0, 0.8, 0.8, 0.8, 1.0, 1.0]


def test_a_charger_ends_what_the_battery_took() -> None:
    cap = WattCap(PowerRules(cap_watts=10.0, battery=BatteryRules()))
    cap.on_battery(draining(0.1), None, 0.0)
    assert cap.cap(0.0).watts == 0.0
    cap.on_battery(BatteryReading(0.1, BatteryState.CHARGING, 5.0, charger=True), None, 1.0)
    assert cap.cap(1.0).watts == 10.0


def test_a_missing_or_stuck_battery_changes_nothing() -> None:
    cap = WattCap(PowerRules(cap_watts=10.0))
    stuck = BatteryReading(0.05, BatteryState.DISCHARGING, 1.0, charger=False, stuck=True)
    for reading in (None, stuck, BatteryReading()):
        cap.on_battery(reading, 3.0, 0.0)
        assert cap.cap(0.0).watts == 10.0


# ── the battery's day ─────────────────────────────────────────────────────────────────────────


def test_what_is_left_above_the_reserve_is_spread_over_the_day() -> None:
    pace = BatteryPace(0.2, 86400.0, 360_000.0)
    pace.on_battery(draining(1.0), None, 0.0)
    assert pace.watts(0.0) == pytest.approx((0.8 - 0.01) * 360_000 / 86400)
    pace.on_battery(draining(0.6), None, 43200.0)
    assert pace.watts(43200.0) == pytest.approx((0.4 - 0.01) * 360_000 / 43200)


def test_the_capacity_is_learnt_while_it_drains() -> None:
    pace = BatteryPace(0.2, 86400.0)
    for second in range(0, 9000, 10):
        pace.on_battery(draining(round(1.0 - second * 4.0 / 360_000, 2), 4.0), None, float(second))
        if second < 2000:
            assert pace.watts(float(second)) is None
    assert pace.capacity_joules == pytest.approx(360_000, rel=0.02)


def test_at_its_reserve_a_battery_gives_nothing_whatever_it_holds() -> None:
    made = governor(cap_watts=None)
    made.on_battery(draining(0.2), 0.0)
    allowance = ask(made, 60)
    assert allowance.admit is Admission.REFUSE
    assert allowance.why[-1] == "battery, 20% left: 60% of the cap"
    assert "battery at its reserve of 20%" in allowance.why
    error = made.refusal()
    assert error.code == "over_power"
    assert error.retry_after_seconds == 30.0


# ── the ladder ────────────────────────────────────────────────────────────────────────────────


def climb(cores: float, seconds: int) -> list[tuple[int, float, bool, Admission]]:
    ladder = Ladder(4, 30.0)
    rungs = [ladder.step(cores, float(second)) for second in range(seconds)]
    return [(each.threads, each.duty, each.prefer_smaller, each.admit) for each in rungs]


def test_the_rungs_are_taken_in_order() -> None:
    steps = climb(0.0, 60)
    assert steps[0] == (4, LEAST_DUTY, False, Admission.NOW)
    firsts = [
        next(i for i, each in enumerate(steps) if each[0] == 1),
        next(i for i, each in enumerate(steps) if each[3] is Admission.WAIT),
        next(i for i, each in enumerate(steps) if each[2]),
        next(i for i, each in enumerate(steps) if each[3] is Admission.REFUSE),
    ]
    assert firsts == [1, 2, 10, 32]


def test_the_duty_makes_up_for_threads_that_come_and_go_slowly() -> None:
    steps = climb(1.8, 5)
    assert steps[0][:2] == (4, pytest.approx(0.45))
    assert steps[-1][:2] == (2, pytest.approx(0.9))


def test_a_figure_that_trembles_moves_no_rung_but_the_duty() -> None:
    chance = random.Random(3)
    for middle in (0.05, 0.2, 0.5, 1.0, 1.05, 2.0, 2.16, 3.0, 3.5):
        ladder = Ladder(4, 30.0)
        for second in range(60):
            ladder.step(middle, float(second))
        rungs = []
        for second in range(60, 3600):
            step = ladder.step(max(0.0, middle + chance.gauss(0.0, 0.03)), float(second))
            rungs.append((step.threads, step.prefer_smaller, step.admit))
        # It may still settle: wait, then refuse. It must not come back.
        changes = sum(one != two for one, two in pairwise(rungs))
        assert changes <= 3, middle


@given(st.lists(st.floats(0.0, 6.0), min_size=1, max_size=200), st.integers(1, 16))
def test_the_ladder_never_allows_more_than_the_cores_but_for_its_least(
    cores: list[float], threads: int
) -> None:
    ladder = Ladder(threads, 30.0)
    for second, each in enumerate(cores):
        step = ladder.step(each, float(second))
        assert 1 <= step.threads <= threads
        assert LEAST_DUTY <= step.duty <= 1.0
        assert step.threads * step.duty <= max(each, threads * LEAST_DUTY) + threads * 0.021


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=240), st.sampled_from((0.25, 0.5, 1.0)))
def test_whatever_the_cores_do_no_rung_is_taken_and_left_in_haste(
    cores: list[float], step: float
) -> None:
    ladder = Ladder(4, 30.0)
    changed = {"threads": -60.0, "smaller": -60.0, "waits": -60.0}
    before = ladder.step(4.0, 0.0)
    for number, each in enumerate(cores, 1):
        now = number * step
        rungs = ladder.step(each, now)
        if rungs.threads != before.threads:
            least = 10.0 if rungs.threads > before.threads else 1.0
            assert now - changed["threads"] >= least
            changed["threads"] = now
        if rungs.prefer_smaller != before.prefer_smaller:
            assert now - changed["smaller"] >= 10.0
            changed["smaller"] = now
        if (rungs.admit is Admission.NOW) != (before.admit is Admission.NOW):
            assert now - changed["waits"] >= 2.0
            changed["waits"] = now
        if rungs.admit is Admission.REFUSE and before.admit is not Admission.REFUSE:
            assert before.admit is Admission.WAIT
            assert now - changed["waits"] >= 30.0
        before = rungs


def test_a_cap_below_the_idle_refuses_and_says_so() -> None:
    made = governor(cap_watts=2.0)
    allowance = ask(made, 10)
    assert allowance.admit is Admission.REFUSE
    error = made.refusal()
    assert error.details["cap_watts"] == 2.0
    assert error.details["idle_watts"] == 2.8


def test_a_board_that_takes_more_than_its_profile_says_is_still_held() -> None:
    """The model says 1.7 W a core; the meter says 3."""
    made = governor()
    now, total = 0.0, 0.0
    for _ in range(300):
        allowance = made.allowance(now)
        cores = allowance.threads * allowance.duty
        watts = 2.8 + 3.0 * cores
        interval = CpuInterval(now, now + 1, (("llm", cores),), 0.0)
        made.on_interval(MeteredInterval(interval, watts))
        now += 1
        total += watts if now > 10 else 0
    assert total / 291 == pytest.approx(6.0, rel=0.02)


def test_with_no_figure_at_all_one_core_shows_what_a_core_takes() -> None:
    made = governor(idle_watts=None, load_watts=None)
    assert ask(made, 5).threads == 1


def test_background_work_waits_for_surplus() -> None:
    made = governor()
    assert ask(made, 3).background
    for second in range(60):
        interval = CpuInterval(second, second + 1, (("llm", 1.5),), 0.0)
        made.on_interval(MeteredInterval(interval, 5.4))
    assert not made.allowance(60.0).background


# ── the bucket ────────────────────────────────────────────────────────────────────────────────


def test_what_was_drawn_comes_back_after_an_hour() -> None:
    bucket = JouleBucket(100.0, 3600.0)
    assert bucket.draw(1, 80.0, 0.0).admit is Admission.NOW
    second = bucket.draw(2, 30.0, 600.0)
    assert second.admit is Admission.WAIT
    assert second.retry_after_seconds == pytest.approx(3060.0)
    assert bucket.draw(2, 30.0, 3661.0).admit is Admission.NOW


def test_what_was_not_used_is_given_back_at_once() -> None:
    bucket = JouleBucket(100.0, 3600.0)
    bucket.draw(1, 80.0, 0.0)
    bucket.reconcile(1, 5.0)
    assert bucket.taken(1.0) == 5.0
    bucket.reconcile(1, 50.0)  # a second time counts for nothing
    assert bucket.taken(1.0) == 5.0


def test_a_request_larger_than_the_bucket_is_refused_for_good() -> None:
    draw = JouleBucket(100.0, 3600.0).draw(1, 101.0, 0.0)
    assert (draw.admit, draw.retry_after_seconds) == (Admission.REFUSE, None)
    error = governor().refusal(draw)
    assert error.retry_after_seconds is None
    assert "101 J, of 100 J in 3600 s" in error.message


def test_background_work_leaves_half_of_the_bucket() -> None:
    bucket = JouleBucket(100.0, 3600.0)
    bucket.draw(1, 45.0, 0.0)
    assert bucket.draw(2, 10.0, 1.0, background=True).admit is Admission.WAIT
    assert bucket.draw(3, 10.0, 1.0).admit is Admission.NOW


@given(
    st.lists(st.tuples(st.floats(0.0, 400.0), st.floats(0.0, 60.0)), min_size=1, max_size=120),
)
def test_no_hour_wherever_it_begins_holds_more_than_the_bucket(
    draws: list[tuple[float, float]],
) -> None:
    bucket = JouleBucket(100.0, 3600.0)
    now, taken = 0.0, []
    for number, (later, joules) in enumerate(draws):
        now += later
        draw = bucket.draw(number, joules, now)
        if draw.admit is Admission.NOW:
            taken.append((now, joules))
        else:
            assert draw.admit is Admission.WAIT
            assert 0 < (draw.retry_after_seconds or 0) <= 3660
    for start, _ in taken:
        hour = sum(joules for at, joules in taken if start <= at < start + 3600)
        assert hour <= 100.0 + 1e-6


def test_nobody_is_told_to_wait_longer_than_joules_are_counted() -> None:
    """At this moment of the clock the end of the slot, less the moment, is rounded upwards."""
    waits = []
    for step in range(2000):
        bucket, now = JouleBucket(100.0, 3600.0), step * 0.7301
        bucket.draw(1, 100.0, now)
        waits.append(bucket.ask(100.0, now).retry_after_seconds or 0.0)
    assert max(waits) <= 3660


def test_figures_of_another_scope_than_the_meters_are_no_hint() -> None:
    facts = PowerFacts(idle_watts=9.1, load_watts=18.5, watts_scope=Scope.BOARD)
    profile = BoardProfile(name="x86-n100", summary="x", power=facts)
    assert PowerRules.of(profile, 6.0, Scope.BOARD).idle_watts == 9.1
    other = PowerRules.of(profile, 6.0, Scope.PACKAGE)
    assert (other.idle_watts, other.load_watts) == (None, None)
    # Else a cap of 6 W on the package would be below "the idle", and nothing would ever run.
    assert ask(PowerGovernor(other), 5).admit is Admission.NOW
