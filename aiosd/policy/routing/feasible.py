"""Who could answer a request at all: nothing learnt, and every removal has a reason and numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from aiosd.domain.decision import Kind, Reason, Removed
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted

Stand = tuple[RouteFacts, Standing]
# So many kinds of requests are remembered; tasks are whatever apps ask for.
_REMEMBERED = 32


def takes(facts: RouteFacts, input_type: InputType) -> bool:
    """Tell whether an expert takes such an input; a text may begin a chat."""
    return facts.input_type is input_type or (
        input_type is InputType.TEXT and facts.input_type is InputType.CHAT
    )


class Declared:
    """Who can answer by declaration alone: looked up, while the same experts are installed.

    What is asked for repeats, and of thousands of experts each look would cost a millisecond.
    """

    def __init__(self, catalogue: Mapping[str, RouteFacts]) -> None:
        """Look at a catalogue that does not change; one that does is another."""
        self.catalogue = catalogue
        self._tasks: dict[str, list[RouteFacts]] = {}
        for facts in catalogue.values():
            self._tasks.setdefault(facts.task, []).append(facts)
        self._known: dict[tuple[str | None, InputType, Privacy], Sorted] = {}

    def of_task(self, task: str) -> Sequence[RouteFacts]:
        """Return the experts of a task."""
        return self._tasks.get(task, ())

    def sort(self, wanted: Wanted) -> "Sorted":
        """Return who of all experts could answer."""
        key = (wanted.task, wanted.input_type, wanted.privacy)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = by_declaration(replace(wanted, input_bytes=0), self.catalogue.values())
            # Size is looked at before privacy.
            most = min([self.catalogue[name].max_bytes for name in known.asked], default=0)
            known = self._known[key] = known._replace(most_bytes=most)
        if wanted.input_bytes <= known.most_bytes:
            return known
        return by_declaration(wanted, self.catalogue.values())


class Sorted(NamedTuple):
    """Who could answer by declaration, and who could not, why.

    `asked` are the names of those that a request is for: those that could, and those that privacy
    alone keeps from it. `most_bytes` is up to how many bytes of input that is so.
    """

    fit: Sequence[RouteFacts]
    unfit: Sequence[Removed]
    asked: frozenset[str]
    most_bytes: int = 0


def by_declaration(wanted: Wanted, catalogue: Iterable[RouteFacts]) -> Sorted:
    """Return who could answer by their declaration."""
    fit: list[RouteFacts] = []
    unfit: list[Removed] = []
    for facts in catalogue:
        reason = _declared(wanted, facts)
        if reason is None:
            fit.append(facts)
        else:
            unfit.append(reason)
    kept = [each.expert for each in unfit if each.reason is Reason.PRIVACY]
    return Sorted(fit, unfit, frozenset([*(facts.expert for facts in fit), *kept]))


def feasible(
    wanted: Wanted,
    catalogue: Iterable[RouteFacts] | Declared,
    standing: Callable[[str], Standing],
) -> tuple[list[Stand], list[Removed]]:
    """Return those that could answer with how they stand, and those that could not with the reason.

    `standing` is asked only of those that do the task and take the input.
    """
    if isinstance(catalogue, Declared):
        known = catalogue.sort(wanted)
    else:
        known = by_declaration(wanted, catalogue)
    left, removed = able(wanted, known.fit, standing)
    return left, [*known.unfit, *removed]


def able(
    wanted: Wanted, fit: Iterable[RouteFacts], standing: Callable[[str], Standing]
) -> tuple[list[Stand], list[Removed]]:
    """Return those that can answer as they stand now, and those that cannot with the reason."""
    left: list[Stand] = []
    removed: list[Removed] = []
    unbounded = wanted.seconds is None and wanted.max_joules is None and wanted.max_cost is None
    for facts in fit:
        now = standing(facts.expert)
        # One that is loaded and well needs no further look where nothing is bounded.
        well = unbounded and now.ready and now.rest_seconds <= 0
        reason = None if well else _now(wanted, facts.expert, now)
        if reason is None:
            left.append((facts, now))
        else:
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
