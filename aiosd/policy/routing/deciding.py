"""Which expert answers where none was named: the feasible, those that are meant, the most useful.

What an answer is worth is how likely the text is meant for the expert, times how likely it answers
well, less what it takes. Between experts that are as good, the loaded one goes first, then the one
that needs the least RAM, then the name. One request in a hundred goes to another that is nearly as
useful, so that what is not asked can show that it became better; `chance` is handed in.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from aiosd.domain.decision import Decision, Reason, Removed, Survivor
from aiosd.domain.errors import AiosdError
from aiosd.domain.request import Privacy
from aiosd.policy.routing.feasible import Declared, Sorted, Stand, able, by_declaration
from aiosd.policy.routing.hearing import Hearing
from aiosd.policy.routing.no_route import not_meant, refusal, several
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted

# What an answer's cost weighs against its being right, which weighs 1.
PER_SECOND = 0.02
PER_JOULE = 0.01
PER_JOULE_WHEN_SHORT = 1.0
PER_COST = 1.0
PER_LOAD = 0.05
PER_GIB = 0.01
# While power is short, an expert of unknown joules goes after all others.
UNKNOWN_JOULES = 1e6
# The share of decisions that explore, and how much less useful the other may be.
EXPLORED = 0.01
NEARLY = 0.1
# Beyond so many experts only those that a text is closest to are looked at one by one.
MANY = 64
# What the scheduler refuses in its own words, which say more.
_SCHEDULERS_WORD = (Reason.HEALTH, Reason.RAM)


class Knowledge(NamedTuple):
    """What a decision may know beyond declarations and standing.

    `hear` takes the experts that the text may be for (None: any) and returns what it is meant for;
    it is None where there is no text or no head. `covered` are the experts that the head knows,
    `ok` is how likely an expert answers well, by sub-route. `chance` is a number from 0 to 1, drawn
    by the caller. `declared` is of the same catalogue, kept by who decides often.
    """

    hear: Callable[[Collection[str] | None], Hearing] | None = None
    covered: frozenset[str] = frozenset()
    ok: Callable[[str, str], float] = lambda _expert, _part: 1.0
    chance: float = 1.0
    explored: float = EXPLORED
    declared: Declared | None = None


NOTHING = Knowledge()


class Verdict(NamedTuple):
    """The record of a decision, and the error where nobody answers."""

    decision: Decision
    error: AiosdError | None = None


def decide(
    wanted: Wanted,
    catalogue: Mapping[str, RouteFacts],
    standing: Callable[[str], Standing],
    knowledge: Knowledge = NOTHING,
    number: int = 0,
) -> Verdict:
    """Return who answers, or why nobody does; `standing` is asked only of those that could.

    The error is `no_route` where no installed expert fits the task and the input or the text is for
    none of them; `over_power`, `deadline` or `refused_privacy` where those that could may not.
    """
    hearing, known, count = _narrowed(wanted, catalogue, knowledge)
    if hearing is None:
        hearing = _hearing(wanted, known.asked, knowledge)
    fit = known.fit
    strangers: list[Removed] = []
    if hearing is not None and wanted.task is None:
        fit, strangers = _meant(hearing, fit)
    left, removed = able(wanted, fit, standing)
    removed = [*known.unfit, *removed, *strangers]
    others = len(catalogue) - count
    if not left:
        record = _record(number, hearing, removed, others)
        return _nobody(wanted, catalogue, hearing, record)
    if hearing is None and wanted.task is None and len({facts.task for facts, _ in left}) > 1:
        error = several(wanted, sorted(facts.expert for facts, _ in left))
        return Verdict(_record(number, hearing, removed, others, why=error.message), error)
    # A text that is for none of a task's experts says nothing of which to take.
    heard = hearing if hearing is not None and hearing.meant else None
    unknown = Unknown(
        joules=max([now.joules or 0.0 for _, now in left]),
        seconds=max([now.seconds or 0.0 for _, now in left]),
    )
    survivors = [_weigh(wanted, stand, heard, knowledge, unknown) for stand in left]
    survivors.sort(key=lambda each: (-each.utility, each.expert))
    chosen, propensity = _explore(survivors, knowledge)
    return Verdict(
        _record(
            number,
            hearing,
            removed,
            others,
            winner=survivors[chosen].expert,
            why=_why(wanted, survivors, chosen, hearing),
            survivors=tuple(survivors),
            propensity=propensity,
            explored=chosen > 0,
        )
    )


def _record(  # noqa: PLR0913 - what is not known yet has its default
    number: int,
    hearing: Hearing | None,
    removed: Sequence[Removed],
    others: int,
    *,
    winner: str | None = None,
    why: str = "",
    survivors: tuple[Survivor, ...] = (),
    propensity: float = 1.0,
    explored: bool = False,
) -> Decision:
    """Return the record of a decision."""
    return Decision(
        id=number,
        winner=winner,
        why=why,
        removed=tuple(removed),
        others=others,
        survivors=survivors,
        gates=hearing.gates if hearing else (),
        nearest=hearing.nearest if hearing else (),
        propensity=propensity,
        explored=explored,
        head=hearing.head if hearing else "",
    )


def _narrowed(
    wanted: Wanted, catalogue: Mapping[str, RouteFacts], knowledge: Knowledge
) -> tuple[Hearing | None, Sorted, int]:
    """Return who could answer of those to look at, and how many those are: everybody, or some.

    Of very many those of the task, or those that a text is closest to. Who is not looked at is not
    asked how it stands either, so that thousands cost no more than the hearing.
    """
    declared = knowledge.declared
    if declared is None:
        declared = Declared(catalogue)
    if len(catalogue) <= MANY:
        return None, declared.sort(wanted), len(catalogue)
    if wanted.task is not None:
        mine = declared.of_task(wanted.task)
        return None, by_declaration(wanted, mine), len(mine)
    if knowledge.hear is None or not knowledge.covered:
        return None, declared.sort(wanted), len(catalogue)
    hearing = knowledge.hear(None)
    names = dict.fromkeys([*hearing.meant, *(each.expert for each in hearing.nearest)])
    near = [catalogue[name] for name in names if name in catalogue]
    return hearing, by_declaration(wanted, near), len(near)


def _hearing(wanted: Wanted, names: frozenset[str], knowledge: Knowledge) -> Hearing | None:
    """Return what the text is meant for, where there is a choice that it can help with."""
    if knowledge.hear is None or knowledge.covered.isdisjoint(names):
        return None
    if wanted.task is not None and (
        len(names) < 2 or not knowledge.covered.issuperset(names)  # noqa: PLR2004 - no choice
    ):
        return None  # one that brings no texts is not to lose to one that does
    return knowledge.hear(names)


def _meant(
    hearing: Hearing, fit: Sequence[RouteFacts]
) -> tuple[Sequence[RouteFacts], list[Removed]]:
    """Return those whom the text may be meant for; the others are removed with their chance.

    Those are not asked how they stand: their own reasons could change nothing.
    """
    chances, names = hearing.chances, hearing.meant
    least = min([chances[name] for name in names], default=1.0)
    meant: list[RouteFacts] = []
    removed: list[Removed] = []
    for facts in fit:
        name = facts.expert
        if name in names:
            meant.append(facts)
        else:
            found = chances.get(name, 0.0)
            removed.append(Removed(expert=name, reason=Reason.TEXT, found=found, limit=least))
    return meant, removed


def _nobody(
    wanted: Wanted,
    catalogue: Mapping[str, RouteFacts],
    hearing: Hearing | None,
    record: Decision,
) -> Verdict:
    """Let the scheduler refuse for an expert that rests or has no room, or say who came closest."""
    meant = list(record.removed)
    if hearing is not None and wanted.task is None:
        if not hearing.meant:
            error: AiosdError = not_meant(hearing)
            return Verdict(replace(record, why=error.message), error)
        meant = [each for each in meant if each.expert in hearing.meant]
    away = [each for each in meant if each.reason in _SCHEDULERS_WORD]
    if away and (hearing is not None or len({catalogue[each.expert].task for each in away}) == 1):
        first = min(away, key=lambda each: _refuses_first(each, catalogue))
        what = wanted.task or wanted.input_type.value
        return Verdict(replace(record, winner=first.expert, why=f"the only one for {what}"))
    error = refusal(wanted, catalogue, meant)
    return Verdict(replace(record, why=error.message), error)


def _refuses_first(
    each: Removed, catalogue: Mapping[str, RouteFacts]
) -> tuple[bool, bool, float | str, str]:
    """Return for which expert the refusal speaks: a local one, whose word keeps the request here.

    Then one that rests before one that has no room.
    """
    leaves = catalogue[each.expert].privacy is Privacy.UPLINK
    return (leaves, each.reason is Reason.RAM, each.found or 0.0, each.expert)


class Unknown(NamedTuple):
    """What an answer is taken to cost where nobody knows: as much as the dearest of the others."""

    joules: float
    seconds: float


def _weigh(
    wanted: Wanted,
    stand: Stand,
    hearing: Hearing | None,
    knowledge: Knowledge,
    unknown: Unknown,
) -> Survivor:
    """Return what is expected of an expert, and what that is worth."""
    facts, now = stand
    name = facts.expert
    part = hearing.parts.get(name, "") if hearing else ""
    chance = hearing.chances.get(name, 0.0) if hearing else None
    ok, seconds = knowledge.ok(name, part), now.seconds
    price = PER_JOULE * (unknown.joules if now.joules is None else now.joules)
    if wanted.frugal:
        price = PER_JOULE_WHEN_SHORT * (UNKNOWN_JOULES if now.joules is None else now.joules)
    takes_away = (
        price
        + PER_SECOND * (unknown.seconds if seconds is None else seconds)
        + PER_COST * now.cost
        + (0.0 if now.ready else PER_LOAD)
        + PER_GIB * now.need_bytes / 2**30
    )
    worth = (1.0 if chance is None else chance) * ok
    return Survivor(
        expert=name,
        part=part,
        probability=chance,
        ok=ok,
        ready=now.ready,
        need_bytes=now.need_bytes,
        seconds=seconds,
        joules=now.joules,
        utility=worth - takes_away,
    )


def _explore(survivors: Sequence[Survivor], knowledge: Knowledge) -> tuple[int, float]:
    """Return who is chosen, and how likely that was.

    All survivors are of one kind and privacy: exploring never sends anything anywhere else.
    """
    if len(survivors) == 1:
        return 0, 1.0
    best, share = survivors[0].utility, knowledge.explored
    others = [
        place for place, each in enumerate(survivors) if place and best - each.utility <= NEARLY
    ]
    if not others:
        return 0, 1.0
    if knowledge.chance < share:
        drawn = min(int(knowledge.chance / share * len(others)), len(others) - 1)
        return others[drawn], share / len(others)
    return 0, 1.0 - share


def _why(
    wanted: Wanted, survivors: Sequence[Survivor], chosen: int, hearing: Hearing | None
) -> str:
    """Say in a few words why the winner won."""
    winner, count = survivors[chosen], len(survivors)
    what = wanted.task or wanted.input_type.value
    if chosen:
        return f"one of {count} for {what}, drawn to learn how well it does"
    if hearing is not None and wanted.task is None:
        sure = f"meant for it ({winner.probability or 0.0:.2f})"
        return sure if count == 1 else f"may be {sure}, the most useful of {count}"
    if count == 1:
        return f"the only one for {what}"
    if wanted.frugal and winner.joules is not None:
        return (
            f"the cheapest of {count} in joules, about {winner.joules:.2g} J, for {what}, "
            "as power is short"
        )
    cheapest = min(survivors, key=lambda each: (not each.ready, each.need_bytes, each.expert))
    best = "cheapest" if winner is cheapest else "most useful"
    return f"the {best} of {count} for {what}"
