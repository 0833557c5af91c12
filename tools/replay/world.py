"""The simulated world: workers that load, run and leave, on a board, under the real policies."""

import heapq
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from aiosd.domain.request import Priority
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.serving.effects import Effect, Kill, Load, Park, Refuse, Resume, Serve, Unload
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.scheduler import Scheduler
from tools.replay.board import Board
from tools.replay.traces import Ask, Model, Trace
from tools.replay.worker import Worker

UNLOAD_SECONDS = 0.05
PARK_SECONDS = 0.01
PARK_AFTER_SECONDS = 120.0  # as the daemon's settings have it
# A load keeps most of a core busy: reading, checking, building tables.
LOAD_CORES = 0.8
_NOISE = 0.15


class Chooser(Protocol):
    """What decides: the real scheduler, or one to compare with."""

    def on_request(self, ticket: Ticket, now: float) -> list[Effect]:
        """A request arrived."""
        ...

    def on_done(self, expert: str, now: float) -> list[Effect]:
        """A worker is free again."""
        ...

    def on_loaded(self, expert: str, held_bytes: int, now: float) -> list[Effect]:
        """A worker is ready."""
        ...

    def on_exited(self, expert: str, reason: str, now: float) -> list[Effect]:
        """A worker is gone."""
        ...

    def on_tick(self, now: float) -> list[Effect]:
        """Time passed."""
        ...

    def next_wake(self, now: float) -> float | None:
        """When time itself demands something."""
        ...


@dataclass
class Count:
    """What a run is judged by."""

    asked: int = 0
    answered: int = 0
    refused: int = 0
    loads: int = 0
    load_seconds: float = 0.0
    resumes: int = 0
    resume_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    books_peak: int = 0
    books_over: int = 0
    truth_over: int = 0
    ram: list[tuple[float, int, int]] = field(default_factory=list)
    waiting: list[tuple[float, float]] = field(default_factory=list)
    work: float = 0.0


class World:
    """Events in simulated time; who runs, and how fast, is set from outside."""

    def __init__(self, trace: Trace, chooser: Chooser, cap_bytes: int, seed: int) -> None:
        self.models = {each.expert: each for each in trace.models}
        self.chooser, self.cap_bytes = chooser, cap_bytes
        self.now = 0.0
        self.workers: dict[str, Worker] = {}
        self.tickets: dict[int, tuple[Ticket, Ask]] = {}
        self.count = Count()
        self.threads, self.duty, self.cores = 4, 1.0, 4
        self.others = 0.0
        self.spent: dict[str, float] = {}
        self.others_spent = 0.0
        self.load_cpu: dict[str, float] = {}
        self.started: deque[int] = deque()
        self.served: dict[int, Ticket] = {}
        self.ended: deque[tuple[int, float, float]] = deque()
        self._asks = deque(trace.asks)
        self._switches = deque(trace.others)
        self._due: list[tuple[float, int, str, bool]] = []
        self._number = 0
        self._chance = random.Random(seed)

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    def next_event(self) -> float:
        """Return when something happens next; infinite when nothing does."""
        times = [self._due[0][0] if self._due else float("inf")]
        times += [self._asks[0].at] if self._asks else []
        times += [self._switches[0][0]] if self._switches else []
        wake = self.chooser.next_wake(self.now)
        times += [max(wake, self.now + 1e-6)] if wake is not None else []
        rates = self._rates()
        times += [self.now + self.workers[name].work / rate for name, (rate, _) in rates.items()]
        pace = self._loading_pace()
        times += [self.now + each.loading / pace for each in self.workers.values() if each.loading]
        return min(times)

    def busy_cores(self) -> float:
        """Return how many cores are busy now."""
        cores = sum(usage for _, usage in self._rates().values())
        loads = sum(each.loading > 0 for each in self.workers.values())
        loading = LOAD_CORES * self._loading_pace() * loads
        return min(cores + loading + self.others, float(self.cores))

    def advance(self, until: float, board: Board | None = None) -> None:
        """Let time pass up to a moment before which nothing happens."""
        seconds = until - self.now
        if seconds > 0:
            if board:
                board.advance(seconds, self.busy_cores())
            for name, (rate, usage) in self._rates().items():
                worker = self.workers[name]
                worker.work -= rate * seconds
                worker.cpu += usage * seconds
                self.count.work += rate * seconds
                self.spent[name] = self.spent.get(name, 0.0) + usage * seconds
            pace = self._loading_pace()
            for name, worker in self.workers.items():
                if worker.loading:
                    worker.loading = max(worker.loading - pace * seconds, 0.0)
                    worker.loading = 0.0 if worker.loading < 1e-9 else worker.loading
                    used = LOAD_CORES * pace * seconds
                    self.spent[name] = self.spent.get(name, 0.0) + used
            self.others_spent += self.others * seconds
        self.now = until

    def act(self) -> list[Ask]:
        """Do all that is due now; return the requests that arrive, which are not queued yet."""
        while self._switches and self._switches[0][0] <= self.now:
            self.others = self._switches.popleft()[1]
        for name in [name for name, each in self.workers.items() if each.is_done()]:
            self._answer(name)
        for name in [name for name, each in self.workers.items() if each.is_loaded()]:
            worker = self.workers[name]
            worker.ready = True
            self._loaded(name)
        for name in [name for name, each in self.workers.items() if each.is_back()]:
            self._back(name)
        while self._due and self._due[0][0] <= self.now + 1e-9:
            _, _, name, parks = heapq.heappop(self._due)
            if parks:
                self._parked(name)
            else:
                del self.workers[name]
                self.perform(self.chooser.on_exited(name, "asked", self.now))
        self.perform(self.chooser.on_tick(self.now))
        arriving = []
        while self._asks and self._asks[0].at <= self.now + 1e-9:
            arriving.append(self._asks.popleft())
        self._look()
        return arriving

    def next_number(self) -> int:
        """Return the number that the next request will have."""
        return self._number + 1

    # ── requests ──────────────────────────────────────────────────────────────────────────────

    def ask(self, ask: Ask) -> int:
        """Hand a request to the scheduler; return its number."""
        self._number += 1
        priority = Priority.BACKGROUND if ask.background else Priority.NORMAL
        ticket = Ticket(self._number, ask.client, ask.model, self.now, priority)
        self.tickets[ticket.id] = (ticket, ask)
        self.perform(self.chooser.on_request(ticket, self.now))
        return ticket.id

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry effects out."""
        for effect in effects:
            match effect:
                case Load(expert):
                    self._load(expert)
                case Unload(expert) | Kill(expert):
                    self.workers[expert].leaving = True
                    self._later(UNLOAD_SECONDS, expert, parks=False)
                case Park(expert, pages):
                    worker = self.workers[expert]
                    worker.lean = worker.lean or pages
                    self._later(PARK_SECONDS, expert, parks=True)
                case Resume(expert):
                    self._resume(expert)
                case Serve(request, expert):
                    self._serve(request, expert)
                case Refuse(request):
                    if self.tickets.pop(request, None):
                        self.count.refused += 1
                case _:
                    pass

    def _load(self, expert: str) -> None:
        """Start a worker."""
        model = self.models[expert]
        held = int(model.bytes * self._chance.uniform(0.94, 1.0))
        seconds = model.load_seconds * self._chance.uniform(1 - _NOISE, 1 + _NOISE)
        self.count.loads += 1
        self.count.load_seconds += seconds
        self.workers[expert] = Worker(model, held, loading=seconds)

    def _later(self, seconds: float, expert: str, *, parks: bool) -> None:
        """Let a worker be parked, or be gone, after a while."""
        self._number += 1
        heapq.heappush(self._due, (self.now + seconds, self._number, expert, parks))

    def _loaded(self, name: str) -> None:
        """Tell that a worker is ready."""
        worker, chooser = self.workers[name], self.chooser
        if isinstance(chooser, Scheduler):
            parks, mapped = worker.model.context_bytes > 0, worker.mapped_bytes
            self.perform(chooser.on_loaded(name, worker.held, self.now, mapped=mapped, parks=parks))
        else:
            self.perform(chooser.on_loaded(name, worker.held, self.now))

    def _parked(self, name: str) -> None:
        """Tell that a worker has given back what it could."""
        worker = self.workers[name]
        worker.parked = True
        if isinstance(self.chooser, Scheduler):
            held, mapped = worker.holds_bytes, worker.mapped_bytes
            self.perform(self.chooser.on_parked(name, held, self.now, mapped=mapped))

    def _resume(self, name: str) -> None:
        """Let a parked worker come back; its request, if any, waits that long."""
        worker = self.workers[name]
        model, noise = worker.model, self._chance.uniform(1 - _NOISE, 1 + _NOISE)
        pages = model.pages_seconds * noise if worker.lean else None
        worker.costs = (model.context_seconds * noise, pages)
        worker.loading = worker.costs[0] + (pages or 0.0)
        worker.parked = worker.lean = False
        self.count.resumes += 1
        self.count.resume_seconds += worker.loading
        self.count.load_seconds += worker.loading

    def _back(self, name: str) -> None:
        """Tell what it took a worker to come back."""
        worker = self.workers[name]
        if worker.costs is not None and isinstance(self.chooser, Scheduler):
            self.chooser.on_resumed(name, *worker.costs)
        worker.costs = None

    def _serve(self, request: int, expert: str) -> None:
        """Let a worker begin to answer."""
        worker = self.workers[expert]
        ticket, ask = self.tickets[request]
        worker.serving, worker.cpu = request, 0.0
        noise = self._chance.uniform(1 - _NOISE, 1 + _NOISE)
        worker.work = worker.model.cpu_seconds * ask.size * noise
        waited = self.now - ask.at + worker.loading  # one that comes back does so first
        self.count.waits.append(waited)
        self.count.waiting.append((self.now, waited))
        self.started.append(request)
        self.served[request] = ticket

    def _answer(self, name: str) -> None:
        """Let a worker end its answer."""
        worker = self.workers[name]
        request, worker.serving, worker.work = worker.serving or 0, None, 0.0
        _, ask = self.tickets.pop(request)
        self.count.answered += 1
        self.ended.append((request, worker.cpu, worker.model.units * ask.size))
        # Answering touches pages that loading did not.
        worker.held = min(worker.model.bytes, int(worker.held * 1.02))
        if isinstance(self.chooser, Scheduler):
            mapped = worker.mapped_bytes
            measured = self.chooser.on_measured(name, worker.held, self.now, mapped=mapped)
            self.perform(measured)
        self.perform(self.chooser.on_done(name, self.now))

    def _loading_pace(self) -> float:
        """Return how fast loads go: the duty holds for them too."""
        return self.duty

    def _rates(self) -> dict[str, tuple[float, float]]:
        """Return for each worker that runs: work done and CPU seconds used, by second."""
        running = [name for name, each in self.workers.items() if each.runs]
        if not running:
            return {}
        threads = max(1, self.threads // len(running))
        wanted = threads * self.duty * len(running)
        # The budget is for all workers; with more of them than threads, each has less of a core.
        fair = min(1.0, self.threads * self.duty / wanted)
        crowd = min(1.0, max(self.cores - self.others, 0.2) / wanted)
        rates = {}
        for name in running:
            parallel = self.workers[name].model.parallel
            speed = 1 / ((1 - parallel) + parallel / threads)
            share = self.duty * min(fair, crowd)
            rates[name] = (speed * share, threads * share)
        return rates

    def _look(self) -> None:
        """Compare books and truth with the cap."""
        truth = sum(each.holds_bytes for each in self.workers.values())
        books = self.chooser.ledger.used_bytes if isinstance(self.chooser, Scheduler) else truth
        count = self.count
        count.books_peak = max(count.books_peak, books)
        count.books_over += books > self.cap_bytes
        count.truth_over += truth > self.cap_bytes
        if not count.ram or count.ram[-1][1:] != (books, truth):
            count.ram.append((self.now, books, truth))


def facts_of(models: Iterable[Model]) -> list[ExpertFacts]:
    """Return what the catalogue would say of these experts."""
    return [
        ExpertFacts(
            each.expert,
            each.need_bytes,
            each.keep_alive_seconds,
            context_bytes=each.context_bytes,
            mapped_bytes=each.mapped_bytes,
            park_after_seconds=PARK_AFTER_SECONDS,
        )
        for each in models
    ]


def scheduler_of(trace: Trace, cap_bytes: int) -> Scheduler:
    """Return the real scheduler with the trace's experts installed; queues as long as they get."""
    rules = SchedulerRules(queue_per_client=1_000_000, queue_total=1_000_000)
    scheduler = Scheduler(Ledger(cap_bytes), rules)
    scheduler.on_catalogue(facts_of(trace.models), (), 0.0)
    return scheduler


def run(trace: Trace, chooser: Chooser, cap_bytes: int, seed: int) -> Count:
    """Replay a trace without any power policy, until everything is answered."""
    world = World(trace, chooser, cap_bytes, seed)
    horizon = trace.seconds + 3600.0
    while world.now < horizon:
        coming = world.next_event()
        if coming == float("inf") or (coming > trace.seconds and not world.tickets):
            break
        world.advance(min(coming, horizon))
        for ask in world.act():
            world.count.asked += 1
            world.ask(ask)
    return world.count
