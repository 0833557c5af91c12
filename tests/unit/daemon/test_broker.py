"""The broker between a fake client and workers that lie."""

import asyncio
from dataclasses import dataclass, field

import pytest

from aiosd.daemon.broker import Broker
from aiosd.daemon.detours import Detours
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.confinement import Confinement
from aiosd.domain.energy import EnergyFigure
from aiosd.domain.errors import AiosdError, OverPowerError
from aiosd.domain.inputs import ChatInput, InputType, TextInput, Turn
from aiosd.domain.power import EnergySource, Scope
from aiosd.domain.request import Options, Priority
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.routing.router import RouteFacts
from aiosd.policy.serving.effects import Load
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run
from aiosd.protocol.pipe import Done, Failed, Piece, RunRequest, WorkerReady

MIB = 2**20


@dataclass(eq=False)
class FakeFrontend:
    name: str = "api"
    sent: list[tuple[bytes, Answer]] = field(default_factory=list)

    def send(self, _client: Client, request: bytes, answer: Answer) -> bool:
        self.sent.append((request, answer))
        return True


@dataclass
class FakeProcess:
    release: int = 4


class FakeWatch:
    """A machine that lacks `short` bytes for any load."""

    short = 0

    def lacks(self, _need: int) -> int:
        return self.short


class FakeWorkers:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.watch = FakeWatch()
        self.limits: list[tuple[str, int]] = []
        self.weights: list[tuple[str, Priority]] = []
        self.workers: dict[str, FakeProcess] = {}
        self.runs: dict[str, RunRequest] = {}
        self.killed: list[str] = []
        self.cancelled: list[tuple[str, int]] = []
        self.shares: dict[str, tuple[int, float]] = {}
        self.ranks: dict[str, Priority] = {}
        self.gentle: dict[str, bool] = {}

    def listen(self, _listener: object) -> None: ...

    def start(
        self, expert: str, _engine: str, _order: object, _booked: int, *, gentle: bool = False
    ) -> None:
        self.workers[expert] = FakeProcess()
        self.gentle[expert] = gentle

    def pid(self, expert: str) -> int | None:
        return 77 if expert in self.workers else None

    def limit(self, expert: str, booked: int) -> None:
        self.limits.append((expert, booked))

    def weigh(self, expert: str, priority: Priority) -> None:
        self.weights.append((expert, priority))

    def run(self, expert: str, request: RunRequest, _payload: object) -> None:
        self.runs[expert] = request

    def cancel(self, expert: str, request: int) -> None:
        self.cancelled.append((expert, request))

    def adjust(self, expert: str, threads: int, duty: float) -> None:
        self.shares[expert] = (threads, duty)

    def rank(self, expert: str, priority: Priority) -> None:
        self.ranks[expert] = priority

    def stop(self, _expert: str) -> None: ...

    def kill(self, expert: str, _why: str) -> None:
        self.killed.append(expert)

    def held(self, pss: int, _own: int) -> int:
        return pss


class FakeInventory:
    """Two experts that take texts and one that takes chats."""

    def __init__(self) -> None:
        kinds = {"one": InputType.TEXT, "two": InputType.TEXT, "chat": InputType.CHAT}
        self.routes = {name: RouteFacts(name, "echo", kind, 100) for name, kind in kinds.items()}
        self.named = self.routes
        self.awaited = False

    def order(self, expert: str, *, awaited: bool) -> tuple[str, str]:
        self.awaited = awaited
        return "echo", expert

    def on_loaded(self, _expert: str) -> None: ...


class FakeEnergy:
    """Knows that every answer costs two joules."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[str, str]] = {}
        self.frugal = self.refuses = False

    def predict(self, expert: str) -> float | None:
        return {"one": 2.0, "two": 0.5}.get(expert)

    def admit(self, expert: str, *, background: bool) -> None:
        if self.refuses and not background:
            raise OverPowerError("no", expert=expert)

    def started(self, request: int, expert: str, client: str) -> None:
        self.running[request] = (expert, client)

    def ended(
        self, request: int, cpu_seconds: float | None = None, units: float = 0.0
    ) -> EnergyFigure | None:
        if self.running.pop(request, None) is None or (cpu_seconds, units) == (0.0, -1.0):
            return None
        return EnergyFigure(EnergySource.MEASURED_TOTAL, Scope.BOARD, 3.0, 2.0, 0.5, 20)


@dataclass
class FakeEvents:
    subscriptions: int = 1
    topics: list[str] = field(default_factory=list)

    def publish(self, topic: str, _facts: dict[str, object]) -> None:
        self.topics.append(topic)


READY = WorkerReady(
    pid=1,
    engine="echo 1",
    load_ms=1.0,
    pss_bytes=MIB,
    own_bytes=MIB,
    verified=[],
    confinement=Confinement(),
)


class Stage:
    """A broker with everything around it made up."""

    def __init__(self) -> None:
        self.workers, self.frontend, self.events = FakeWorkers(), FakeFrontend(), FakeEvents()
        scheduler = Scheduler(Ledger(100 * MIB), SchedulerRules(threads=2))
        self.energy = FakeEnergy()
        self.broker = Broker(
            asyncio.get_running_loop(),
            scheduler,
            FakeInventory(),  # type: ignore[arg-type]
            self.workers,  # type: ignore[arg-type]
            self.events,  # type: ignore[arg-type]
            self.energy,
        )
        facts = [ExpertFacts(name, 10 * MIB, threads=2) for name in ("one", "two", "chat")]
        self.broker.perform(scheduler.on_catalogue(facts, [], 0.0))
        self.client = Client(self.frontend, "api:anna")  # type: ignore[arg-type]

    def ask(self, ident: bytes, expert: str, text: str = "hello", **options: object) -> None:
        run = Run(expert=expert, input=TextInput(text=text), options=Options(**options))  # type: ignore[arg-type]
        self.broker.on_run(self.client, Envelope(ident, run), run)

    def warm(self, expert: str) -> None:
        self.broker.on_worker_ready(expert, READY)

    def answers(self, ident: bytes) -> list[Answer]:
        return [answer for request, answer in self.frontend.sent if request == ident]


def done(number: int) -> Done:
    return Done(id=number, output={"text": "forged"}, run_ms=1.0, engine_ms=1.0)


async def test_an_answer_goes_to_who_asked_with_the_release_that_answered() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.warm("one")
    stage.broker.on_piece("one", Piece(id=stage.workers.runs["one"].id, text="he"))
    stage.broker.on_done("one", done(stage.workers.runs["one"].id))
    chunk, end = stage.answers(b"1")
    assert chunk == Chunk(n=0, text="he")
    assert isinstance(end, End)
    assert (end.outcome.expert, end.outcome.release) == ("one", 4)
    usage = end.outcome.usage
    assert (usage.joules, usage.joules_gross, usage.joules_uncertainty) == (2.0, 3.0, 0.5)
    assert (usage.joules_source, usage.joules_scope) == ("measured_total", "board")
    assert stage.broker.held_bytes == 0


async def test_a_worker_that_answers_for_another_expert_is_killed_and_not_believed() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.ask(b"2", "two")
    stage.warm("one")
    stage.warm("two")
    victim = stage.workers.runs["two"].id
    stage.broker.on_piece("one", Piece(id=victim, text="lies"))
    stage.broker.on_done("one", done(victim))
    failed = Failed(id=victim, code="invalid", message="lies", details={})
    stage.broker.on_failed("one", failed)
    assert stage.answers(b"2") == []
    assert set(stage.workers.killed) == {"one"}
    stage.broker.on_done("two", done(victim))
    assert isinstance(stage.answers(b"2")[0], End)


async def test_a_worker_that_answers_twice_does_not_get_two_requests() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.ask(b"2", "one")
    stage.ask(b"3", "one")
    stage.warm("one")
    first = stage.workers.runs["one"].id
    stage.broker.on_done("one", done(first))
    second = stage.workers.runs["one"].id
    stage.broker.on_done("one", done(first))
    assert stage.workers.runs["one"].id == second != first
    assert stage.answers(b"2") == []


async def test_only_a_load_that_no_request_waits_for_stands_back_for_others() -> None:
    stage = Stage()
    stage.broker.loader.gentle |= {"one", "two"}
    stage.ask(b"1", "one")
    for expert in ("two", "chat"):
        stage.broker.perform(stage.broker.scheduler.on_load(expert, 0.0))
    assert stage.workers.gentle == {"one": False, "two": True, "chat": False}


async def test_a_client_that_is_gone_takes_all_its_requests_along() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.warm("one")
    stage.ask(b"2", "one")
    stage.broker.on_gone(stage.client)
    codes = [answer.code for _, answer in stage.frontend.sent if isinstance(answer, Error)]
    assert codes == ["cancelled", "cancelled"]
    assert stage.workers.cancelled == [("one", 1)]
    assert stage.broker.held_bytes == 0


async def test_what_is_refused_on_arrival_leaves_nothing_behind() -> None:
    stage = Stage()
    with pytest.raises(AiosdError, match="at most 100"):
        stage.ask(b"1", "one", "x" * 101)
    with pytest.raises(AiosdError, match="not a number"):
        stage.ask(b"1", "one", keep_alive_seconds=float("nan"))
    turns = [Turn(role="user", content="é" * 30), Turn(role="user", content="é" * 30)]
    run = Run(expert="chat", input=ChatInput(messages=turns))
    with pytest.raises(AiosdError, match="has 120 bytes"):
        stage.broker.on_run(stage.client, Envelope(b"1", run), run)
    assert stage.broker.held_bytes == 0
    stage.ask(b"1", "one")
    assert stage.answers(b"1") == []


async def test_the_threads_and_the_priority_of_a_request_reach_its_worker() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.warm("one")
    assert stage.workers.runs["one"].threads == 2
    stage.ask(b"2", "two", priority=Priority.INTERACTIVE)
    stage.warm("two")
    assert stage.workers.runs["two"].threads == 1
    assert stage.workers.shares == {"one": (1, 1.0)}
    assert stage.workers.ranks == {"one": Priority.NORMAL, "two": Priority.INTERACTIVE}


async def test_a_request_that_would_take_more_joules_than_it_may_is_refused_with_the_figure() -> (
    None
):
    stage = Stage()
    with pytest.raises(OverPowerError) as refused:
        stage.ask(b"1", "one", max_joules=1.0)
    assert refused.value.details == {"expert": "one", "predicted_joules": 2.0, "max_joules": 1.0}
    stage.ask(b"2", "one", max_joules=2.5)
    assert stage.answers(b"2") == []


@pytest.mark.parametrize("joules", [0.0, -1.0, float("nan")])
async def test_a_bound_on_joules_is_a_number_above_zero(joules: float) -> None:
    stage = Stage()
    with pytest.raises(AiosdError, match="max_joules is a number above 0"):
        stage.ask(b"1", "one", max_joules=joules)


async def test_what_power_refuses_on_arrival_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.energy.refuses = True
    with pytest.raises(OverPowerError):
        stage.ask(b"1", "one")
    assert stage.broker.held_bytes == 0
    stage.ask(b"2", "one", priority=Priority.BACKGROUND)
    assert stage.broker.scheduler.slots["one"].queue or stage.workers.workers


# ── memory ────────────────────────────────────────────────────────────────────────────────────


async def test_a_load_that_the_machine_cannot_hold_is_refused_with_the_number() -> None:
    stage = Stage()
    stage.workers.watch.short = 3 * MIB
    stage.ask(b"1", "one")
    assert stage.workers.workers == {}
    stage.broker.loader._load_late(Load("one", 10 * MIB))
    (error,) = stage.answers(b"1")
    assert isinstance(error, Error)
    assert (error.code, error.details["lacking_bytes"]) == ("over_ram", 3 * MIB)
    assert stage.broker.loader.loads == 0


async def test_memory_that_has_come_free_meanwhile_is_loaded_into() -> None:
    stage = Stage()
    stage.workers.watch.short = 3 * MIB
    stage.ask(b"1", "one")
    stage.workers.watch.short = 0
    stage.broker.loader._load_late(Load("one", 10 * MIB))
    assert list(stage.workers.workers) == ["one"]
    stage.broker.on_worker_exited("one", "went over its own limit of 26 MiB", 26 * MIB)
    assert stage.broker.scheduler.slots["one"].appetite.need_bytes == 52 * MIB


async def test_a_worker_that_grows_is_held_to_what_the_books_give_it() -> None:
    stage = Stage()
    stage.ask(b"1", "one", priority=Priority.BACKGROUND)
    stage.warm("one")
    assert stage.broker.loader.watched() == [("one", 77, MIB + MIB * 8 // 100)]
    stage.broker.loader.on_growth("one", 20 * MIB)
    assert stage.workers.limits == [("one", 20 * MIB)]
    assert stage.workers.weights == [("one", Priority.BACKGROUND)]


async def test_a_worker_that_grows_over_the_cap_is_killed_and_its_client_told() -> None:
    stage = Stage()
    stage.ask(b"1", "one")
    stage.warm("one")
    stage.broker.loader.on_growth("one", 120 * MIB)
    (error,) = stage.answers(b"1")
    assert isinstance(error, Error)
    assert error.code == "over_ram"
    assert stage.workers.killed == ["one"]
    assert stage.broker.loader.watched() == []


async def test_a_short_machine_is_told_whether_anybody_goes() -> None:
    stage = Stage()
    assert not stage.broker.loader.on_pressure()
    stage.ask(b"1", "one")
    stage.warm("one")
    assert not stage.broker.loader.on_pressure()  # it answers
    stage.broker.on_done("one", done(stage.workers.runs["one"].id))
    assert stage.broker.loader.on_pressure()
    assert stage.events.topics[-1] == "expert.evicted"


async def test_what_a_release_on_trial_fails_is_answered_by_the_experts_own_worker() -> None:
    stage = Stage()
    stage.broker.detours = Detours()
    stage.broker.detours.seats["one"] = "two"  # as if that were another release of it
    stage.warm("one")
    stage.ask(b"1", "one")
    stage.warm("two")
    first = stage.workers.runs["two"].id
    failed = Failed(id=first, code="expert_failed", message="no", details={})
    stage.broker.on_failed("two", failed)
    await asyncio.sleep(0)
    assert stage.answers(b"1") == []
    stage.warm("one")
    assert stage.workers.runs["one"].id == first
    stage.broker.on_done("one", done(first))
    (end,) = stage.answers(b"1")
    assert isinstance(end, End)
    assert end.outcome.expert == "one"
    assert stage.broker.held_bytes == 0


async def test_a_request_whose_expert_goes_with_its_trial_is_told_so() -> None:
    stage = Stage()
    detours = stage.broker.detours = Detours()
    detours.seats["one"] = "two"
    stage.ask(b"1", "one")
    detours.seats.clear()
    facts = [ExpertFacts("chat", 10 * MIB, threads=2)]
    stage.broker.perform(stage.broker.scheduler.on_catalogue(facts, [], 0.0))
    stage.broker.on_worker_exited("two", "unloaded")
    await asyncio.sleep(0)
    (error,) = stage.answers(b"1")
    assert isinstance(error, Error)
    assert error.code == "unknown_expert"
    assert stage.broker.held_bytes == 0
