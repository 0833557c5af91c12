"""Which expert answers a request: the feasible ones first, then the cheapest of them.

Nothing here is learnt: an expert is removed for a reason that can be said (not of that name, not
of that task, takes another kind of input, takes less, takes more joules than it may). Among several
of one task the loaded one goes first, then the one that needs the least RAM, then the name; never
chance. While power is short the one that is expected to take the fewest joules goes first.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

import msgspec

from aiosd.domain.errors import (
    AiosdError,
    InvalidError,
    NoRouteError,
    OverPowerError,
    UnknownExpertError,
)
from aiosd.domain.inputs import InputType


class RouteFacts(msgspec.Struct, frozen=True):
    """What routing looks at of one expert."""

    expert: str
    task: str
    input_type: InputType
    max_bytes: int


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for: an expert, a task, or neither, with this kind of input.

    `frugal` says that power is short; `max_joules` is the most that the answer may be expected to
    take.
    """

    expert: str | None
    task: str | None
    input_type: InputType
    input_bytes: int
    frugal: bool = False
    max_joules: float | None = None


class Route(msgspec.Struct, frozen=True):
    """The expert that answers, and why in a few words."""

    expert: str
    why: str


class Standing(msgspec.Struct, frozen=True):
    """How an expert stands right now: loaded or not, what it needs, what an answer takes.

    `joules` is None before anything is known of it.
    """

    ready: bool
    need_bytes: int
    joules: float | None = None


def route(
    wanted: Wanted, catalogue: Mapping[str, RouteFacts], standing: Callable[[str], Standing]
) -> Route:
    """Return who answers; `standing` is asked only of those that could.

    Raises:
        UnknownExpertError: the named expert is not installed.
        InvalidError: the named expert takes another kind of input, or a smaller one.
        NoRouteError: no installed expert fits the task and the input.
        OverPowerError: those that could are expected to take more joules than the request allows.
    """
    if wanted.expert is not None:
        facts = catalogue.get(wanted.expert)
        if facts is None:
            raise _unknown(wanted.expert, catalogue)
        if facts.input_type is not wanted.input_type or facts.max_bytes < wanted.input_bytes:
            unfit = _unfit(facts, wanted)
            if unfit:
                raise unfit
        if wanted.max_joules is not None:
            _affordable(wanted, [facts], standing)
        return Route(facts.expert, "named")
    return _choose(wanted, catalogue, standing)


def _choose(
    wanted: Wanted, catalogue: Mapping[str, RouteFacts], standing: Callable[[str], Standing]
) -> Route:
    """Return the cheapest of those that can answer."""
    left: list[RouteFacts] = []
    nearest: list[str] = []
    for facts in catalogue.values():
        if wanted.task is not None and facts.task != wanted.task:
            continue
        unfit = _unfit(facts, wanted)
        if unfit:
            nearest.append(f"{facts.expert}: {unfit.message}")
        else:
            left.append(facts)
    if not left:
        raise _no_route(wanted, catalogue.values(), nearest)
    if wanted.task is None and len({facts.task for facts in left}) > 1:
        names = sorted(facts.expert for facts in left)
        raise NoRouteError(
            f"several experts take a {wanted.input_type}: {', '.join(names)}; "
            "name one, or name a task",
            nearest=names,
        )

    left = _affordable(wanted, left, standing)

    def cost(facts: RouteFacts) -> tuple[float, bool, int, str]:
        now = standing(facts.expert)
        joules = 0.0
        if wanted.frugal:
            joules = math.inf if now.joules is None else now.joules
        return (joules, not now.ready, now.need_bytes, facts.expert)

    best = min(left, key=cost)
    only = "the only one" if len(left) == 1 else f"the cheapest of {len(left)}"
    what = wanted.task or wanted.input_type
    joules = standing(best.expert).joules if wanted.frugal and len(left) > 1 else None
    if joules is None:
        return Route(best.expert, f"{only} for {what}")
    price = f"in joules, about {joules:.2g} J,"
    return Route(best.expert, f"{only} {price} for {what}, as power is short")


def _affordable(
    wanted: Wanted, facts: list[RouteFacts], standing: Callable[[str], Standing]
) -> list[RouteFacts]:
    """Return those that are not known to take more joules than the request allows.

    Raises:
        OverPowerError: there is none.
    """
    most = wanted.max_joules
    if most is None:
        return facts
    joules = {each.expert: standing(each.expert).joules for each in facts}
    left = [each for each in facts if (joules[each.expert] or 0.0) <= most]
    if left:
        return left
    least, name = min((known, name) for name, known in joules.items() if known is not None)
    raise OverPowerError(
        f"{name} is expected to take about {least:.3g} J, the request allows {most:g}",
        expert=name,
        predicted_joules=least,
        max_joules=most,
    )


def _unfit(facts: RouteFacts, wanted: Wanted) -> AiosdError | None:
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


def _unknown(name: str, catalogue: Mapping[str, RouteFacts]) -> UnknownExpertError:
    """Say that there is no such expert, and which names look alike."""
    nearest = get_close_matches(name, catalogue, n=3)
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; see: aiosctl list"
    return UnknownExpertError(f"no expert named {name!r} is installed{hint}", nearest=nearest)


def _no_route(wanted: Wanted, installed: Iterable[RouteFacts], nearest: list[str]) -> NoRouteError:
    """Say that nothing here can answer, and what came closest."""
    tasks = sorted({facts.task for facts in installed})
    what = f"task {wanted.task!r} with a {wanted.input_type}" if wanted.task else wanted.input_type
    return NoRouteError(
        f"no installed expert does {what}; installed tasks: {', '.join(tasks) or 'none'}",
        nearest=nearest[:3] or tasks,
    )
