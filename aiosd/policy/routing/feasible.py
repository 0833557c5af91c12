"""Who could answer a request at all: nothing learnt, and every removal has a reason and numbers."""

from collections.abc import Callable, Iterable

from aiosd.domain.decision import Kind, Reason, Removed
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted

Stand = tuple[RouteFacts, Standing]


def takes(facts: RouteFacts, input_type: InputType) -> bool:
    """Tell whether an expert takes such an input; a text may begin a chat."""
    return facts.input_type is input_type or (
        input_type is InputType.TEXT and facts.input_type is InputType.CHAT
    )


def feasible(
    wanted: Wanted, catalogue: Iterable[RouteFacts], standing: Callable[[str], Standing]
) -> tuple[list[Stand], list[Removed]]:
    """Return those that could answer with how they stand, and those that could not with the reason.

    `standing` is asked only of those that do the task and take the input.
    """
    left: list[Stand] = []
    removed: list[Removed] = []
    for facts in catalogue:
        reason = _declared(wanted, facts)
        if reason is None:
            now = standing(facts.expert)
            reason = _now(wanted, facts.expert, now)
            if reason is None:
                left.append((facts, now))
                continue
        removed.append(reason)
    return left, removed


def _declared(wanted: Wanted, facts: RouteFacts) -> Removed | None:
    """Return why an expert's own declaration rules it out, or None."""
    name = facts.expert
    if wanted.task is not None and facts.task != wanted.task:
        return Removed(expert=name, reason=Reason.TASK, found=facts.task, limit=wanted.task)
    if not takes(facts, wanted.input_type):
        return Removed(
            expert=name,
            reason=Reason.INPUT_TYPE,
            found=facts.input_type.value,
            limit=wanted.input_type.value,
        )
    if wanted.input_bytes > facts.max_bytes:
        return Removed(
            expert=name, reason=Reason.SIZE, found=wanted.input_bytes, limit=facts.max_bytes
        )
    if facts.kind is Kind.UPLINK and wanted.privacy is Privacy.LOCAL:
        return Removed(
            expert=name,
            reason=Reason.PRIVACY,
            found=facts.kind.value,
            limit=wanted.privacy.value,
        )
    return None


def _now(wanted: Wanted, name: str, now: Standing) -> Removed | None:
    """Return why an expert cannot answer as things stand, or None."""
    found: tuple[Reason, float, float] | None = None
    if now.rest_seconds > 0:
        found = Reason.HEALTH, now.rest_seconds, 0.0
    elif now.room_bytes is not None and not now.ready and now.need_bytes > now.room_bytes:
        found = Reason.RAM, now.need_bytes, now.room_bytes
    elif wanted.seconds is not None and (now.seconds or 0.0) > wanted.seconds:
        found = Reason.DEADLINE, now.seconds or 0.0, wanted.seconds
    elif wanted.max_joules is not None and (now.joules or 0.0) > wanted.max_joules:
        found = Reason.JOULES, now.joules or 0.0, wanted.max_joules
    elif wanted.max_cost is not None and now.cost > wanted.max_cost:
        found = Reason.COST, now.cost, wanted.max_cost
    if found is None:
        return None
    return Removed(expert=name, reason=found[0], found=found[1], limit=found[2])
