"""The life of an expert: its states, what may happen to it, and the one table of transitions."""

from enum import StrEnum


class ExpertState(StrEnum):
    """Where an installed expert is in its life.

    A parked one has its process and its model, and has given back what only an answer needs.
    """

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    PARKING = "parking"
    PARKED = "parked"
    DRAINING = "draining"
    FAILED = "failed"


class ExpertEvent(StrEnum):
    """What may happen to an expert."""

    LOAD = "load"
    LOADED = "loaded"
    PARK = "park"
    PARKED = "parked"
    RESUME = "resume"
    DRAIN = "drain"
    EXITED = "exited"
    GAVE_UP = "gave_up"
    RETRY = "retry"


class TransitionError(Exception):
    """An event came in a state that has no place for it: a defect in the daemon."""


_S = ExpertState
_E = ExpertEvent

TRANSITIONS: dict[ExpertState, dict[ExpertEvent, ExpertState]] = {
    _S.COLD: {_E.LOAD: _S.LOADING, _E.GAVE_UP: _S.FAILED},
    _S.LOADING: {
        _E.LOADED: _S.READY,
        _E.DRAIN: _S.DRAINING,
        _E.EXITED: _S.COLD,
        _E.GAVE_UP: _S.FAILED,
    },
    _S.READY: {
        _E.PARK: _S.PARKING,
        _E.DRAIN: _S.DRAINING,
        _E.EXITED: _S.COLD,
        _E.GAVE_UP: _S.FAILED,
    },
    _S.PARKING: {_E.PARKED: _S.PARKED, _E.EXITED: _S.COLD, _E.GAVE_UP: _S.FAILED},
    _S.PARKED: {
        _E.PARK: _S.PARKING,
        _E.RESUME: _S.READY,
        _E.DRAIN: _S.DRAINING,
        _E.EXITED: _S.COLD,
        _E.GAVE_UP: _S.FAILED,
    },
    _S.DRAINING: {_E.EXITED: _S.COLD, _E.GAVE_UP: _S.FAILED},
    _S.FAILED: {_E.RETRY: _S.COLD},
}


def advance(state: ExpertState, event: ExpertEvent) -> ExpertState:
    """Return the state after `event`.

    Raises:
        TransitionError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise TransitionError(f"{event} cannot happen to an expert that is {state}") from None
