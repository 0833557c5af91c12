"""The router with its memory: hears texts, decides, keeps the record, learns from what comes of it.

Only requests that name no expert come here. What is decided is in `aiosd.policy`; this holds the
head, the success table and the running times, and asks the world how experts stand.
"""

import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from aiosd.daemon.admission import joules_of
from aiosd.daemon.cost import Energy
from aiosd.daemon.pending import Pending
from aiosd.domain.decision import Decision
from aiosd.domain.errors import AiosdError, BusyError, NoRouteError
from aiosd.domain.expert import ExpertState
from aiosd.domain.inputs import ChatInput, Input, TextInput, type_of
from aiosd.domain.request import Options
from aiosd.policy.routing.cascade import MADE_UP
from aiosd.policy.routing.chance import draw
from aiosd.policy.routing.deciding import EXPLORED, Knowledge, decide
from aiosd.policy.routing.feasible import Declared, feasible
from aiosd.policy.routing.head import Head
from aiosd.policy.routing.hearing import Hearing, explain, hear
from aiosd.policy.routing.record import Record
from aiosd.policy.routing.route_facts import Route, RouteFacts, Standing, Wanted
from aiosd.policy.routing.success import SuccessTable, Tally
from aiosd.policy.serving.run_times import RunTimes
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.protocol.messages import Decisions, Explain, Feedback, Run
from aiosd.protocol.pipe import Done

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# What an answer's own signs weigh against somebody's word, which weighs 1.
CHECKED = 0.25
DISOWNED = 0.5
_READY, _PARKED, _FAILED = ExpertState.READY, ExpertState.PARKED, ExpertState.FAILED
# How an expert says itself that a text was not for it.
_NONE = "none"


class Installed(Protocol):
    """Who knows what is installed; `Inventory` does. Routes that change are another mapping."""

    routes: dict[str, RouteFacts]


class Routing:
    """Everything that routing remembers."""

    def __init__(
        self,
        scheduler: Scheduler,
        installed: Installed,
        energy: Energy,
        now: Callable[[], float],
        seed: int = 0,
    ) -> None:
        """Start with no head: until one is there only tasks and kinds of input tell experts apart.

        `now` is the scheduler's monotonic clock; `seed` is what exploration is drawn from.
        """
        self._scheduler = scheduler
        self._installed = installed
        self._energy = energy
        self._now = now
        self._seed = seed
        self._numbers = itertools.count(1)
        self._book: Path | None = None
        self._declared = Declared({})
        self.head: Head | None = None
        self.learning = False
        self.explored = EXPLORED
        self.record = Record()
        self.success = SuccessTable()
        self.times = RunTimes()

    # ── deciding ──────────────────────────────────────────────────────────────────────────────

    def pick(self, run: Run, size: int) -> Route:
        """Return who answers a request that names no expert.

        Raises:
            AiosdError: nobody can, or the head is being made.
        """
        number, began = next(self._numbers), time.perf_counter()
        wanted = self._wanted(run.input, run.task, run.options, size)
        knowledge = self._knowledge(text_of(run.input), draw(self._seed, number))
        decision, error = decide(
            wanted, self._installed.routes, self.standing, knowledge.known, number
        )
        if run.options.explain:
            decision = knowledge.explained(decision)
        decision = replace(decision, micros=(time.perf_counter() - began) * 1e6)
        self.record.add(replace(decision, grams=()) if decision.grams else decision)
        if error is not None:
            raise self._or_learning(error)
        shown: Decision | msgspec.UnsetType = decision if run.options.explain else msgspec.UNSET
        return Route(decision.winner or "", decision.why, number, shown)

    def explain(self, text: str, task: str | None, options: Options) -> Decision:
        """Return what would be decided for a text; nothing is counted and nothing drawn."""
        began = time.perf_counter()
        value = TextInput(text=text)
        wanted = self._wanted(value, task, options, len(text.encode()))
        knowledge = self._knowledge(text, chance=1.0)
        decision, _ = decide(wanted, self._installed.routes, self.standing, knowledge.known)
        decision = knowledge.explained(decision)
        return replace(decision, micros=(time.perf_counter() - began) * 1e6)

    def above(self, run: Run, asked: Sequence[str]) -> str | None:
        """Return who else could answer a text, larger than who answered last and is in doubt.

        Only experts that the text may be meant for are asked, or those that make up an answer as
        the last one did; where the request names the task, also those that bring no texts to tell.
        Two that do a task and answer with other labels are not asked the same.
        """
        text, routes = text_of(run.input) or "", self._installed.routes
        last = routes.get(asked[-1])
        if last is None:
            return None
        others = [
            facts
            for name, facts in routes.items()
            if name not in asked and facts.task == last.task and last.labels <= facts.labels
        ]
        if last.task not in MADE_UP:
            head = self.head
            meant = hear(head, text).meant if head is not None else ()
            taught = head.experts if head is not None else ()
            others = [
                facts
                for facts in others
                if facts.expert in meant or (run.task is not None and facts.expert not in taught)
            ]
        wanted = self._wanted(run.input, last.task, run.options, len(text.encode()))
        left, _ = feasible(wanted, others, self.standing)
        least = self.standing(asked[-1]).need_bytes
        larger = [(now.need_bytes, facts.expert) for facts, now in left if now.need_bytes > least]
        return min(larger)[1] if larger else None

    # ── learning ──────────────────────────────────────────────────────────────────────────────

    def on_done(self, pending: Pending, done: Done, joules: float | None) -> None:
        """Take what an answer took, once it is sent, and what it says of itself."""
        seconds = done.run_ms * 1e-3
        self.times.on_run(pending.route.expert, seconds)
        number = pending.route.id
        if not number:
            return
        waited = pending.load_seconds + pending.resume_seconds
        decision = self.record.on_answer(number, seconds + waited, joules)
        if decision is None:
            return
        if done.output.get("label") == _NONE:
            self._count(decision, ok=False, weight=DISOWNED)
        sampling = pending.run.options.sampling
        if sampling.json_schema is not None or sampling.grammar is not None:
            self._count(decision, ok=True, weight=CHECKED)

    def on_failed(self, pending: Pending | None) -> None:
        """Take note that a request could not be answered by the expert that was decided on."""
        decision = self.record.find(pending.route.id) if pending is not None else None
        if decision is not None:
            self._count(decision, ok=False, weight=1.0)

    def on_feedback(self, number: int, *, good: bool) -> dict[str, object]:
        """Take what somebody thought of an answer; return what is now thought of the expert.

        Raises:
            InvalidError: as `Record.on_feedback`.
        """
        decision = self.record.on_feedback(number, good=good)
        expert, part = self._count(decision, ok=good, weight=1.0)
        self.save()
        ok = self.success.ok(expert, part, time.time())
        return {"id": number, "expert": expert, "part": part, "good": good, "ok": ok}

    def forget(self, experts: Iterable[str]) -> None:
        """Forget experts that were removed, or are another release now."""
        for expert in experts:
            self.success.forget(expert)
            self.times.forget(expert)

    # ── what is kept ──────────────────────────────────────────────────────────────────────────

    def open(self, book: Path) -> None:
        """Take up what was learned before; a missing or damaged book is an empty one."""
        self._book = book
        try:
            kept = msgspec.json.decode(book.read_bytes(), type=dict[str, dict[str, Tally]])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: %s; the router learns anew who answers well", book, error)
            return
        self.success = SuccessTable(kept)

    def save(self) -> None:
        """Keep what was learned; not synced, for a power cut only loses the last words."""
        if self._book is None:
            return
        draft = self._book.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.encode(self.success.rows()))
            draft.replace(self._book)
        except OSError as error:
            log.warning("%s: %s; feedback is forgotten at the end", self._book, error.strerror)

    def answer(self, verb: Explain | Feedback | Decisions) -> dict[str, object]:
        """Return the body of the reply to a verb.

        Raises:
            InvalidError: there is no such decision, or it was judged already.
        """
        match verb:
            case Explain():
                decision = self.explain(verb.text, verb.task, verb.options)
                return {"decision": msgspec.to_builtins(decision)}
            case Feedback():
                return self.on_feedback(verb.id, good=verb.good)
            case Decisions():
                return self.told_in_full(verb.last)

    def told(self) -> dict[str, object]:
        """Return what `status` tells of routing."""
        if self.head is None:
            return {"head": None, "learning": self.learning}
        facts, measures = self.head.facts, self.head.facts.measures
        return {
            "head": facts.key,
            "learning": self.learning,
            "routes": len(facts.routes) - 1,
            "measured_texts": measures.texts,
            "accuracy": measures.accuracy,
            "calibration_error": measures.calibration_error,
        }

    def told_in_full(self, last: int) -> dict[str, object]:
        """Return the last decisions, and everything that was measured and learned."""
        facts = self.head.facts if self.head else None
        return {
            "decisions": msgspec.to_builtins(self.record.last(last)),
            "success": self.tallies(),
            "thresholds": msgspec.to_builtins(facts.thresholds) if facts else None,
            "measured": msgspec.to_builtins(facts.measures) if facts else None,
            **self.told(),
        }

    def tallies(self) -> list[dict[str, object]]:
        """Return the success table, as it weighs now."""
        now = time.time()
        return [
            {
                "expert": expert,
                "part": part,
                "good": round(tally.faded(now).good, 2),
                "bad": round(tally.faded(now).bad, 2),
                "ok": round(self.success.ok(expert, part, now), 4),
            }
            for expert, parts in sorted(self.success.rows().items())
            for part, tally in sorted(parts.items())
        ]

    # ── what a decision looks at ──────────────────────────────────────────────────────────────

    def _wanted(self, value: Input, task: str | None, options: Options, size: int) -> Wanted:
        """Return the request as the policy takes it.

        Raises:
            InvalidError: `max_joules` is no number above zero.
        """
        return Wanted(
            None,
            task,
            type_of(value),
            size,
            frugal=self._energy.frugal,
            max_joules=joules_of(options),
            max_cost=options.max_cost,
            # What is no time at all is refused in admission's own words.
            seconds=options.deadline_seconds if (options.deadline_seconds or 0) > 0 else None,
            privacy=options.privacy,
        )

    def _knowledge(self, text: str | None, chance: float) -> "_Ear":
        """Return what is known for one decision."""
        if self._declared.catalogue is not self._installed.routes:
            self._declared = Declared(self._installed.routes)
        return _Ear(self.head, text, self._ok, chance, self.explored, self._declared)

    def _ok(self, expert: str, part: str) -> float:
        return self.success.ok(expert, part, time.time())

    def _count(self, decision: Decision, *, ok: bool, weight: float) -> tuple[str, str]:
        """Count an answer of the winner; return it with the sub-route that the text was of."""
        expert = decision.winner or ""
        part = next((each.part for each in decision.survivors if each.expert == expert), "")
        self.success.on_answer(expert, part, time.time(), ok=ok, weight=weight)
        return expert, part

    def standing(self, expert: str) -> Standing:
        """Tell how an expert stands right now."""
        # By place, not by name, and no set: this is asked of every expert for every text.
        slot = self._scheduler.slots[expert]
        state = slot.state
        ready = state is _READY or state is _PARKED
        return Standing(
            ready,
            slot.appetite.need_bytes,
            self._energy.predict(expert),
            slot.budget.rest_seconds(self._now()) if state is _FAILED else 0.0,
            None if ready else self._scheduler.ledger.room_bytes,
            self.times.p95(expert),
            slot.reload_seconds,
        )

    def _or_learning(self, error: AiosdError) -> AiosdError:
        """Return the error, or that the head which could tell is being made just now."""
        if isinstance(error, NoRouteError) and self.learning and self.head is None:
            return BusyError(
                "the router is learning what the experts are asked; send the same again",
                retry_after_seconds=RETRY_SECONDS,
            )
        return error


class _Ear:
    """Hears one text once, and remembers what it heard for the explanation."""

    def __init__(
        self,
        head: Head | None,
        text: str | None,
        ok: Callable[[str, str], float],
        chance: float,
        explored: float,
        declared: Declared,
    ) -> None:
        self._head, self._text = head, text
        self._heard: Hearing | None = None
        if head is None or text is None:
            self.known = Knowledge(None, frozenset(), ok, chance, explored, declared)
        else:
            self.known = Knowledge(self._hear, head.experts, ok, chance, explored, declared)

    def _hear(self, names: Collection[str] | None) -> Hearing:
        if self._head is None or self._text is None:
            raise AssertionError("nothing to hear")
        self._heard = hear(self._head, self._text, names)
        return self._heard

    def explained(self, decision: Decision) -> Decision:
        """Return the decision with the n-grams that decided: for the winner, else the nearest."""
        if self._heard is None or self._head is None or self._text is None:
            return decision
        name = decision.winner or next((each.expert for each in decision.nearest), "")
        return replace(decision, grams=explain(self._head, self._text, self._heard, name))


def text_of(value: Input) -> str | None:
    """Return the text that tells what is asked: of a conversation, the user's last turn."""
    if isinstance(value, TextInput):
        return value.text
    if isinstance(value, ChatInput):
        said = (turn.content for turn in reversed(value.messages) if turn.role == "user")
        return next(said, None)
    return None
