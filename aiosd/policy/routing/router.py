"""Which expert answers a request: the one that was named, or the one that is decided on.

A named expert is taken at its word: nothing is weighed and nothing is recorded. Otherwise those
that cannot are removed, each for a reason that can be said (`feasible.py`), a text is heard
(`hearing.py`), and of those that are left the most useful one wins (`deciding.py`).
"""

from collections.abc import Callable, Mapping

from aiosd.policy.routing.deciding import NOTHING, Knowledge, decide
from aiosd.policy.routing.no_route import over_joules, unfit, unknown
from aiosd.policy.routing.route_facts import Route, RouteFacts, Standing, Wanted

__all__ = ["Route", "RouteFacts", "Standing", "Wanted", "route"]


def route(
    wanted: Wanted,
    catalogue: Mapping[str, RouteFacts],
    standing: Callable[[str], Standing],
    knowledge: Knowledge = NOTHING,
) -> Route:
    """Return who answers; `standing` is asked only of those that could.

    Raises:
        UnknownExpertError: the named expert is not installed.
        InvalidError: the named expert takes another kind of input, or a smaller one.
        NoRouteError: no installed expert fits the task and the input.
        OverPowerError: those that could are expected to take more joules than the request allows.
        DeadlineError, RefusedPrivacyError: as `decide`.
    """
    if wanted.expert is not None:
        facts = catalogue.get(wanted.expert)
        if facts is None:
            raise unknown(wanted.expert, catalogue)
        if facts.input_type is not wanted.input_type or facts.max_bytes < wanted.input_bytes:
            fault = unfit(facts, wanted)
            if fault:
                raise fault
        if wanted.max_joules is not None:
            joules = standing(facts.expert).joules
            if joules is not None and joules > wanted.max_joules:
                raise over_joules(facts.expert, joules, wanted.max_joules)
        return Route(facts.expert, "named")
    decision, error = decide(wanted, catalogue, standing, knowledge)
    if error is not None:
        raise error
    return Route(decision.winner or "", decision.why)
