"""Why nobody answers, in words and numbers for whoever must act."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from aiosd.domain.decision import Reason, Removed
from aiosd.domain.errors import (
    AiosdError,
    DeadlineError,
    InvalidError,
    NoRouteError,
    OverPowerError,
    RefusedPrivacyError,
    UnknownExpertError,
)
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.routing.hearing import Hearing
from aiosd.policy.routing.route_facts import RouteFacts, Wanted

_ORDER = list(Reason)
# Reasons that may be gone at another time.
_FOR_NOW = (Reason.COST, Reason.HEALTH, Reason.RAM)


def unknown(name: str, catalogue: Mapping[str, RouteFacts]) -> UnknownExpertError:
    """Say that there is no such expert, and which names look alike."""
    nearest = get_close_matches(name, catalogue, n=3)
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; see: aiosctl list"
    return UnknownExpertError(f"no expert named {name!r} is installed{hint}", nearest=nearest)


def unfit(facts: RouteFacts, wanted: Wanted) -> AiosdError | None:
    """Return why the expert cannot take the input, or None."""
    text_of_chat = wanted.input_type is InputType.TEXT and facts.input_type is InputType.CHAT
    if wanted.input_type is not facts.input_type and not text_of_chat:
        return InvalidError(
            f"{facts.expert} takes {facts.input_type}, not {wanted.input_type}",
            field="input.type",
            expected=facts.input_type.value,
        )
    if wanted.input_bytes > facts.max_bytes:
        return InvalidError(
            f"the input has {wanted.input_bytes} bytes, "
            f"{facts.expert} takes at most {facts.max_bytes}",
            field="input",
            limit_bytes=facts.max_bytes,
        )
    return None


def over_joules(name: str, joules: float, most: float) -> OverPowerError:
    """Say what an answer is expected to take, and what it may."""
    return OverPowerError(
        f"{name} is expected to take about {joules:.3g} J, the request allows {most:g}",
        expert=name,
        predicted_joules=joules,
        max_joules=most,
    )


def several(wanted: Wanted, names: list[str]) -> NoRouteError:
    """Say that an input of this kind may be for several experts of different tasks."""
    return NoRouteError(
        f"several experts take a {wanted.input_type}: {', '.join(names[:8])}"
        f"{' …' if len(names) > 8 else ''}; "  # noqa: PLR2004 - a line for people
        "name one, or name a task",
        nearest=names[:8],
    )


def not_meant(hearing: Hearing) -> NoRouteError:
    """Say that the text is for none of the experts, and which came closest."""
    near = [f"{each.expert} ({each.probability:.2f})" for each in hearing.nearest]
    return NoRouteError(
        f"the text is for none of the installed experts; closest: {', '.join(near) or 'none'}; "
        "name an expert or a task to ask all the same",
        nearest=near,
    )


def refusal(
    wanted: Wanted, catalogue: Mapping[str, RouteFacts], removed: Sequence[Removed]
) -> AiosdError:
    """Return the error for those that came furthest, as it is they who could have answered."""
    furthest = max((_ORDER.index(each.reason) for each in removed), default=0)
    last = [each for each in removed if _ORDER.index(each.reason) == furthest]
    reason = _ORDER[furthest]
    if reason is Reason.JOULES:
        least = min(last, key=lambda each: (each.found, each.expert))
        return over_joules(least.expert, float(least.found or 0.0), wanted.max_joules or 0.0)
    if reason is Reason.DEADLINE:
        least = min(last, key=lambda each: (each.found, each.expert))
        return DeadlineError(
            f"{least.expert} is expected to take {float(least.found or 0.0):.3g} s, "
            f"{wanted.seconds or 0.0:.3g} s are left",
            stage="routing",
            expert=least.expert,
            predicted_seconds=round(float(least.found or 0.0), 3),
        )
    names = [each.expert for each in last]

    def is_local(each: Removed) -> bool:
        facts = catalogue.get(each.expert)
        return facts is None or facts.privacy is not Privacy.UPLINK

    if reason is Reason.PRIVACY:
        return RefusedPrivacyError(
            f"only {', '.join(names)} could answer, and a request to it leaves the board",
            nearest=names,
        )
    if reason in _FOR_NOW:
        near = [f"{each.expert}: {each.reason} {each.found}, {each.limit} at most" for each in last]
        error = NoRouteError(f"nobody can answer now: {'; '.join(near[:3])}", nearest=near[:3])
        # One of those that keeps its requests on the board, if any does.
        kept = [each.expert for each in removed if each.reason in _FOR_NOW and is_local(each)]
        if kept:
            error.details["expert"] = kept[0]
        return error
    return _no_route(wanted, catalogue, removed)


def _no_route(
    wanted: Wanted, catalogue: Mapping[str, RouteFacts], removed: Sequence[Removed]
) -> NoRouteError:
    """Say that nothing here does the task with such an input, and what came closest."""
    tasks = sorted({facts.task for facts in catalogue.values()})
    nearest: list[str] = []
    for each in removed:
        fault = None if each.reason is Reason.TASK else unfit(catalogue[each.expert], wanted)
        if fault is not None:
            nearest.append(f"{each.expert}: {fault.message}")
    what = f"task {wanted.task!r} with a {wanted.input_type}" if wanted.task else wanted.input_type
    return NoRouteError(
        f"no installed expert does {what}; installed tasks: {', '.join(tasks) or 'none'}",
        nearest=nearest[:3] or tasks,
    )
