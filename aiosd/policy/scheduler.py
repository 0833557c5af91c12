"""When each request runs, and who is loaded or evicted for it: events in, effects out.

All methods are called by the broker alone, in order, with the monotonic clock's `now`; none of
them waits, logs or looks at the world.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    CancelledError,
    ExpertFailedError,
    UnknownExpertError,
)
from aiosd.domain.expert import ExpertEvent, ExpertState
from aiosd.policy.effects import Effect, Interrupt, Kill, Load, Refuse, Serve, Settle, Unload
from aiosd.policy.eviction import Candidate, Eviction
from aiosd.policy.governor import Evict, Fits, Ledger, Never, Resident, Wait, admit
from aiosd.policy.queues import Ticket
from aiosd.policy.refusals import late, over_ram, passed, resting
from aiosd.policy.restart import RestartRules
from aiosd.policy.slots import ExpertFacts, Slot
from aiosd.policy.waiting import WaitingRoom


@dataclass(frozen=True)
class SchedulerRules:
    """The bounds of the policy; times in seconds.

    `gather_seconds` is how long requests for a loaded expert go before an older request for one
    that is not loaded, so that A B A B does not load four times.
    """

    queue_per_client: int = 32
    queue_total: int = 512
    gather_seconds: float = 0.25
    interrupt_grace_seconds: float = 5.0
    restart: RestartRules = field(default_factory=RestartRules)


class Scheduler:
    """The one owner of who waits, who runs and who is loaded."""

    def __init__(self, ledger: Ledger, rules: SchedulerRules) -> None:
        """Start with no experts."""
        self.ledger = ledger
        self.rules = rules
        self.slots: dict[str, Slot] = {}
        self.evictions = 0
        self.stopping = False
        self._eviction = Eviction()
        self._waiting = WaitingRoom(rules.queue_per_client, rules.queue_total)
        self._leaving: set[str] = set()

    # ── what is installed ─────────────────────────────────────────────────────────────────────

    def on_catalogue(
        self, facts: Iterable[ExpertFacts], changed: Iterable[str], now: float
    ) -> list[Effect]:
        """Take the experts now installed; those `changed` are replaced once they are idle."""
        effects: list[Effect] = []
        known = {each.expert: each for each in facts}
        for name, fact in known.items():
            if name not in self.slots:
                self.slots[name] = Slot(fact, self.rules.restart, keep_alive_seconds=0.0)
        for name in changed:
            slot, slot.facts = self.slots[name], known[name]
            slot.need_bytes = known[name].need_bytes
            slot.budget.forgive()
            slot.stale = slot.loaded
            self._leaving.add(name)
            if slot.state is ExpertState.FAILED:
                slot.advance(ExpertEvent.RETRY)
        for name in [name for name in self.slots if name not in known]:
            slot = self.slots[name]
            slot.removed = True
            self._leaving.add(name)
            gone = UnknownExpertError(f"expert {name!r} was removed", expert=name)
            effects += self._refuse_all(slot, gone)
            if not slot.loaded:
                del self.slots[name]
        return effects + self._sweep(now) + self._plan(now)

    # ── requests ──────────────────────────────────────────────────────────────────────────────

    def on_request(self, ticket: Ticket, now: float) -> list[Effect]:
        """Queue a request, or refuse it: stopping, too many waiting, or the expert rests."""
        slot = self.slots[ticket.expert]
        refusal = self._refusal(slot, ticket, now)
        if refusal:
            return [Refuse(ticket.id, refusal)]
        self._waiting.push(slot, ticket)
        return self._plan(now)

    def on_done(self, expert: str, now: float) -> list[Effect]:
        """Take note that the expert's worker is free again."""
        slot = self.slots[expert]
        ticket, slot.serving, slot.kill_at = slot.serving, None, None
        slot.uses += 1
        slot.idle_since = now
        slot.budget.on_answer()
        self._eviction.on_used(expert)
        if ticket and ticket.keep_alive_seconds is not None:
            slot.keep_alive_seconds = ticket.keep_alive_seconds
        else:
            slot.keep_alive_seconds = slot.facts.keep_alive_seconds
        return self._sweep(now) + self._plan(now)

    def on_cancel(self, request: int, expert: str, now: float) -> list[Effect]:
        """End a request that nobody wants any more, queued or running."""
        error = CancelledError("cancelled by the caller")
        return self._abandon(request, expert, error, now) + self._plan(now)

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    def on_loaded(self, expert: str, held_bytes: int, now: float) -> list[Effect]:
        """Take note that a worker is ready, and what it really holds."""
        slot = self.slots[expert]
        slot.reload_seconds = max(now - slot.load_started, 1e-3)
        slot.ready_at = slot.idle_since = now
        slot.kill_at = None
        slot.advance(ExpertEvent.LOADED)
        self._eviction.on_used(expert)
        effects: list[Effect] = self.on_measured(expert, held_bytes, now)
        if slot.load_wanted:
            slot.load_wanted = False
            self._waiting.settle(slot)
            effects.append(Settle(expert, None))
        return effects + self._sweep(now) + self._plan(now)

    def on_measured(self, expert: str, held_bytes: int, now: float) -> list[Effect]:
        """Reconcile the books with a measurement; over the cap, idle experts leave."""
        slot = self.slots[expert]
        slot.need_bytes = held_bytes
        self.ledger.set(expert, held_bytes)
        missing = -self.ledger.free_bytes
        if missing <= 0:
            return []
        others = [each for each in self._residents(patient=False) if not each.leaving]
        idle = [
            each.candidate
            for each in others
            if not (each.busy or each.pinned or each.candidate.expert == expert)
        ]
        victims = self._eviction.choose(idle, missing)
        if victims is not None:
            return self._evict(victims, f"{expert} holds more than was estimated", now)
        if held_bytes > self.ledger.room_bytes:
            return self._refuse_all(
                slot, over_ram(slot, held_bytes, self.ledger, {})
            ) + self._drain(slot, "holds more than the whole cap", now)
        return []

    def on_exited(self, expert: str, reason: str, now: float) -> list[Effect]:
        """Take note that a worker is gone: as asked, by a failed load, or by a crash."""
        slot = self.slots[expert]
        state, serving = slot.state, slot.serving
        interrupted = slot.kill_at is not None
        slot.serving, slot.kill_at = None, None
        self.ledger.release(expert)
        self._eviction.on_gone(expert)
        effects: list[Effect] = []
        if state is ExpertState.DRAINING:
            slot.advance(ExpertEvent.EXITED)
            slot.stale = slot.unload_wanted = False
            if not slot.load_wanted:
                effects.append(Settle(expert, None))
        else:
            effects += self._on_failure(slot, reason, now)
        if serving and not interrupted:
            error = ExpertFailedError(f"{expert}: {reason}", expert=expert, reason=reason)
            effects.append(Refuse(serving.id, error))
        if slot.removed:
            del self.slots[expert]
        return effects + self._plan(now)

    # ── the operator ──────────────────────────────────────────────────────────────────────────

    def on_load(self, expert: str, now: float) -> list[Effect]:
        """Load an expert now; a `Settle` follows."""
        slot = self.slots[expert]
        slot.budget.forgive()
        if slot.state is ExpertState.READY:
            return [Settle(expert, None)]
        if slot.state is ExpertState.FAILED:
            slot.advance(ExpertEvent.RETRY)
        slot.load_wanted = True
        self._waiting.want(slot)
        return self._plan(now)

    def on_unload(self, expert: str, now: float) -> list[Effect]:
        """Unload an expert once nobody waits for it; a `Settle` follows."""
        slot = self.slots[expert]
        slot.pinned = False
        if not slot.loaded:
            return [Settle(expert, None)]
        slot.unload_wanted = True
        self._leaving.add(expert)
        return self._sweep(now)

    def on_pin(self, expert: str, *, pinned: bool) -> None:
        """Keep an expert loaded once it is, or no longer."""
        self.slots[expert].pinned = pinned

    def on_stop(self) -> None:
        """Refuse what comes from now on; what waits and runs may still end."""
        self.stopping = True

    def on_give_up(self, now: float) -> list[Effect]:
        """End everything that still waits or runs: the time to drain is over."""
        effects: list[Effect] = []
        error = CancelledError("the daemon is stopping", retry_after_seconds=2.0)
        for slot in self.slots.values():
            effects += self._refuse_all(slot, error)
            if slot.serving and slot.kill_at is None:
                effects += self._interrupt(slot, slot.serving, error, now)
        return effects

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    def on_tick(self, now: float) -> list[Effect]:
        """Do what time demands: deadlines, loads and workers that hang, experts that idle."""
        effects: list[Effect] = []
        for slot in self._waiting.slots():
            stage = "loading" if slot.state is ExpertState.LOADING else "queued"
            for ticket in list(slot.queue):
                if ticket.deadline is not None and ticket.deadline <= now:
                    error = late(ticket, stage, now)
                    effects += self._abandon(ticket.id, ticket.expert, error, now)
        for slot in list(self.slots.values()):
            if not slot.loaded:
                continue
            serving = slot.serving
            if slot.kill_at is not None and slot.kill_at <= now:
                slot.kill_at = None
                effects.append(Kill(slot.facts.expert, "did not react in time"))
            elif serving and slot.kill_at is None and passed(serving.deadline, now):
                effects += self._interrupt(slot, serving, late(serving, "running", now), now)
            until = slot.idle_until()
            if until is not None and until <= now:
                effects += self._drain(slot, "idle", now)
        return effects + self._plan(now)

    def next_wake(self, now: float) -> float | None:
        """Return when `on_tick` is due, or None while nothing depends on time."""
        times: list[float | None] = []
        for slot in self._waiting.slots():
            times += [ticket.deadline for ticket in slot.queue]
            patient_until = (slot.queue.oldest() or 0.0) + self.rules.gather_seconds
            if slot.state is ExpertState.COLD and patient_until > now:
                times.append(patient_until)
        for slot in self.slots.values():
            if slot.loaded:
                times += [slot.kill_at, slot.idle_until()]
                if slot.serving and slot.kill_at is None:
                    times.append(slot.serving.deadline)
        return min((time for time in times if time is not None), default=None)

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return self._waiting.count > 0 or any(slot.serving for slot in self.slots.values())

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return self._waiting.count

    # ── how it is decided ─────────────────────────────────────────────────────────────────────

    def _plan(self, now: float) -> list[Effect]:
        """Serve and load whatever can be, the longest-waiting expert first."""
        effects: list[Effect] = []
        held = False
        for slot in self._waiting.slots():
            if slot.state is ExpertState.READY:
                if not (held or slot.serving or slot.stale) and slot.queue:
                    effects.append(self._serve(slot, now))
            elif slot.state is ExpertState.COLD:
                decided, blocked = self._try_load(slot, now)
                effects += decided
                held = held or blocked
        return effects

    def _serve(self, slot: Slot, now: float) -> Serve:
        """Take the expert's next request and say how long it waited for what."""
        ticket = self._waiting.pop(slot)
        slot.serving = ticket
        waited = now - ticket.arrived
        loading = max(0.0, slot.ready_at - max(ticket.arrived, slot.load_started))
        return Serve(ticket.id, ticket.expert, max(0.0, waited - loading), loading)

    def _try_load(self, slot: Slot, now: float) -> tuple[list[Effect], bool]:
        """Load a cold expert if the governor lets it; True if others must hold back for it."""
        expert, oldest = slot.facts.expert, slot.queue.oldest()
        patient = oldest is not None and now - oldest < self.rules.gather_seconds
        verdict = admit(
            slot.need_bytes, self.ledger, self._residents(patient=patient), self._eviction
        )
        match verdict:
            case Fits():
                self.ledger.set(expert, slot.need_bytes)
                slot.load_started = now
                slot.kill_at = now + slot.facts.load_limit_seconds
                slot.advance(ExpertEvent.LOAD)
                return [Load(expert, slot.need_bytes)], False
            case Evict():
                return self._evict(verdict.victims, f"room for {expert}", now), not patient
            case Wait():
                return [], not patient
            case Never():
                pinned = {name: self.ledger.held(name) for name in verdict.pinned}
                error = over_ram(slot, verdict.need_bytes, self.ledger, pinned)
                return self._refuse_all(slot, error), False

    def _residents(self, *, patient: bool) -> list[Resident]:
        """Return every expert that holds RAM, as the governor sees them."""
        return [
            slot.resident(self.ledger.held(slot.facts.expert), patient=patient)
            for slot in self.slots.values()
            if slot.loaded
        ]

    def _evict(self, victims: Iterable[Candidate], why: str, now: float) -> list[Effect]:
        """Send these experts away."""
        effects: list[Effect] = []
        for victim in victims:
            self._eviction.on_evicted(victim)
            self.evictions += 1
            effects += self._drain(self.slots[victim.expert], f"evicted: {why}", now)
        return effects

    def _drain(self, slot: Slot, why: str, now: float) -> list[Effect]:
        """Ask an idle worker to leave; it is killed if it does not."""
        slot.advance(ExpertEvent.DRAIN)
        slot.kill_at = now + self.rules.interrupt_grace_seconds
        return [Unload(slot.facts.expert, why)]

    def _sweep(self, now: float) -> list[Effect]:
        """Let those leave whose leaving was asked for, once they are idle."""
        effects: list[Effect] = []
        for name in list(self._leaving):
            slot = self.slots.get(name)
            if slot is None or not slot.loaded:
                self._leaving.discard(name)
                continue
            due = slot.stale or slot.removed or (slot.unload_wanted and not slot.queue)
            if slot.state is ExpertState.READY and not slot.serving and due:
                self._leaving.discard(name)
                why = "replaced" if slot.stale else "removed" if slot.removed else "asked"
                effects += self._drain(slot, why, now)
        return effects

    def _on_failure(self, slot: Slot, reason: str, now: float) -> list[Effect]:
        """Take note of a failed load or a crash, and end what cannot be answered any more."""
        if slot.state is ExpertState.LOADING:
            slot.budget.on_load_failed(reason, now)
        else:
            slot.budget.on_crash(reason, now)
        if not slot.budget.rest_seconds(now):
            slot.advance(ExpertEvent.EXITED)
            return []
        slot.advance(ExpertEvent.GAVE_UP)
        return self._refuse_all(slot, resting(slot, now))

    def _refusal(self, slot: Slot, ticket: Ticket, now: float) -> AiosdError | None:
        """Return why a request cannot even be queued, or None."""
        if self.stopping:
            return BusyError("the daemon is stopping", retry_after_seconds=2.0)
        if slot.state is ExpertState.FAILED:
            if slot.budget.rest_seconds(now):
                return resting(slot, now)
            slot.advance(ExpertEvent.RETRY)
        return self._waiting.full(ticket.client)

    def _abandon(self, request: int, expert: str, error: AiosdError, now: float) -> list[Effect]:
        """End one request wherever it is."""
        slot = self.slots.get(expert)
        if slot is None:
            return []
        if self._waiting.remove(slot, request):
            return [Refuse(request, error)]
        if slot.serving and slot.serving.id == request and slot.kill_at is None:
            return self._interrupt(slot, slot.serving, error, now)
        return []

    def _interrupt(self, slot: Slot, ticket: Ticket, error: AiosdError, now: float) -> list[Effect]:
        """End a running request; its worker is killed if it does not let go in time."""
        slot.kill_at = now + self.rules.interrupt_grace_seconds
        return [Interrupt(ticket.id, ticket.expert), Refuse(ticket.id, error)]

    def _refuse_all(self, slot: Slot, error: AiosdError) -> list[Effect]:
        """End everything that waits for an expert."""
        effects: list[Effect] = []
        if slot.load_wanted:
            slot.load_wanted = False
            effects.append(Settle(slot.facts.expert, error))
        return [*effects, *(Refuse(ticket.id, error) for ticket in self._waiting.clear(slot))]
