"""One request's way up: its text is hidden where the owner wants, then the endpoints are asked.

One after the other, never two at once. The next one is asked where the one before did not answer,
and never once a piece of an answer was passed on.
"""

import time

from aiosd.domain.errors import AiosdError, NoRouteError
from aiosd.protocol.uplink import Answered
from aiosd.uplink.attempt import Attempt, End
from aiosd.uplink.case import Case
from aiosd.uplink.doors import Door
from aiosd.uplink.office import Office


def run_errand(office: Office, case: Case) -> Answered:
    """Return the answer.

    Raises:
        AiosdError: there is none, and why.
    """
    case.hide(office.redactor)
    tried: list[str] = []
    for door in office.doors:
        end = _knock(office, case, door)
        if end.answered is not None:
            return end.answered
        if end.error is not None:
            raise end.error
        tried.append(f"{door.name}: {end.why}")
    raise _offline(office, tried)


def _knock(office: Office, case: Case, door: Door) -> End:
    """Ask one endpoint, unless it is unusable or rests."""
    if door.problem:
        return End(door.problem)
    now = time.monotonic()
    with office.lock:
        ticket = door.breaker.begin(now)
        rest = door.breaker.rest_seconds(now)
    if ticket is None:
        return End(f"rests for {rest:.0f} s after failures")
    end = End()
    try:
        end = Attempt(office, case, door).run()
    finally:
        with office.lock:
            _note(door, ticket, end)
    return end


def _note(door: Door, ticket: int, end: End) -> None:
    """Let an endpoint's breaker know."""
    now = time.monotonic()
    if end.rest_seconds:
        door.breaker.rest(ticket, now + end.rest_seconds)
    elif end.blame is None:
        door.breaker.on_abandoned(ticket)
    elif end.blame:
        door.breaker.on_failure(ticket, now)
    else:
        door.breaker.on_success(ticket)


def _offline(office: Office, tried: list[str]) -> AiosdError:
    """Return that no endpoint answers, and when the first of them may be asked again."""
    error = NoRouteError(f"no endpoint of the uplink answers: {'; '.join(tried)}", tried=tried)
    now = time.monotonic()
    rests = [door.breaker.rest_seconds(now) for door in office.doors if not door.problem]
    if rests and min(rests) > 0:
        error.details["retry_after_seconds"] = round(min(rests), 3)
    return error
