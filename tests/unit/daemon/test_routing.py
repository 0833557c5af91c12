"""The daemon's router: what it remembers, what it learns, and what it tells."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from aiosd.daemon.pending import Pending
from aiosd.daemon.routing import Routing, text_of
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.decision import Decision
from aiosd.domain.errors import BusyError, InvalidError, NoRouteError
from aiosd.domain.inputs import ChatInput, InputType, JsonInput, TextInput, Turn
from aiosd.domain.request import Options, Sampling
from aiosd.fitter.fit import fit
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.routing.head import Head, Thresholds, decode_head
from aiosd.policy.routing.lessons import Lesson
from aiosd.policy.routing.route_facts import Route, RouteFacts
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.protocol.messages import Decisions, Explain, Feedback, Run
from aiosd.protocol.pipe import Done

TASK = "text.classify"
NOBODY = Client(None, "api:me")  # type: ignore[arg-type]


class Free:
    frugal = False

    def predict(self, expert: str) -> float | None:
        return {"lamp": 1.0}.get(expert)

    def admit(self, expert: str, *, background: bool) -> None: ...

    def started(self, request: int, expert: str, client: str) -> None: ...

    def ended(self, request: int, cpu_seconds: float | None = None, units: float = 0.0) -> None: ...


class Shelf:
    def __init__(self) -> None:
        self.routes = {
            name: RouteFacts(name, task, InputType.TEXT, 1000)
            for name, task in (("lamp", TASK), ("money", TASK), ("story", "text.generate"))
        }


@pytest.fixture
def routing() -> Routing:
    shelf = Shelf()
    scheduler = Scheduler(Ledger(10**9), SchedulerRules(threads=2))
    scheduler.on_catalogue([ExpertFacts(name, 1000) for name in shelf.routes], [], 0.0)
    made = Routing(scheduler, shelf, Free(), lambda: 0.0)
    made.explored = 0.0
    return made


def run(task: str | None = TASK, **options: object) -> Run:
    return Run(input=TextInput(text="hello"), task=task, options=Options(**options))  # type: ignore[arg-type]


def answered(routing: Routing, route: Route, output: dict[str, object], **options: object) -> None:
    pending = Pending(NOBODY, "me", b"1", run(**options), None, 5, route, route.expert)
    routing.on_done(pending, Done(id=1, output=output, run_ms=2.0, engine_ms=1.0), 0.5)


def test_every_decision_has_a_number_and_is_kept_with_what_became_of_it(routing: Routing) -> None:
    first, second = routing.pick(run(), 5), routing.pick(run(explain=True), 5)
    assert (first.id, second.id) == (1, 2)
    assert not isinstance(first.decision, Decision)
    assert isinstance(second.decision, Decision)
    answered(routing, second, {"label": "a"})
    body = routing.answer(Decisions(last=1))
    (kept,) = body["decisions"]  # type: ignore[misc]
    assert kept["id"] == 2
    assert kept["actual"] == {"seconds": 0.002, "joules": 0.5}
    assert kept["micros"] > 0


def test_nobody_is_a_decision_too(routing: Routing) -> None:
    with pytest.raises(NoRouteError):
        routing.pick(run(task=None), 5)
    (kept,) = routing.record.last(5)
    assert kept.winner is None
    assert "several experts" in kept.why


def test_while_the_first_head_is_made_a_text_is_asked_to_come_again(routing: Routing) -> None:
    routing.learning = True
    with pytest.raises(BusyError) as caught:
        routing.pick(run(task=None), 5)
    assert caught.value.retry_after_seconds == 1.0
    assert routing.pick(run(), 5).expert == "lamp"


def test_feedback_moves_the_choice_and_is_kept_over_a_restart(
    routing: Routing, tmp_path: Path
) -> None:
    routing.open(tmp_path / "success.json")
    assert routing.pick(run(), 5).expert == "lamp"
    for _ in range(6):
        route = routing.pick(run(), 5)
        answered(routing, route, {})
        routing.answer(Feedback(id=route.id, good=route.expert == "money"))
    assert routing.pick(run(), 5).expert == "money"
    again = Routing(Scheduler(Ledger(1), SchedulerRules(threads=1)), Shelf(), Free(), lambda: 0.0)
    again.open(tmp_path / "success.json")
    assert again.tallies() == routing.tallies()
    assert again.tallies()[0]["expert"] == "lamp"
    routing.forget(["lamp", "money"])
    assert routing.tallies() == []


def test_a_damaged_book_of_feedback_is_an_empty_one(
    routing: Routing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "success.json").write_text("{nonsense")
    routing.open(tmp_path / "success.json")
    assert routing.tallies() == []
    assert "learns anew" in caplog.text


def test_an_answer_of_none_and_a_failure_speak_against_an_expert_a_kept_schema_for_it(
    routing: Routing,
) -> None:
    hope = routing.success.ok("lamp", "", 0.0)
    answered(routing, routing.pick(run(), 5), {"label": "none"})
    assert routing.success.ok("lamp", "", 0.0) < hope
    sampling = Sampling(json_schema={"type": "object"})
    for _ in range(8):
        answered(routing, routing.pick(run(), 5), {}, sampling=sampling)
    better = routing.success.ok("money", "", 0.0)
    assert better > hope
    route = routing.pick(run(), 5)
    assert route.expert == "money"
    routing.on_failed(Pending(NOBODY, "me", b"1", run(), None, 5, route, route.expert))
    assert routing.success.ok("money", "", 0.0) < better


def test_named_requests_teach_running_times_and_nothing_else(routing: Routing) -> None:
    for _ in range(30):
        answered(routing, Route("lamp", "named"), {"label": "none"})
    routing.on_failed(Pending(NOBODY, "me", b"1", run(), None, 5, Route("lamp", "named"), "lamp"))
    routing.on_failed(None)
    assert routing.tallies() == []
    assert routing.record.last(9) == []
    seconds = routing.standing("lamp").run_seconds
    assert seconds is not None
    assert 0.001 < seconds < 0.004


def test_explaining_counts_nothing(routing: Routing) -> None:
    body = routing.answer(Explain(text="hello", task=TASK))
    assert body["decision"]["winner"] == "lamp"  # type: ignore[index]
    assert routing.record.last(9) == []
    assert routing.pick(run(), 5).id == 1


def test_a_bound_that_is_no_number_is_refused(routing: Routing) -> None:
    with pytest.raises(InvalidError):
        routing.pick(run(max_joules=-1.0), 5)
    assert routing.pick(run(deadline_seconds=-1.0), 5).expert == "lamp"


def test_of_a_conversation_the_users_last_words_count() -> None:
    turns = [
        Turn(role="user", content="first"),
        Turn(role="user", content="last"),
        Turn(role="assistant", content="hm"),
    ]
    assert text_of(ChatInput(messages=turns)) == "last"
    assert text_of(ChatInput(messages=[])) is None
    assert text_of(JsonInput(value=1)) is None


def test_in_doubt_only_larger_experts_are_asked_that_the_text_may_be_meant_for(
    routing: Routing,
) -> None:
    routing._scheduler.slots["money"].appetite.need_bytes = 2000
    assert routing.above(run(), ["lamp"]) == "money"  # nothing is known of texts
    routing.head = of_texts({"lamp": ["switch the lamp on", "lamp off"], "money": ["pay the bill"]})
    about_lamps, about_money = (
        Run(input=TextInput(text=text), task=TASK)
        for text in ("switch the lamp on", "pay the bill")
    )
    assert routing.above(about_lamps, ["lamp"]) is None
    assert routing.above(about_money, ["lamp"]) == "money"
    routing.head = of_texts({"lamp": ["switch the lamp on", "lamp off"]})
    assert routing.above(about_lamps, ["lamp"]) == "money"  # it brings no texts to tell by


def test_in_doubt_nobody_is_asked_who_answers_with_other_labels(routing: Routing) -> None:
    routing._scheduler.slots["money"].appetite.need_bytes = 2000
    known = routing._installed.routes
    labelled = {"lamp": frozenset({"on", "off"}), "money": frozenset({"on", "off", "dim"})}

    def relabel(labels: dict[str, frozenset[str]]) -> None:
        routing._installed.routes = {
            name: replace(facts, labels=labels.get(name, frozenset()))
            for name, facts in known.items()
        }

    relabel(labelled)
    assert routing.above(run(), ["lamp"]) == "money"
    relabel({**labelled, "money": frozenset({"pay", "on"})})
    assert routing.above(run(), ["lamp"]) is None
    relabel({"lamp": labelled["lamp"]})
    assert routing.above(run(), ["lamp"]) is None
    relabel({"money": labelled["money"]})
    assert routing.above(run(), ["lamp"]) == "money"  # what it answers is not known


def of_texts(texts: dict[str, list[str]]) -> Head:
    """Return a head that packages with these texts get, sure of what is likelier than not."""
    taught = [Lesson(expert=name, utterances=said) for name, said in texts.items()]
    head = decode_head(fit(taught, ["who knows", "why is that"]))
    head.facts = replace(head.facts, thresholds=Thresholds(scope=-99.0, sure=0.5))
    return head
