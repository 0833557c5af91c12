"""A circuit breaker: an endpoint that keeps failing is left alone, then tried with one request.

Closed: all pass; `failures` in a row open it. Open: none pass until the rest is over; the rest
doubles with each opening that no success came between, up to 16 times the first. Half-open: one
request passes, and its end closes the breaker or opens it again. M. Nygard, "Release It!".
"""

from dataclasses import dataclass
from enum import StrEnum

_MOST_DOUBLINGS = 4


class BreakerState(StrEnum):
    """What a breaker lets pass: all, none, or one."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class BreakerRules:
    """After how many failures in a row to rest, and for how many seconds at first."""

    failures: int = 3
    rest_seconds: float = 30.0


class Breaker:
    """One endpoint's record of failures; times are seconds of one clock that never goes back."""

    def __init__(self, rules: BreakerRules) -> None:
        """Start closed."""
        self._rules = rules
        self._failed = 0
        self._opened = 0
        self._rests_until: float | None = None
        self._trial: int | None = None
        self._ticket = 0
        self._first_valid = 1

    def state(self, now: float) -> BreakerState:
        """Return what would pass now."""
        if self._rests_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._rests_until else BreakerState.HALF_OPEN

    def rest_seconds(self, now: float) -> float:
        """Return how long nothing will pass; 0 if something might."""
        return 0.0 if self._rests_until is None else max(0.0, self._rests_until - now)

    def begin(self, now: float) -> int | None:
        """Let a request pass and return its ticket, or None; each ticket is ended once."""
        state = self.state(now)
        if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and self._trial):
            return None
        self._ticket += 1
        if state is BreakerState.HALF_OPEN:
            self._trial = self._ticket
        return self._ticket

    def on_success(self, ticket: int) -> None:
        """Take note of an answer; one from before the last opening proves nothing any more."""
        if ticket < self._first_valid:
            return
        self._failed = self._opened = 0
        self._rests_until = self._trial = None

    def on_failure(self, ticket: int, now: float) -> None:
        """Take note of a failure; one from before the last opening is counted already."""
        if ticket < self._first_valid:
            return
        self._failed += 1
        if self._trial == ticket or self._failed >= self._rules.failures:
            doublings = min(self._opened, _MOST_DOUBLINGS)
            self._open(now + self._rules.rest_seconds * 2.0**doublings)
            self._opened += 1

    def on_abandoned(self, ticket: int) -> None:
        """Take note that a request ended for a reason of ours, which proves nothing."""
        if self._trial == ticket:
            self._trial = None

    def rest(self, ticket: int, until: float) -> None:
        """Rest because the endpoint asked for it (Retry-After)."""
        if self._trial == ticket:
            self._trial = None
        if self._rests_until is None or until > self._rests_until:
            self._open(until)

    def _open(self, until: float) -> None:
        self._rests_until = until
        self._trial = None
        self._failed = 0
        self._first_valid = self._ticket + 1
