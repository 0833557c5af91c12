"""A simulated fleet: good releases reach all, bad ones stop themselves."""

from tools.fleet.__main__ import figures
from tools.fleet.device import Quality
from tools.fleet.publisher import Plan, Rollout
from tools.fleet.world import PLAY, POLL_SECONDS, Release, Run, World

DEVICES = 120


def play(*acts: Release, days: float, hears: bool = True) -> Run:
    world = World(DEVICES, 7, hears=hears, plan=Plan(hours=12.0, least_tried=3))
    return world.play(acts, days)


def test_a_good_release_reaches_every_board() -> None:
    run = play(PLAY[0], days=4.0)
    assert run.samples[-1].active == {2: DEVICES}
    assert run.tally.quarantined == 0
    assert run.rollouts[0].stopped_at is None


def test_a_release_that_fails_its_self_tests_serves_nobody_and_stops() -> None:
    run = play(Release(2, 0.0, Quality(self_test_fails=True)), days=4.0)
    assert run.samples[-1].active == {1: DEVICES}
    assert run.rollouts[0].stopped_at is not None
    assert run.failed[2] < DEVICES / 4


def test_a_release_that_self_tests_do_not_find_out_stops_by_its_canaries() -> None:
    run = play(Release(2, 0.0, Quality(answers_fail=0.3)), days=4.0)
    assert run.rollouts[0].stopped_at is not None
    assert run.samples[-1].active[2] < DEVICES / 10
    assert run.tally.rescued_requests >= run.failed[2]


def test_without_feedback_each_board_still_protects_itself() -> None:
    run = play(Release(2, 0.0, Quality(answers_fail=0.3)), days=4.0, hears=False)
    assert run.rollouts[0].stopped_at is None
    assert run.failed[2] > DEVICES / 2
    assert run.samples[-1].active[2] < DEVICES / 4


def test_the_next_good_release_reaches_boards_that_refused_the_bad_one() -> None:
    run = play(Release(2, 0.0, Quality(answers_fail=0.5)), Release(3, 2.0, Quality()), days=6.0)
    assert run.samples[-1].active == {3: DEVICES}
    assert figures(run, DEVICES)["boards by release in the end"] == {"3": DEVICES}


def test_polls_are_spread_over_their_interval() -> None:
    run = play(days=1.0)
    assert run.tally.polls == 0, "nothing was published, so nothing was looked at"
    assert run.most_polls_per_minute < DEVICES / (POLL_SECONDS / 60) * 20


def test_a_stopped_rollout_stays_stopped() -> None:
    one = Rollout(2, 0.0, Plan(least_tried=5, most_failures=0.1))
    one.step(0.0, 4, 4, hears=True)
    assert one.percent() == 1
    one.step(0.0, 10, 1, hears=True)
    assert one.percent() == 1
    one.step(0.0, 10, 2, hears=True)
    one.step(1e9, 10, 0, hears=True)
    assert one.percent() == 0
