"""Every way through a release's life ends: with it serving, or with the old one and a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.expert import TransitionError
from aiosd.domain.rollout import Cost, Report, Rollout, State
from aiosd.policy.rollout.events import (
    Answered,
    Cancelled,
    Checked,
    Collected,
    Diverted,
    DoActivate,
    DoCheck,
    DoCollect,
    DoDiscard,
    DoDivert,
    DoFetch,
    DoProbe,
    DoReturn,
    DoStage,
    DoWatch,
    Drained,
    Effect,
    Event,
    Expired,
    Failed,
    Fault,
    Fetch,
    Held,
    Lived,
    Probed,
    Probing,
    Progressed,
    Resumed,
    RolledBack,
    Staged,
    Stopped,
    Verified,
)
from aiosd.policy.rollout.rules import AFTER_COMMIT, LIMITS, RETRY_SECONDS, TRIES, Rules
from aiosd.policy.rollout.table import WAY, advance, plan, seconds_left

RULES = Rules(canary_requests=3)
REPORT = Report(passed=2, cases=2)
TO_STAGED: list[Event] = [Fetch(), Progressed(), Verified(), Staged()]
TO_CANARY: list[Event] = [*TO_STAGED, Probing(), Probed(REPORT), Diverted()]
TO_COMMITTED: list[Event] = [*TO_CANARY, *[Answered(good=True)] * 3, Checked()]


def after(*events: Event, old: int = 1, now: float = 100.0) -> tuple[Rollout, list[Effect]]:
    row, effects = plan("digits", 2, "a" * 64, old, now), list[Effect]()
    for event in events:
        row, effects = advance(row, event, now, RULES)
    return row, effects


def test_a_release_that_fails_nowhere_goes_the_whole_way() -> None:
    steps: list[tuple[Event, State, list[Effect]]] = [
        (Fetch(), State.FETCHING, []),
        (Verified(), State.VERIFIED, [DoStage()]),
        (Staged(), State.STAGED, [DoProbe()]),
        (Probing(), State.STAGED, []),
        (Probed(REPORT), State.PROBED, [DoDivert()]),
        (Diverted(), State.CANARY, []),
        (Answered(good=True), State.CANARY, []),
        (Answered(good=True, slow=True), State.CANARY, []),
        (Answered(good=True), State.CANARY, [DoCheck()]),
        (Answered(good=True), State.CANARY, []),
        (Checked(), State.COMMITTED, [DoActivate(2), DoWatch()]),
        (Drained(0.25), State.DRAINED, [DoCollect()]),
        (Collected(), State.COLLECTED, []),
        (Lived(), State.COLLECTED, []),
    ]
    row = plan("digits", 2, "a" * 64, 1, 100.0)
    for event, state, wanted in steps:
        row, effects = advance(row, event, 100.0, RULES)
        assert (row.state, effects) == (state, wanted), event
    assert row.ended
    assert (row.report, row.hold_seconds, row.trial) == (REPORT, 0.25, False)


def test_an_expert_that_was_not_here_before_has_no_canary() -> None:
    row, effects = after(*TO_STAGED, Probing(), Probed(REPORT), old=0)
    assert effects == [DoCheck()]
    row, effects = advance(row, Checked(), 100.0, RULES)
    assert (row.state, effects) == (State.COMMITTED, [DoActivate(2), DoWatch()])


def test_an_owner_may_want_no_canary() -> None:
    rules = Rules(canary_requests=0)
    row, _ = after(*TO_STAGED, Probing())
    assert advance(row, Probed(REPORT), 100.0, rules)[1] == [DoCheck()]


def test_a_failed_request_of_the_canary_brings_the_old_release_back() -> None:
    row, effects = after(*TO_CANARY, Answered(good=True), Answered(good=False))
    assert row.state is State.QUARANTINED
    assert row.reason == "canary: 1 of 2 requests failed"
    assert effects == [DoReturn(2, 1), DoDiscard(2)]


def test_slow_answers_bring_the_old_release_back_but_a_single_one_does_not() -> None:
    slow = Answered(good=True, slow=True)
    row, effects = after(*TO_CANARY, slow, slow, Answered(good=True))
    assert row.state is State.QUARANTINED
    assert row.reason == "canary: 2 of 3 answers were slow"
    row, effects = after(*TO_CANARY, slow, Answered(good=True), Answered(good=True))
    assert effects == [DoCheck()]


def test_a_canary_that_nobody_asks_is_decided_by_its_self_tests() -> None:
    row, effects = after(*TO_CANARY, Expired())
    assert (row.state, row.checking, effects) == (State.CANARY, True, [DoCheck()])
    row, effects = advance(row, Expired(), 100.0, RULES)
    assert row.state is State.STAGED
    assert "took longer" in row.reason


def test_two_tries_are_made_and_no_third() -> None:
    row, effects = after(*TO_STAGED, Probing(), Failed("the worker died", Fault.CHANCE))
    assert row.state is State.STAGED
    assert effects == [DoReturn(2, 1), DoProbe(RETRY_SECONDS)]
    row, _ = advance(row, Probing(), 100.0, RULES)
    row, effects = advance(row, Failed("the worker died", Fault.CHANCE), 100.0, RULES)
    assert (row.state, row.reason) == (State.QUARANTINED, "the worker died")
    assert effects == [DoReturn(2, 1), DoDiscard(2)]


def test_what_is_the_releases_own_fault_is_not_tried_again() -> None:
    row, _ = after(*TO_STAGED, Probing(), Failed("self-test 2: label is 'a', not 'b'"))
    assert row.state is State.QUARANTINED


def test_what_bringing_it_cost_adds_up() -> None:
    row, _ = after(
        Fetch(),
        Progressed(Cost(fetched=5, written=7)),
        Progressed(),
        Progressed(Cost(fetched=1, shared=2)),
        Verified(),
        Staged(),
    )
    assert row.cost == Cost(fetched=6, written=7, shared=2)


def test_want_of_ram_or_network_never_quarantines() -> None:
    row, _ = after(*TO_STAGED)
    for _ in range(10):
        row, _ = advance(row, Probing(), 100.0, RULES)
        row, effects = advance(row, Failed("no RAM", Fault.WORLD), 100.0, RULES)
        assert (row.state, row.attempts) == (State.STAGED, 0)
        assert effects[-1] == DoProbe(RETRY_SECONDS)
    row, _ = after(Fetch())
    for _ in range(10):
        row, effects = advance(row, Failed("no network", Fault.WORLD), 100.0, RULES)
        assert (row.state, effects) == (State.PLANNED, [DoFetch(RETRY_SECONDS)])
        row, _ = advance(row, Fetch(), 100.0, RULES)


def test_a_try_that_never_ran_is_not_held_against_a_release() -> None:
    row, _ = after(*TO_STAGED)
    for _ in range(10):
        row, _ = advance(row, Probing(), 100.0, RULES)
        row, effects = advance(row, Expired("no room: raise ram.cap"), row.deadline, RULES)
        assert (row.state, row.attempts, row.trying) == (State.STAGED, 0, False)
        assert row.reason == "no room: raise ram.cap"
        assert effects[-1] == DoProbe(RETRY_SECONDS)
    row, _ = advance(row, Expired("no room: raise ram.cap"), row.deadline, RULES)
    assert row.state is State.CANCELLED  # it waited a day; nothing is held against it
    row, _ = after(*TO_CANARY, *[Answered(good=True)] * 3)
    assert row.checking
    row, _ = advance(row, Expired("no room: raise ram.cap"), row.deadline, RULES)
    assert (row.state, row.attempts) == (State.STAGED, 0)


def test_a_wrong_digest_is_fetched_once_more() -> None:
    row, _ = after(Fetch(), Failed("digest", Fault.CHANCE))
    assert (row.state, row.attempts) == (State.PLANNED, 1)
    row, _ = advance(row, Fetch(), 100.0, RULES)
    row, _ = advance(row, Failed("digest", Fault.CHANCE), 100.0, RULES)
    assert row.state is State.QUARANTINED


def test_tries_to_fetch_do_not_count_against_the_probe() -> None:
    row, _ = after(Fetch(), Failed("digest", Fault.CHANCE), *TO_STAGED)
    assert (row.state, row.attempts, row.reason) == (State.STAGED, 0, "")


@pytest.mark.parametrize("events", [[*TO_STAGED, Probing()], TO_CANARY])
def test_a_crash_in_a_probe_or_canary_counts_and_a_clean_stop_does_not(
    events: list[Event],
) -> None:
    row, _ = after(*events)
    for _ in range(5):
        stopped, _ = advance(row, Stopped(), 100.0, RULES)
        again, effects = advance(stopped, Resumed(), 100.0, RULES)
        assert (again.state, again.attempts, effects) == (State.STAGED, 0, [DoProbe()])
        row, _ = advance(again, Probing(), 100.0, RULES)
    row, effects = advance(row, Resumed(), 100.0, RULES)
    assert (row.state, row.attempts, effects) == (State.STAGED, 1, [DoProbe()])
    row, _ = advance(row, Probing(), 100.0, RULES)
    row, _ = advance(row, Resumed(), 100.0, RULES)
    assert row.state is State.QUARANTINED
    assert row.reason == "2 probes or canaries ended with the daemon"


def test_three_crashes_after_a_commit_revert_it() -> None:
    row, _ = after(*TO_COMMITTED)
    for crashes in (1, 2):
        row, effects = advance(row, Resumed(), 100.0, RULES)
        assert (row.state, row.crashes) == (State.COMMITTED, crashes)
        assert effects == [DoActivate(2), DoWatch()]
    row, effects = advance(row, Resumed(), 100.0, RULES)
    assert row.state is State.QUARANTINED
    assert row.reason == "the daemon crashed 3 times within 300 s of the commit"
    assert effects == [DoReturn(2, 1), DoDiscard(2)]


def test_crashes_count_until_the_daemon_has_lived_and_clean_stops_do_not() -> None:
    row, _ = after(*TO_COMMITTED, Drained(0.0), Collected())
    for _ in range(5):
        row, _ = advance(row, Stopped(), 100.0, RULES)
        row, effects = advance(row, Resumed(), 100.0, RULES)
        assert (row.crashes, effects) == (0, [DoWatch()])
    row, _ = advance(row, Resumed(), 100.0, RULES)
    row, _ = advance(row, Lived(), 100.0, RULES)
    for _ in range(5):
        row, effects = advance(row, Resumed(), 100.0, RULES)
        assert (row.state, effects) == (State.COLLECTED, [])


def test_a_commit_is_carried_on_after_a_power_cut() -> None:
    row, _ = after(*TO_COMMITTED)
    assert advance(row, Resumed(), 100.0, RULES)[1] == [DoActivate(2), DoWatch()]
    row, _ = after(*TO_COMMITTED, Drained(0.0))
    assert advance(row, Resumed(), 100.0, RULES)[1] == [DoCollect(), DoWatch()]


def test_a_release_that_fails_on_trial_goes_and_later_it_stays() -> None:
    row, effects = after(*TO_COMMITTED, Failed("its worker crashes"))
    assert (row.state, effects) == (State.QUARANTINED, [DoReturn(2, 1), DoDiscard(2)])
    row, effects = after(*TO_COMMITTED, Drained(0.0), Lived(), Failed("its worker crashes"))
    assert (row.state, effects) == (State.DRAINED, [])


def test_the_owner_goes_back_from_a_canary_and_from_a_commit() -> None:
    for events in (TO_CANARY, TO_COMMITTED, [*TO_COMMITTED, Drained(0.0), Collected(), Lived()]):
        row, effects = after(*events, RolledBack("by the operator"))
        assert (row.state, row.reason) == (State.QUARANTINED, "by the operator")
        assert effects == [DoReturn(2, 1), DoDiscard(2)]
    with pytest.raises(TransitionError, match="no release to go back to"):
        after(*TO_COMMITTED, RolledBack("by the operator"), old=0)
    with pytest.raises(TransitionError, match="no release to go back to"):
        after(Fetch(), RolledBack("by the operator"))


def test_a_hold_stops_where_it_is_and_goes_on_from_there() -> None:
    row, effects = after(*TO_CANARY, Held(on=True))
    assert (row.state, row.back, row.deadline) == (State.HELD, State.STAGED, 0.0)
    assert effects == [DoReturn(2, 1)]
    assert advance(row, Expired(), 1e9, RULES) == (row, [])
    assert advance(row, Answered(good=False), 100.0, RULES) == (row, [])
    row, effects = advance(row, Held(on=False), 100.0, RULES)
    assert (row.state, row.attempts, effects) == (State.STAGED, 0, [DoProbe()])
    row, _ = after(Fetch(), Held(on=True), Held(on=False))
    assert row.state is State.PLANNED
    row, effects = after(*TO_COMMITTED, Held(on=True))
    assert (row.state, effects) == (State.COMMITTED, [])


def test_what_is_cancelled_is_not_quarantined_and_a_commit_cannot_be() -> None:
    row, effects = after(*TO_CANARY, Cancelled("by the operator"))
    assert row.state is State.CANCELLED
    assert effects == [DoReturn(2, 1), DoDiscard(2)]
    assert after(*TO_COMMITTED, Cancelled("by the operator"))[0].state is State.COMMITTED


def test_every_state_with_a_deadline_ends_or_goes_on_when_it_passes() -> None:
    found = {}
    for events in (
        [],
        [Fetch()],
        [Fetch(), Verified()],
        TO_STAGED,
        [*TO_STAGED, Probing()],
        [*TO_STAGED, Probing(), Probed(REPORT)],
        TO_CANARY,
        TO_COMMITTED,
        [*TO_COMMITTED, Drained(0.0)],
    ):
        before, _ = after(*events)
        assert before.deadline > 100.0
        row, effects = advance(before, Expired(), before.deadline, RULES)
        found[before.state, before.trying] = (row.state, [type(each) for each in effects])
    assert found == {
        (State.PLANNED, False): (State.CANCELLED, [DoReturn, DoDiscard]),
        (State.FETCHING, False): (State.PLANNED, [DoFetch]),
        (State.VERIFIED, False): (State.PLANNED, [DoFetch]),
        (State.STAGED, False): (State.CANCELLED, [DoReturn, DoDiscard]),
        (State.STAGED, True): (State.STAGED, [DoReturn, DoProbe]),
        (State.PROBED, True): (State.STAGED, [DoReturn, DoProbe]),
        (State.CANARY, True): (State.CANARY, [DoCheck]),
        (State.COMMITTED, False): (State.COMMITTED, [DoActivate]),
        (State.DRAINED, False): (State.DRAINED, [DoCollect]),
    }


def test_a_state_lasts_at_most_its_limit_though_the_clock_was_set_back() -> None:
    row, _ = after(Fetch())
    assert seconds_left(row, 100.0) == LIMITS[State.FETCHING]
    assert seconds_left(row, -1e9) == LIMITS[State.FETCHING]
    assert seconds_left(row, 1e9) == 0.0
    assert seconds_left(after(*TO_CANARY, Held(on=True))[0], 100.0) is None


def test_the_table_has_every_state() -> None:
    assert set(WAY) == set(State)
    assert set(LIMITS) == {state for state in State if WAY[state]} - {State.COLLECTED}


EVENTS = st.sampled_from(
    [
        Fetch(),
        Progressed(),
        Verified(),
        Staged(),
        Probing(),
        Probed(REPORT),
        Diverted(),
        Answered(good=True),
        Answered(good=True, slow=True),
        Answered(good=False),
        Checked(),
        Drained(0.1),
        Collected(),
        *[Failed("f", fault) for fault in Fault],
        Expired(),
        Cancelled("c"),
        Held(on=True),
        Held(on=False),
        Stopped(),
        Resumed(),
        Lived(),
    ]
)


@given(st.lists(EVENTS, max_size=40), st.integers(0, 1))
def test_no_order_of_events_breaks_the_rules(events: list[Event], old: int) -> None:
    row, _ = after(old=old)
    committed = False
    for event in events:
        before = row
        row, effects = advance(row, event, 100.0, RULES)
        committed = committed or row.state is State.COMMITTED
        # Nothing is activated before it passed its self-tests, with its canary where there is one.
        if any(isinstance(each, DoActivate) for each in effects):
            assert row.state is State.COMMITTED
            assert row.report is not None
        if row.state in AFTER_COMMIT:
            assert committed
        # Whoever leaves the way is told to let the old release serve.
        if row.state is State.QUARANTINED and before.state is not row.state:
            assert DoReturn(2, old) in effects
            assert row.reason
        assert 0 <= row.attempts <= TRIES
        assert row.trying <= (row.state in (State.STAGED, State.PROBED, State.CANARY))
        if before.ended and before.state is not State.COLLECTED:
            assert row.state is before.state


@given(st.lists(EVENTS, max_size=40), st.integers(0, 1))
def test_deadlines_alone_bring_every_release_to_an_end(events: list[Event], old: int) -> None:
    row, _ = after(*events, old=old)
    for _ in range(20):
        row, effects = advance(row, Expired(), 100.0, RULES)
        if DoProbe(RETRY_SECONDS) in effects:
            row, _ = advance(row, Probing(), 100.0, RULES)
        if any(isinstance(each, DoActivate) for each in effects):
            row, _ = advance(row, Drained(0.0), 100.0, RULES)
        if DoCollect() in effects:
            row, _ = advance(row, Collected(), 100.0, RULES)
    assert row.ended or row.state is State.HELD
