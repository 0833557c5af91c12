"""What happens to a release off its way: tries, canaries, failures, the owner, starts and stops."""

from collections.abc import Callable

import msgspec

from aiosd.domain.expert import TransitionError
from aiosd.domain.rollout import Canary, Rollout, State
from aiosd.policy.rollout.events import (
    Answered,
    Cancelled,
    DoActivate,
    DoCheck,
    DoCollect,
    DoFetch,
    DoProbe,
    DoReturn,
    Effect,
    Event,
    Expired,
    Failed,
    Fault,
    Held,
    Probing,
    Resumed,
    RolledBack,
    Stopped,
)
from aiosd.policy.rollout.rules import (
    AFTER_COMMIT,
    BEFORE_COMMIT,
    CRASHES,
    IN_DAEMON,
    RETRY_SECONDS,
    TRIAL_SECONDS,
    TRIES,
    Rules,
    Step,
    effects_of,
    enter,
)

_S = State


def _probing(row: Rollout, _event: Event, now: float, rules: Rules) -> Step:
    """Count a try before it begins, so that one that ends the daemon is counted too."""
    if row.state is not _S.STAGED:
        return row, []
    begun = msgspec.structs.replace(
        row,
        paused=False,
        trying=True,
        attempts=row.attempts + 1,
        canary=Canary(),
        deadline=now + rules.probe_seconds,
    )
    return begun, []


def _answered(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Count an answer of the canary; enough good ones, and it is checked a last time."""
    if row.state is not _S.CANARY or not isinstance(event, Answered):
        return row, []
    count = row.canary
    count = Canary(
        good=count.good + event.good,
        slow=count.slow + (event.good and event.slow),
        failed=count.failed + (not event.good),
    )
    row = msgspec.structs.replace(row, canary=count)
    if count.failed > rules.canary_failures:
        why = f"canary: {count.failed} of {count.asked} requests failed"
        return _failed(row, Failed(why), now, rules)
    if count.asked < rules.canary_requests or row.checking:
        return row, []
    return _check(row, now, rules)


def _check(row: Rollout, now: float, rules: Rules) -> Step:
    """Judge the canary's time, then have the self-tests run again."""
    count = row.canary
    # One slow answer is nobody's fault.
    if count.slow > 1 and count.slow > rules.canary_slow_share * count.good:
        why = f"canary: {count.slow} of {count.good} answers were slow"
        return _failed(row, Failed(why), now, rules)
    row = msgspec.structs.replace(row, checking=True, deadline=now + rules.probe_seconds)
    return row, [DoCheck()]


# ── off the way ──────────────────────────────────────────────────────────────────────────────


def _failed(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Try again, or never."""
    if not isinstance(event, Failed) or (row.ended and row.state is not _S.COLLECTED):
        return row, []
    reason = event.reason[:1000]
    if row.state in AFTER_COMMIT:
        if row.trial and event.fault is Fault.RELEASE:
            return _quarantine(row, reason, now, rules)
        return msgspec.structs.replace(row, reason=reason), []
    if row.state is _S.HELD:
        return row, []
    counted = row.state in IN_DAEMON and row.trying
    attempts = row.attempts
    if event.fault is Fault.CHANCE:
        attempts += not counted
    elif event.fault is Fault.WORLD:
        attempts -= counted
    row = msgspec.structs.replace(row, attempts=attempts)
    if event.fault is Fault.RELEASE or attempts >= TRIES:
        return _quarantine(row, reason, now, rules)
    back = _S.STAGED if row.state in IN_DAEMON else _S.PLANNED
    effects: list[Effect] = [DoFetch(RETRY_SECONDS)]
    if back is _S.STAGED:
        effects = [DoReturn(row.release, row.old_release), DoProbe(RETRY_SECONDS)]
    # What waits for the world goes on waiting: its deadline is that of its first try.
    since = row.since if row.state is back else now
    row = msgspec.structs.replace(row, trying=False, reason=reason)
    return enter(row, back, since, rules), effects


def _quarantine(row: Rollout, reason: str, now: float, rules: Rules) -> Step:
    """Let the old release serve; this one is not tried again."""
    row = msgspec.structs.replace(row, trying=False, trial=False, reason=reason)
    row = enter(row, _S.QUARANTINED, now, rules)
    return row, effects_of(row)


def _expired(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Do what the end of a state's time demands; what has no deadline is left alone."""
    if not row.deadline or not isinstance(event, Expired):
        return row, []
    after = f"after {rules.limits.get(row.state, 0.0):.0f} s in state {row.state.value}"
    match row.state:
        case _S.COMMITTED:
            step: Step = (enter(row, row.state, now, rules), [DoActivate(row.release, force=True)])
        case _S.DRAINED:
            step = (enter(row, row.state, now, rules), [DoCollect()])
        case _S.PLANNED:
            step = _ended(row, f"not begun {after}", now, rules)
        case _S.STAGED if not row.trying:
            why = f": {row.reason}" if row.reason else ""
            step = _ended(row, f"not probed {after}{why}", now, rules)
        case _S.CANARY if not row.checking:
            # Few requests came and none failed: the self-tests decide.
            step = _check(row, now, rules)
        case _ if row.trying and event.lacking:
            # A try that never ran says nothing of the release.
            step = _failed(row, Failed(event.lacking, Fault.WORLD), now, rules)
        case _S.FETCHING:
            step = _failed(row, Failed(f"nothing came {after}", Fault.WORLD), now, rules)
        case _:
            why = f"not done {after}"
            if row.trying:
                why = f"a probe or a check took longer than {rules.probe_seconds:.0f} s"
            step = _failed(row, Failed(why, Fault.CHANCE), now, rules)
    return step


def _cancelled(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Give up a release that is not committed yet."""
    if not isinstance(event, Cancelled) or row.state not in (*BEFORE_COMMIT, _S.HELD):
        return row, []
    return _ended(row, event.reason[:1000], now, rules)


def _ended(row: Rollout, reason: str, now: float, rules: Rules) -> Step:
    """Give a release up, with nothing against it."""
    row = msgspec.structs.replace(row, trying=False, reason=reason)
    row = enter(row, _S.CANCELLED, now, rules)
    return row, effects_of(row)


def _held(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Stop where it is, or go on; what is committed is not stopped half-way."""
    if not isinstance(event, Held):
        return row, []
    if event.on and row.state in BEFORE_COMMIT:
        back = row.state
        if back in (_S.FETCHING, *IN_DAEMON):
            back = _S.PLANNED if back is _S.FETCHING else _S.STAGED
        effects: list[Effect] = []
        if row.trying:
            effects = [DoReturn(row.release, row.old_release)]
        excused = row.attempts - row.trying
        row = msgspec.structs.replace(row, back=back, trying=False, attempts=excused)
        return enter(row, _S.HELD, now, rules), effects
    if not event.on and row.state is _S.HELD:
        back = row.back or _S.PLANNED
        row = enter(msgspec.structs.replace(row, back=None), back, now, rules)
        return row, effects_of(row)
    return row, []


def _rolled_back(row: Rollout, event: Event, now: float, rules: Rules) -> Step:
    """Go back to the release before."""
    if not isinstance(event, RolledBack):
        return row, []
    if not row.old_release or row.state not in (_S.PROBED, _S.CANARY, *AFTER_COMMIT):
        raise TransitionError(f"{row.name} has no release to go back to")
    return _quarantine(row, event.reason[:1000], now, rules)


# ── starts and stops ─────────────────────────────────────────────────────────────────────────


def _stopped(row: Rollout, _event: Event, _now: float, _rules: Rules) -> Step:
    """Note that what goes on was ended in peace."""
    if row.paused or not (row.trying or row.trial):
        return row, []
    return msgspec.structs.replace(row, paused=True), []


def _resumed(row: Rollout, _event: Event, now: float, rules: Rules) -> Step:
    """Go on after a start: its state's time begins again, and a crash is counted.

    A probe or a canary begins anew.
    """
    if row.trial:
        crashes = row.crashes + (not row.paused)
        row = msgspec.structs.replace(row, crashes=crashes)
        if crashes >= CRASHES:
            why = f"the daemon crashed {crashes} times within {TRIAL_SECONDS:.0f} s of the commit"
            return _quarantine(row, why, now, rules)
    if row.trying:
        row = msgspec.structs.replace(row, trying=False, attempts=row.attempts - row.paused)
        if row.attempts >= TRIES:
            why = f"{row.attempts} probes or canaries ended with the daemon"
            return _quarantine(row, why, now, rules)
    state = _S.STAGED if row.state in IN_DAEMON else row.state
    row = enter(row, state, now, rules)
    return row, effects_of(row)


TURNS: dict[type[Event], Callable[[Rollout, Event, float, Rules], Step]] = {
    Probing: _probing,
    Answered: _answered,
    Failed: _failed,
    Expired: _expired,
    Cancelled: _cancelled,
    Held: _held,
    RolledBack: _rolled_back,
    Stopped: _stopped,
    Resumed: _resumed,
}
