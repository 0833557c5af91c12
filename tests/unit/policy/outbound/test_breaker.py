"""An endpoint that fails is left alone, and tried again with one request."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.outbound.breaker import Breaker, BreakerRules, BreakerState

RULES = BreakerRules(failures=3, rest_seconds=10.0)


def opened() -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(3):
        ticket = breaker.begin(0.0)
        assert ticket is not None
        breaker.on_failure(ticket, 0.0)
    return breaker


def begun(breaker: Breaker, now: float) -> int:
    ticket = breaker.begin(now)
    assert ticket is not None
    return ticket


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(RULES)
    for fails in (True, True, False, True, True):
        ticket = begun(breaker, 0.0)
        if fails:
            breaker.on_failure(ticket, 0.0)
        else:
            breaker.on_success(ticket)
    assert breaker.state(0.0) is BreakerState.CLOSED
    breaker.on_failure(begun(breaker, 0.0), 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.begin(9.9) is None
    assert breaker.rest_seconds(4.0) == 6.0


def test_half_open_lets_one_through_whose_end_decides() -> None:
    breaker = opened()
    ticket = begun(breaker, 10.0)
    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.begin(10.0) is None
    breaker.on_success(ticket)
    assert breaker.state(10.0) is BreakerState.CLOSED
    assert breaker.rest_seconds(10.0) == 0.0


def test_each_failed_trial_doubles_the_rest_up_to_sixteenfold() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(7):
        rests.append(breaker.rest_seconds(now))
        now += rests[-1]
        breaker.on_failure(begun(breaker, now), now)
    assert rests == [10.0, 20.0, 40.0, 80.0, 160.0, 160.0, 160.0]


def test_a_trial_that_is_given_up_leaves_the_place_to_the_next() -> None:
    breaker = opened()
    breaker.on_abandoned(begun(breaker, 10.0))
    assert breaker.begin(10.0) is not None


def test_what_began_before_it_opened_neither_opens_nor_closes_it() -> None:
    breaker = Breaker(RULES)
    slow = begun(breaker, 0.0)
    for _ in range(3):
        breaker.on_failure(begun(breaker, 0.0), 0.0)
    breaker.on_failure(slow, 5.0)
    assert breaker.rest_seconds(5.0) == 5.0
    breaker.on_success(slow)
    assert breaker.state(5.0) is BreakerState.OPEN


def test_an_endpoint_that_asks_for_rest_gets_it_and_never_less() -> None:
    breaker = Breaker(RULES)
    breaker.rest(begun(breaker, 0.0), 60.0)
    assert breaker.begin(59.0) is None
    ticket = begun(breaker, 60.0)
    breaker.rest(ticket, 100.0)
    breaker.rest(ticket, 70.0)
    assert breaker.rest_seconds(70.0) == 30.0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "success", "failure", "abandon", "rest"]),
        st.floats(0.0, 30.0),
        st.integers(0, 5),
    ),
    max_size=60,
)


@dataclass
class Watched:
    """A breaker beside what must be true of it."""

    breaker: Breaker = field(default_factory=lambda: Breaker(RULES))
    now: float = 0.0
    running: list[int] = field(default_factory=list)
    trial: int | None = None

    def begin(self) -> None:
        before = self.breaker.state(self.now)
        ticket = self.breaker.begin(self.now)
        busy = before is BreakerState.HALF_OPEN and self.trial is not None
        assert (ticket is None) == (before is BreakerState.OPEN or busy)
        if ticket is not None:
            self.running.append(ticket)
            self.trial = ticket if before is BreakerState.HALF_OPEN else None

    def end(self, event: str, which: int) -> None:
        before = self.breaker.state(self.now)
        ticket = self.running.pop(which % len(self.running))
        {
            "success": lambda: self.breaker.on_success(ticket),
            "failure": lambda: self.breaker.on_failure(ticket, self.now),
            "abandon": lambda: self.breaker.on_abandoned(ticket),
            "rest": lambda: self.breaker.rest(ticket, self.now + 7.0),
        }[event]()
        after = self.breaker.state(self.now)
        assert before is not BreakerState.OPEN or after is BreakerState.OPEN, "only time ends it"
        asked = (self.now + 7.0) - self.now  # not always 7: the sum is rounded
        assert event != "rest" or self.breaker.rest_seconds(self.now) >= asked
        if self.trial == ticket or after is not BreakerState.HALF_OPEN:
            self.trial = None


@given(EVENTS)
def test_whatever_happens_it_keeps_its_word(events: list[tuple[str, float, int]]) -> None:
    watched = Watched()
    for event, later, which in events:
        watched.now += later
        if event == "begin":
            watched.begin()
        elif watched.running:
            watched.end(event, which)
        assert 0.0 <= watched.breaker.rest_seconds(watched.now) <= 160.0
    # However it went: after the rest somebody may try, once what runs has ended.
    for ticket in watched.running:
        watched.breaker.on_abandoned(ticket)
    assert watched.breaker.begin(watched.now + 160.0) is not None
