"""Stand-ins for what surrounds the policy: workers that do what they are told, and keep watch."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.errors import AiosdError, OverPowerError
from aiosd.domain.request import Priority
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.memory.pressure import Growth, Lack, Short
from aiosd.policy.serving.effects import (
    Adjust,
    Effect,
    Interrupt,
    Kill,
    Limit,
    Load,
    Park,
    Refuse,
    Resume,
    Serve,
    Settle,
    Unload,
)
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.scheduler import Scheduler

MIB = 2**20
CONTEXT, MAPPED = 0.3, 0.5  # parts of what an expert that can be parked holds


@dataclass
class FakeWorker:
    """One worker process, as far as the scheduler can tell."""

    reserved: int
    ready: bool = False
    closing: bool = False
    killed: bool = False
    serving: int | None = None
    threads: int = 0
    duty: float = 1.0
    interrupted: bool = False
    held: int = 0
    parking: bool = False
    parked: bool = False
    lean: bool = False


@dataclass
class FakeWorld:
    """A scheduler, its clock, and workers that hold every effect against what is allowed.

    `ended` maps a request to how it ended: "served" or the error it was refused with. Experts in
    `parkers` can be parked: of what they hold, `CONTEXT` then goes, and `MAPPED` with the pages.
    """

    cap: int = 100 * MIB
    rules: SchedulerRules = field(default_factory=SchedulerRules)
    now: float = 1000.0
    workers: dict[str, FakeWorker] = field(default_factory=dict)
    waiting: dict[int, Ticket] = field(default_factory=dict)
    ended: dict[int, str | AiosdError] = field(default_factory=dict)
    log: list[Effect] = field(default_factory=list)
    settled: list[Settle] = field(default_factory=list)
    facts: dict[str, ExpertFacts] = field(default_factory=dict)
    parkers: frozenset[str] = frozenset()
    load_seconds: float = 0.0
    requests: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(Ledger(self.cap), self.rules)

    # ── what the world does ───────────────────────────────────────────────────────────────────

    def install(self, *changed: str, **mebibytes: int) -> None:
        """Install experts by name and need; those installed before stay."""
        for name, need in mebibytes.items():
            parks = name in self.parkers
            self.facts[name] = facts(name, need, parks=parks, threads=self.threads)
        self.catalogue(changed)

    def catalogue(self, changed: Iterable[str] = ()) -> None:
        """Tell the scheduler what is installed now."""
        self.perform(self.scheduler.on_catalogue(self.facts.values(), changed, self.now))

    def ask(
        self,
        expert: str,
        client: str = "anna",
        *,
        priority: Priority = Priority.NORMAL,
        deadline: float | None = None,
        keep_alive: float | None = None,
    ) -> int:
        """Send a request; return its number."""
        self.requests += 1
        until = None if deadline is None else self.now + deadline
        ticket = Ticket(
            self.requests, client, expert, self.now, priority, until, keep_alive_seconds=keep_alive
        )
        self.waiting[ticket.id] = ticket
        self.perform(self.scheduler.on_request(ticket, self.now))
        return ticket.id

    def cancel(self, request: int, expert: str) -> None:
        """Have a client cancel."""
        self.perform(self.scheduler.on_cancel(request, expert, self.now))

    def allow(
        self,
        admit: Admission = Admission.NOW,
        *,
        surplus: bool = True,
        threads: int = 4,
        duty: float = 1.0,
    ) -> None:
        """Have the power governor decide."""
        allowance = Allowance(
            cap_watts=6.0,
            why=("a test",),
            threads=threads,
            duty=duty,
            background=surplus,
            prefer_smaller=False,
            admit=admit,
        )
        refused = admit is Admission.REFUSE
        error = OverPowerError("no power", retry_after_seconds=7.0) if refused else None
        self.perform(self.scheduler.on_power(allowance, error, self.now))

    def loaded(self, expert: str, mebibytes: int | None = None) -> None:
        """Have a worker finish loading; it holds what was reserved if nothing is said."""
        worker = self.workers[expert]
        assert not worker.ready
        self.now += self.load_seconds
        worker.ready = True
        held = worker.held = worker.reserved if mebibytes is None else mebibytes * MIB
        parks = expert in self.parkers
        mapped = int(held * MAPPED) if parks else 0
        self.perform(self.scheduler.on_loaded(expert, held, self.now, mapped=mapped, parks=parks))

    def parked(self, expert: str) -> None:
        """Have a worker give back what it was told to."""
        worker = self.workers[expert]
        assert worker.parking
        worker.parking, worker.parked = False, True
        mapped = 0 if worker.lean else int(worker.held * MAPPED)
        held = int(worker.held * (1 - CONTEXT - MAPPED)) + mapped
        self.perform(self.scheduler.on_parked(expert, held, self.now, mapped=mapped))

    def answered(self, expert: str, mebibytes: int | None = None) -> None:
        """Have a worker answer what it serves."""
        worker = self.workers[expert]
        assert worker.serving is not None
        worker.serving, worker.interrupted = None, False
        self.perform(self.scheduler.on_done(expert, self.now))
        if mebibytes is not None and not (worker.closing or worker.parking or worker.parked):
            held = worker.held = mebibytes * MIB
            mapped = int(held * MAPPED) if expert in self.parkers else 0
            self.perform(self.scheduler.on_measured(expert, held, self.now, mapped=mapped))

    def gone(self, expert: str, reason: str = "crashed with SIGSEGV") -> None:
        """Have a worker's process end."""
        del self.workers[expert]
        self.perform(self.scheduler.on_exited(expert, reason, self.now))

    def grow(self, expert: str, mebibytes: int) -> None:
        """Have a worker that answers or loads be found to hold so much."""
        self.perform(self.scheduler.on_memory(Growth(expert, mebibytes * MIB), self.now))

    def short(self) -> None:
        """Have the machine be short of memory."""
        self.perform(self.scheduler.on_memory(Short(), self.now))

    def lack(self, expert: str, mebibytes: int) -> None:
        """Have the machine lack memory for a load, which is then not begun."""
        assert not self.workers.pop(expert).ready
        self.perform(self.scheduler.on_memory(Lack(expert, mebibytes * MIB), self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the scheduler is woken when it asked to be."""
        until = self.now + seconds
        while (wake := self.scheduler.next_wake(self.now)) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.tick()
        self.now = until

    def tick(self) -> None:
        """Wake the scheduler; it must not ask to be woken at once again."""
        self.perform(self.scheduler.on_tick(self.now))
        wake = self.scheduler.next_wake(self.now)
        assert wake is None or wake > self.now, "the scheduler spins"

    def work(self, seconds: float = 0.01) -> None:
        """Let every worker take one step: load, answer, or leave."""
        self.pass_time(seconds)
        for name, worker in list(self.workers.items()):
            if self.workers.get(name) is not worker:
                continue
            if worker.closing or worker.killed:
                self.gone(name, "exited with status 0")
            elif worker.parking:
                self.parked(name)
            elif not worker.ready:
                self.loaded(name)
            elif worker.serving is not None:
                self.answered(name)

    # ── what the scheduler wants, held against what is allowed ────────────────────────────────

    def perform(self, effects: list[Effect]) -> None:
        """Do as the broker does."""
        for effect in effects:
            self.log.append(effect)
            match effect:
                case Serve():
                    self._serve(effect)
                case Refuse(request, error):
                    self._end(request, error)
                case Adjust(expert, threads, duty):
                    self._adjust(self.workers[expert], threads, duty)
                case Load() | Limit():
                    self._book(effect)
                case Unload(expert, why):
                    self._unload(expert, why)
                case Park() | Resume():
                    self._turn(effect)
                case Kill() | Interrupt():
                    self._stop(effect)
                case Settle():
                    self.settled.append(effect)

    def _adjust(self, worker: FakeWorker, threads: int, duty: float) -> None:
        assert worker.serving is not None, "adjusted while it does nothing"
        assert (threads, duty) != (worker.threads, worker.duty), "told twice"
        worker.threads, worker.duty = threads, duty

    def _book(self, effect: Load | Limit) -> None:
        match effect:
            case Load(expert, size):
                assert expert not in self.workers, "loaded twice"
                assert self.scheduler.ledger.free_bytes >= 0, "reserved over the cap"
                self.workers[expert] = FakeWorker(size)
            case Limit(expert, size):
                assert expert in self.workers, "a limit for nobody"
                assert size >= self.workers[expert].reserved, "less than was promised"

    def _serve(self, effect: Serve) -> None:
        worker = self.workers[effect.expert]
        assert worker.ready, "served by a worker that is not ready"
        assert not worker.closing, "served by a worker that was told to leave"
        assert not worker.parking, "served by a worker that gives its context back"
        assert not worker.parked, "served by a worker without a context"
        assert worker.serving is None, "two requests at one worker"
        assert self.waiting[effect.request].expert == effect.expert
        assert effect.queue_seconds >= 0
        assert effect.load_seconds >= 0
        worker.serving = effect.request
        worker.threads, worker.duty = effect.threads, effect.duty
        self._end(effect.request, "served")

    def _stop(self, effect: Kill | Interrupt) -> None:
        worker = self.workers[effect.expert]
        if isinstance(effect, Kill):
            assert not worker.killed, "killed twice"
            worker.killed = True
            return
        assert worker.serving == effect.request
        assert not worker.interrupted, "interrupted twice"
        worker.interrupted = True

    def _end(self, request: int, how: str | AiosdError) -> None:
        """Note the end of a request: once, or served first and refused while it runs."""
        ticket = self.waiting.pop(request, None)
        if ticket is None:
            assert self.ended.get(request) == "served", f"request {request} ended twice"
            assert how != "served"
        self.ended[request] = how

    def _unload(self, expert: str, why: str) -> None:
        worker = self.workers[expert]
        assert worker.ready, "unloaded while loading"
        assert worker.serving is None, "unloaded while it answers"
        assert not worker.closing, "unloaded twice"
        if why.startswith(("evicted", "idle")):
            assert not self.scheduler.slots[expert].pinned, "a pinned expert was sent away"
        worker.closing = True

    def _turn(self, effect: Park | Resume) -> None:
        if isinstance(effect, Park):
            self._park(effect)
        else:
            self._resume(effect.expert)

    def _park(self, effect: Park) -> None:
        worker = self.workers[effect.expert]
        assert effect.expert in self.parkers, "parked although it cannot be"
        assert worker.ready, "parked while loading"
        assert worker.serving is None, "parked while it answers"
        assert not worker.closing, "parked although it leaves"
        assert not worker.parking, "parked twice"
        assert not worker.lean, "nothing left to give back"
        assert effect.pages or not worker.parked, "its context is gone already"
        assert not self.scheduler.slots[effect.expert].pinned, "a pinned expert was parked"
        worker.parking, worker.lean = True, effect.pages

    def _resume(self, expert: str) -> None:
        worker = self.workers[expert]
        assert worker.parked, "resumed although it was not parked"
        assert not worker.closing, "resumed although it leaves"
        assert not worker.parking, "resumed while it gives memory back"
        free = self.scheduler.ledger.free_bytes
        assert free >= 0, "resumed over the cap"
        assert self.scheduler.ledger.held(expert) >= worker.held, "resumed without its room"
        worker.parked = worker.lean = False
        self.scheduler.on_resumed(expert, 0.02, 0.1)

    def last(self, kind: type[Effect]) -> list[Effect]:
        """Return the effects of a kind, and forget all of them."""
        found = [effect for effect in self.log if isinstance(effect, kind)]
        self.log.clear()
        return found

    def code(self, request: int) -> str:
        """Return how a request ended: "waiting", "served", or the code of its error."""
        how = self.ended.get(request, "waiting")
        return how if isinstance(how, str) else how.code.value


def facts(expert: str, mebibytes: int, *, parks: bool = False, threads: int = 1) -> ExpertFacts:
    """Return what the catalogue says of an expert; one that parks does so after 30 idle seconds."""
    need = mebibytes * MIB
    if not parks:
        return ExpertFacts(expert, need, threads=threads)
    return ExpertFacts(
        expert,
        need,
        context_bytes=int(need * CONTEXT),
        mapped_bytes=int(need * MAPPED),
        park_after_seconds=30.0,
        threads=threads,
    )
