"""How long each state of a release may last, and what each begins with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import (
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
    Effect,
)

TRIES = 2
CRASHES = 3
# The daemon crashing so soon after a commit is put down to what was committed.
TRIAL_SECONDS = 300.0
# What failed by chance, or for want of RAM or power, is tried again after this.
RETRY_SECONDS = 300.0

_S = State
Step = tuple[Rollout, list[Effect]]
BEFORE_COMMIT = (_S.PLANNED, _S.FETCHING, _S.VERIFIED, _S.STAGED, _S.PROBED, _S.CANARY)
AFTER_COMMIT = (_S.COMMITTED, _S.DRAINED, _S.COLLECTED)
IN_DAEMON = (_S.STAGED, _S.PROBED, _S.CANARY)

# How long a state may last, seconds; a probe that has begun and a last check have limits of
# their own. What is meant to wait (for its window, or a daemon that is off) may wait long.
LIMITS = MappingProxyType(
    {
        _S.PLANNED: 7 * 86_400.0,
        _S.FETCHING: 3_600.0,
        _S.VERIFIED: 600.0,
        _S.STAGED: 86_400.0,
        _S.PROBED: 600.0,
        _S.CANARY: 3_600.0,
        _S.COMMITTED: 600.0,
        _S.DRAINED: 3_600.0,
    }
)


@dataclass(frozen=True)
class Rules:
    """What the owner says: how many requests a canary is, how many may fail or be slow."""

    canary_requests: int = 20
    canary_failures: int = 0
    canary_slow_share: float = 0.25
    probe_seconds: float = 600.0
    limits: Mapping[State, float] = field(default_factory=lambda: LIMITS)


RULES = Rules()


def enter(row: Rollout, state: State, now: float, rules: Rules) -> Rollout:
    """Return the row at the beginning of a state."""
    limit = rules.limits.get(state)
    deadline = now + limit if limit is not None else 0.0
    return msgspec.structs.replace(
        row, state=state, since=now, deadline=deadline, paused=False, checking=False
    )


def effects_of(row: Rollout) -> list[Effect]:
    """Return what is to be done for a release that is in this state, from its beginning."""
    effects: list[Effect] = []
    match row.state:
        case _S.PLANNED | _S.FETCHING:
            effects = [DoFetch()]
        case _S.VERIFIED:
            effects = [DoStage()]
        case _S.STAGED:
            effects = [DoProbe()]
        case _S.PROBED:
            effects = [DoDivert() if row.old_release else DoCheck()]
        case _S.COMMITTED:
            effects = [DoActivate(row.release)]
        case _S.DRAINED:
            effects = [DoCollect()]
        case _S.QUARANTINED | _S.CANCELLED:
            effects = [DoReturn(row.release, row.old_release), DoDiscard(row.release)]
        case _S.CANARY | _S.HELD | _S.COLLECTED:
            pass
    return [*effects, DoWatch()] if row.trial else effects
