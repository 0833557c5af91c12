"""The one table of a release's life: event in, row and effects out; the clock is an argument.

The updater drives a release to `staged`, the daemon from there on. Whoever drives writes the row
down before it carries the effects out, so that what a power cut undoes is done again.
"""

import msgspec

from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import (
    Answered,
    Checked,
    Collected,
    Diverted,
    DoCheck,
    DoCollect,
    Drained,
    Effect,
    Event,
    Fetch,
    Lived,
    Probed,
    Probing,
    Progressed,
    Staged,
    Verified,
)
from aiosd.policy.rollout.rules import RULES, Rules, Step, effects_of, enter
from aiosd.policy.rollout.turns import TURNS

_S = State

# The way of a release that fails nowhere; what happens off it is in the functions below.
WAY: dict[State, dict[type[Event], State]] = {
    _S.PLANNED: {Fetch: _S.FETCHING, Verified: _S.VERIFIED},
    _S.FETCHING: {Fetch: _S.FETCHING, Progressed: _S.FETCHING, Verified: _S.VERIFIED},
    _S.VERIFIED: {Staged: _S.STAGED},
    _S.STAGED: {Probing: _S.STAGED, Probed: _S.PROBED},
    _S.PROBED: {Diverted: _S.CANARY, Checked: _S.COMMITTED},
    _S.CANARY: {Answered: _S.CANARY, Checked: _S.COMMITTED},
    _S.COMMITTED: {Drained: _S.DRAINED, Lived: _S.COMMITTED},
    _S.DRAINED: {Collected: _S.COLLECTED, Lived: _S.DRAINED},
    _S.COLLECTED: {Lived: _S.COLLECTED},
    _S.HELD: {},
    _S.CANCELLED: {},
    _S.QUARANTINED: {},
}


def plan(name: str, release: int, sha256: str, old_release: int, now: float) -> Rollout:
    """Return the row of a release that is to come; `sha256` is its manifest's."""
    row = Rollout(name=name, release=release, sha256=sha256, old_release=old_release)
    return enter(row, _S.PLANNED, now, RULES)


def advance(row: Rollout, event: Event, now: float, rules: Rules = RULES) -> Step:
    """Return the row after `event`, and what is to be done.

    An answer, a step or an end of waiting that comes too late, after the row went elsewhere,
    changes nothing.

    Raises:
        TransitionError: the owner wants a release back where there is none.
    """
    turn = TURNS.get(type(event))
    if turn is not None:
        return turn(row, event, now, rules)
    state = WAY[row.state].get(type(event))
    if state is None:
        return row, []
    after = _noted(row, event)
    if state is not row.state or isinstance(event, (Fetch, Progressed)):
        after = enter(after, state, now, rules)
    return after, _todo(after, event, rules)


def seconds_left(row: Rollout, now: float, rules: Rules = RULES) -> float | None:
    """Return how long its state may still last, or None; a clock that leaps counts for nothing."""
    if not row.deadline:
        return None
    most = max(rules.limits.get(row.state, 0.0), rules.probe_seconds)
    return min(max(row.deadline - now, 0.0), most)


def _noted(row: Rollout, event: Event) -> Rollout:
    """Return the row with what an event tells beside the change of state."""
    news: dict[str, object] = {}
    match event:
        case Verified(cost):
            news = {"attempts": 0, "reason": "", "cost": row.cost.plus(cost)}
        case Staged():
            news = {"attempts": 0, "reason": ""}
        case Progressed(cost):
            news = {"cost": row.cost.plus(cost)}
        case Probed(report):
            news = {"report": report}
        case Checked():
            news = {"trying": False, "trial": True, "crashes": 0, "reason": ""}
        case Drained(hold):
            news = {"hold_seconds": hold, "reason": ""}
        case Collected():
            news = {"reason": ""}
        case Lived():
            news = {"trial": False, "crashes": 0}
        case _:
            pass
    return msgspec.structs.replace(row, **news)


def _todo(row: Rollout, event: Event, rules: Rules) -> list[Effect]:
    """Return what follows from a step along the way."""
    if isinstance(event, Progressed | Lived | Fetch):
        return []
    if row.state is _S.DRAINED:
        return [DoCollect()]
    if row.state is _S.COLLECTED:
        return []
    if row.state is _S.PROBED and not rules.canary_requests:
        return [DoCheck()]
    return effects_of(row)
