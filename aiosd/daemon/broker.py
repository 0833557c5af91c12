"""The one owner of requests and of the scheduler: events go in, their effects are carried out.

Only the event loop calls it. A request is in `_requests` from the moment it is accepted until its
one `end` or `error` is sent; what comes for it later is dropped.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable

from aiosd.daemon.admission import (
    check_bytes,
    deadline_of,
    joules_of,
    keep_alive_of,
    payload_of,
)
from aiosd.daemon.askers import Askers
from aiosd.daemon.cost import Energy
from aiosd.daemon.detours import Detours
from aiosd.daemon.inventory import Inventory
from aiosd.daemon.loader import Loader
from aiosd.daemon.orders import Orders
from aiosd.daemon.pending import Counts, Pending
from aiosd.daemon.recall import Recall
from aiosd.daemon.routing import Routing
from aiosd.daemon.wire.events import Events
from aiosd.daemon.wire.frontend import Client
from aiosd.daemon.workers.crew import Workers
from aiosd.domain.errors import AiosdError, ExpertFailedError, InvalidError
from aiosd.domain.expert import ExpertState
from aiosd.domain.inputs import type_of
from aiosd.domain.request import Priority
from aiosd.policy.routing.router import Route, Wanted, route
from aiosd.policy.serving.effects import Adjust, Effect, Limit, Load, Refuse, Serve, Settle
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.refusals import removed
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Chunk, End, Error, Run, error_message, error_of
from aiosd.protocol.pipe import (
    Done,
    Failed,
    Measured,
    Parked,
    Piece,
    Resumed,
    RunRequest,
    WorkerReady,
)

log = logging.getLogger(__name__)


class Broker:
    """Between clients and workers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        inventory: Inventory,
        workers: Workers,
        events: Events,
        energy: Energy,
    ) -> None:
        """Own the scheduler; listen to the workers; ask `energy` what an answer cost."""
        self._loop = loop
        self.scheduler = scheduler
        self._inventory = inventory
        self._workers = workers
        self._events = events
        self._energy = energy
        self.routing = Routing(scheduler, inventory, energy, loop.time)
        self._numbers = itertools.count(1)
        self._requests: dict[int, Pending] = {}
        self._by_client: dict[Client, dict[bytes, int]] = {}
        self._askers = Askers(scheduler.slots)
        self._orders = Orders(workers, events)
        self._timer: asyncio.TimerHandle | None = None
        self.max_deadline_seconds = 3600.0
        self.max_held_bytes = 2**26
        self.recall: Recall | None = None
        self.detours: Detours | None = None
        self.on_rest: Callable[[str, str], None] | None = None
        self.held_bytes = 0
        self.counts = Counts()
        self.drained = asyncio.Event()
        self.loader = Loader(loop, scheduler, inventory, workers, events)
        self.loader.perform, self.loader.on_failed = self.perform, self.on_worker_exited
        workers.listen(self)

    # ── clients ───────────────────────────────────────────────────────────────────────────────

    def on_run(self, client: Client, envelope: Envelope, run: Run) -> None:
        """Accept a request.

        Raises:
            AiosdError: it is refused at once; nothing of it is kept.
        """
        mine = self._by_client.get(client)
        if mine and envelope.id in mine:
            raise InvalidError("a request of this id is still running", field="id")
        payload, size = payload_of(run, envelope.attachments)
        if self.held_bytes:
            check_bytes(size, self.held_bytes, self.max_held_bytes)
        now = self._loop.time()
        chosen = self._route(run, size)
        number, options, name = next(self._numbers), run.options, client.name
        background = options.priority is Priority.BACKGROUND
        self._energy.admit(chosen.expert, background=background)
        ticket = Ticket(
            id=number,
            client=name,
            expert=chosen.expert,
            arrived=now,
            priority=options.priority,
            deadline=deadline_of(options, self.max_deadline_seconds, now),
            keep_alive_seconds=keep_alive_of(options),
        )
        if self.detours is not None:
            ticket = self.detours.send(ticket)
        self._requests[number] = Pending(
            client, name, envelope.id, run, payload, size, chosen, ticket.expert
        )
        self.held_bytes += size
        if mine is None:
            self._by_client[client] = {envelope.id: number}
        else:
            mine[envelope.id] = number
        self.perform(self.scheduler.on_request(ticket, now))

    def on_cancel(self, client: Client, request: bytes) -> None:
        """Stop a request of this client, if it still runs."""
        number = self._by_client.get(client, {}).get(request)
        if number is not None:
            seat = self._requests[number].seat
            self.perform(self.scheduler.on_cancel(number, seat, self._loop.time()))

    def on_gone(self, client: Client) -> None:
        """Stop everything that a client wanted who cannot be reached any more."""
        for number in list(self._by_client.get(client, {}).values()):
            seat = self._requests[number].seat
            self.perform(self.scheduler.on_cancel(number, seat, self._loop.time()))

    def settle(self, client: Client, request: bytes, expert: str, effects: list[Effect]) -> None:
        """Carry out an operator's verb, and answer it when it is settled."""
        self._askers.wait(client, request, expert)
        self.perform(effects)

    # ── workers (the `Listener` of Workers) ───────────────────────────────────────────────────

    def on_worker_ready(self, expert: str, ready: WorkerReady) -> None:
        """An expert is loaded."""
        self._inventory.on_loaded(expert)
        ram = ready.pss_bytes if ready.measured else self.scheduler.ledger.held(expert)
        facts = {"expert": expert, "load_ms": ready.load_ms, "ram_bytes": ram}
        self._events.publish("expert.ready", facts)
        log.info("%s ready in %.0f ms, %.1f MiB", expert, ready.load_ms, ram / 2**20)
        held = self._workers.held(ready.pss_bytes, ready.own_bytes) if ready.measured else None
        slot = self.scheduler.slots[expert]
        if slot.state is ExpertState.LOADING:
            known = self.recall is None or self.recall.on_engine(expert, ready.engine)
            now = self._loop.time()
            self.perform(
                self.scheduler.on_loaded(
                    expert, held, now, mapped=ready.mapped_bytes, parks=ready.parks, known=known
                )
            )

    def on_piece(self, expert: str, piece: Piece) -> None:
        """A piece of streamed text goes to its client."""
        pending = self._requests.get(piece.id)
        if pending is not None and self._serves(expert, piece.id):
            chunk = Chunk(n=pending.chunks, text=piece.text)
            pending.chunks += 1
            pending.client.frontend.send(pending.client, pending.id, chunk)

    def on_done(self, expert: str, done: Done) -> None:
        """A request was answered: tell its client, then see who is next."""
        if not self._serves(expert, done.id):
            return
        pending = self._forget(done.id)
        if pending is not None:
            self._answer(pending, done)
        self.perform(self.scheduler.on_done(expert, self._loop.time()))

    def on_measured(self, expert: str, measured: Measured) -> None:
        """A worker tells what it holds; one that is on its way out does not count any more."""
        slot = self.scheduler.slots.get(expert)
        if slot is not None and slot.state is ExpertState.READY:
            held = self._workers.held(measured.pss_bytes, measured.own_bytes)
            now, mapped = self._loop.time(), measured.mapped_bytes
            self.perform(self.scheduler.on_measured(expert, held, now, mapped=mapped))
            if self.recall:
                self.recall.on_news(expert)

    def on_parked(self, expert: str, parked: Parked) -> None:
        """A worker gave memory back; one that was told to leave meanwhile does not count."""
        slot = self.scheduler.slots.get(expert)
        if slot is None or slot.state is not ExpertState.PARKING:
            return
        held = self._workers.held(parked.pss_bytes, parked.own_bytes)
        freed = self.scheduler.ledger.held(expert) - held
        facts = {"expert": expert, "ram_bytes": parked.pss_bytes, "freed_bytes": freed}
        self._events.publish("expert.parked", facts)
        log.info("%s parked: %.1f MiB given back", expert, freed / 2**20)
        now, mapped = self._loop.time(), parked.mapped_bytes
        self.perform(self.scheduler.on_parked(expert, held, now, mapped=mapped))

    def on_resumed(self, expert: str, resumed: Resumed) -> None:
        """A parked worker is back; whoever it answers next has waited for that."""
        slot = self.scheduler.slots.get(expert)
        if slot is None or slot.state is not ExpertState.READY:
            return
        context, pages = resumed.context_ms, resumed.pages_ms
        facts = {"expert": expert, "context_ms": context, "pages_ms": pages}
        self._events.publish("expert.resumed", facts)
        pending = self._requests.get(slot.serving.id) if slot.serving else None
        if pending is not None:
            pending.resume_seconds = (context + (pages or 0.0)) / 1e3
        self.scheduler.on_resumed(expert, context / 1e3, None if pages is None else pages / 1e3)

    def on_failed(self, expert: str, failed: Failed) -> None:
        """A request could not be answered: tell its client, then see who is next."""
        if not self._serves(expert, failed.id):
            return
        self.routing.on_failed(self._requests.get(failed.id))
        error = Error(code=failed.code, message=failed.message, details=failed.details)
        self._end(failed.id, error_of(error))
        self.perform(self.scheduler.on_done(expert, self._loop.time()))

    def _serves(self, expert: str, request: int) -> bool:
        """Tell whether a worker speaks of its own request; one that does not has lost its mind."""
        slot = self.scheduler.slots.get(expert)
        if slot is not None and slot.serving is not None and slot.serving.id == request:
            return True
        log.error("%s answers request %d, which it was not given", expert, request)
        self._workers.kill(expert, "answered a request that it was not given")
        return False

    def on_worker_exited(self, expert: str, reason: str, outgrown_bytes: int = 0) -> None:
        """A worker is gone, as asked or not."""
        slot = self.scheduler.slots.get(expert)
        if slot is None:
            return
        planned = slot.state is ExpertState.DRAINING
        if not planned:
            log.warning("%s: %s", expert, reason)
        topic = "expert.unloaded" if planned else "expert.failed"
        self._events.publish(topic, {"expert": expert, "reason": reason})
        now = self._loop.time()
        self.perform(self.scheduler.on_exited(expert, reason, now, outgrown_bytes=outgrown_bytes))
        if self.on_rest is not None and slot.state is ExpertState.FAILED:
            self.on_rest(expert, reason)

    # ── effects ───────────────────────────────────────────────────────────────────────────────

    def perform(self, effects: list[Effect]) -> None:
        """Carry out decisions, then make sure that the scheduler is woken in time."""
        for effect in effects:
            match effect:
                case Serve():
                    self._serve(effect)
                case Adjust(expert, threads, duty):
                    self._workers.adjust(expert, threads, duty)
                case Refuse(request, error):
                    self._end(request, error)
                case Load() | Limit():
                    self.loader.book(effect)
                case Settle(expert, error_or_none):
                    self._askers.settled(expert, error_or_none)
                case _:
                    self._orders.give(effect)
        self._set_timer()

    def _serve(self, effect: Serve) -> None:
        """Hand a request to its worker."""
        pending = self._requests[effect.request]
        self._energy.started(effect.request, effect.expert, pending.name)
        pending.queue_seconds, pending.load_seconds = effect.queue_seconds, effect.load_seconds
        options = pending.run.options
        request = RunRequest(
            id=effect.request,
            input=pending.run.input,
            sampling=options.sampling,
            top_k=options.top_k,
            stream=options.stream,
            threads=effect.threads,
            duty=effect.duty,
        )
        try:
            self._workers.rank(effect.expert, options.priority)
            self._workers.run(effect.expert, request, pending.payload)
            self._workers.weigh(effect.expert, options.priority)
        except OSError as error:
            failed = ExpertFailedError(f"the input cannot be handed over: {error}", reason="memory")
            self._end(effect.request, failed)
            self._loop.call_soon(self._free_again, effect.expert)
        if self.detours is None:
            pending.payload = None  # else another release may have to answer after all

    def _free_again(self, expert: str) -> None:
        """A worker never got its request and is free."""
        self.perform(self.scheduler.on_done(expert, self._loop.time()))

    def _answer(self, pending: Pending, done: Done) -> None:
        """Send the end of an answered request."""
        expert = pending.route.expert
        cpu = done.cpu_ms / 1e3 if done.cpu_ms is not None else None
        cost = self._energy.ended(done.id, cpu, float(done.tokens_out or 0))
        release = self._workers.workers[pending.seat].release
        outcome = pending.outcome(done, release, self.scheduler.ledger.held(pending.seat), cost)
        pending.client.frontend.send(pending.client, pending.id, End(outcome=outcome))
        if self.detours is not None:
            self.detours.on_end(done.id, pending, done.run_ms * 1e-3)
        self.routing.on_done(pending, done, outcome.usage.joules)
        self.counts.answered += 1
        self.counts.by_expert[expert] = self.counts.by_expert.get(expert, 0) + 1
        if self._events.subscriptions:
            facts = {"expert": expert, "cold": outcome.cold, "run_ms": done.run_ms}
            self._events.publish("request.done", facts)

    def _end(self, request: int, error: AiosdError) -> None:
        """Send the end of a request that is not answered; once only."""
        if self.detours is not None and self._again(self.detours, request, error):
            return
        pending = self._forget(request)
        if pending is None:
            return
        if self.detours is not None:
            self.detours.on_end(request, pending)
        self._energy.ended(request)
        if pending.client.frontend.send(pending.client, pending.id, error_message(error)) is None:
            return  # it goes on elsewhere
        self.counts.failed += 1
        self._events.publish(
            "request.failed", {"expert": pending.route.expert, "code": error.code.value}
        )

    def _again(self, detours: Detours, request: int, error: AiosdError) -> bool:
        """Have an expert's own worker answer what another release of it could not, if it may."""
        pending = self._requests.get(request)
        ticket = detours.again(request, pending, error) if pending else None
        if ticket is not None:
            self._energy.ended(request)
            self._loop.call_soon(self._queue, ticket)  # present effects are carried out first
        return ticket is not None

    def reseat(self, ticket: Ticket) -> None:
        """Have another worker answer a request that was taken out of its queue."""
        pending = self._requests.get(ticket.id)
        if pending is not None:
            pending.seat = ticket.expert
            self._queue(ticket)

    def _queue(self, ticket: Ticket) -> None:
        """Let a request wait for another worker, unless it has ended meanwhile."""
        if ticket.expert not in self.scheduler.slots:
            self._end(ticket.id, removed(ticket.expert))
        elif ticket.id in self._requests:
            self.perform(self.scheduler.on_request(ticket, self._loop.time()))

    def _forget(self, request: int) -> Pending | None:
        """Take a request off the books."""
        pending = self._requests.pop(request, None)
        if pending is not None:
            self.held_bytes -= pending.size
            mine = self._by_client[pending.client]
            del mine[pending.id]
            if not mine:
                del self._by_client[pending.client]
        return pending

    def _route(self, run: Run, size: int) -> Route:
        """Choose the expert; one that is named is taken at its word."""
        if run.expert is None:
            return self.routing.pick(run, size)
        most, frugal = joules_of(run.options), self._energy.frugal
        wanted = Wanted(run.expert, run.task, type_of(run.input), size, frugal, most)
        return route(wanted, self._inventory.named, self.routing.standing)

    def _set_timer(self) -> None:
        """Wake the scheduler when it asked to be, and not before; say when all is drained."""
        if self.scheduler.stopping and not self.scheduler.busy:
            self.drained.set()
        wake = self.scheduler.next_wake(self._loop.time())
        if self._timer is not None:
            if wake is None or self._timer.when() <= wake:
                return  # fires in time, and looks again then
            self._timer.cancel()
            self._timer = None
        if wake is not None:
            self._timer = self._loop.call_at(wake, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(self.scheduler.on_tick(self._loop.time()))
