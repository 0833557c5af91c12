"""When each request runs, and who is loaded or evicted for it: events in, effects out.

All methods are called by the broker alone, in order, with the monotonic clock's `now`; none of
them waits, logs or looks at the world.
"""

from collections.abc import Iterable

from aiosd.domain.allowance import Allowance
from aiosd.domain.errors import AiosdError, CancelledError
from aiosd.domain.expert import ExpertEvent, ExpertState
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.memory.pressure import Growth, Lack, MemoryNews
from aiosd.policy.serving.effects import Effect, Interrupt, Kill, Refuse, Settle
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.planning import Planner
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.refusals import (
    crashed,
    hung,
    late,
    over_ram,
    passed,
    removed,
    resting,
    stopping,
)
from aiosd.policy.serving.residency import Residency
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.slots import Slot
from aiosd.policy.serving.turns import Turns
from aiosd.policy.serving.waiting import WaitingRoom
from aiosd.policy.serving.waking import next_wake, sooner


class Scheduler:
    """The one owner of who waits, who runs and who is loaded."""

    def __init__(self, ledger: Ledger, rules: SchedulerRules) -> None:
        """Start with no experts."""
        self.ledger = ledger
        self.rules = rules
        self.slots: dict[str, Slot] = {}
        self.stopping = False
        self._wake: float | None = None
        self._wake_known = False
        self.waiting = WaitingRoom(rules.queue_per_client, rules.queue_total)
        self.turns = Turns(rules, self.waiting)
        gather, grace = rules.gather_seconds, rules.interrupt_grace_seconds
        self.residency = Residency(ledger, gather_seconds=gather, grace_seconds=grace)
        self._planner = Planner(self.slots, self.waiting, self.residency, self.turns)

    # ── what is installed ─────────────────────────────────────────────────────────────────────

    def on_catalogue(
        self, facts: Iterable[ExpertFacts], changed: Iterable[str], now: float
    ) -> list[Effect]:
        """Take the experts now installed; those `changed` are replaced once they are idle."""
        effects: list[Effect] = []
        known = {each.expert: each for each in facts}
        renewed = set(changed)
        for name, fact in known.items():
            slot = self.slots.get(name)
            if slot is None:
                self.slots[name] = Slot(fact, self.rules.restart)
                continue
            slot.on_facts(fact)
            if slot.removed:  # it came back before its worker had left
                slot.removed = False
                renewed.add(name)
        for name in renewed & known.keys():
            self.slots[name].renew()
            self.residency.ask_to_leave(self.slots[name])
        for name in [name for name in self.slots if name not in known]:
            slot = self.slots[name]
            slot.removed = True
            self.residency.ask_to_leave(slot)
            effects += self.waiting.refuse(slot, removed(name))
            if not slot.loaded:
                del self.slots[name]
        return effects + self.residency.sweep(now) + self._plan(now)

    def on_rules(self, rules: SchedulerRules, cap_bytes: int, now: float) -> list[Effect]:
        """Use other rules and another cap from now on; over a lower cap, idle experts leave."""
        self.rules, self.ledger.cap_bytes = rules, cap_bytes
        self.residency.gather_seconds = rules.gather_seconds
        self.residency.grace_seconds = rules.interrupt_grace_seconds
        self.waiting.bound(rules.queue_per_client, rules.queue_total)
        self.turns.on_rules(rules)
        for slot in self.slots.values():
            slot.budget.rules = rules.restart
        return self.residency.shrink("the cap was lowered", now) + self._plan(now)

    def on_power(
        self, allowance: Allowance | None, refusal: AiosdError | None, now: float
    ) -> list[Effect]:
        """Take what the power governor allows from now on; None where there is no cap.

        While requests are to wait nothing begins, neither an answer nor a load. With a `refusal`
        all who wait are refused, but for those who call themselves background.
        """
        self.turns.on_power(allowance)
        effects: list[Effect] = []
        if refusal:
            for ticket in self.waiting.urgent():
                effects += self._abandon(ticket.id, ticket.expert, refusal, now)
        return effects + self._plan(now)

    # ── requests ──────────────────────────────────────────────────────────────────────────────

    def on_request(self, ticket: Ticket, now: float) -> list[Effect]:
        """Queue a request, or refuse it: stopping, too many waiting, or the expert rests.

        Where its expert is free and nobody waits for anything it is served at once, which is what
        queue and plan would come to.
        """
        slot = self.slots[ticket.expert]
        free = slot.free and self.waiting.empty and not self.stopping
        if free and (self.turns.idle or self.turns.at_once(ticket.priority)):
            slot.serving = ticket
            self._wake_by(ticket.deadline)
            return self.turns.first(slot, ticket, now)
        refusal = self._refusal(slot, ticket, now)
        if refusal:
            return [Refuse(ticket.id, refusal)]
        self.residency.try_again(slot)
        self.waiting.push(slot, ticket)
        return self._plan(now)

    def on_done(self, expert: str, now: float) -> list[Effect]:
        """Take note that the expert's worker is free again."""
        slot = self.slots[expert]
        ticket, slot.serving, slot.ended = slot.serving, None, False
        self.turns.end(expert, now)
        if slot.state is ExpertState.READY:
            slot.kill_at = None
        slot.on_use(now)
        slot.idle_since = now
        slot.budget.on_answer()
        if ticket and ticket.keep_alive_seconds is not None:
            slot.keep_alive_seconds = ticket.keep_alive_seconds
            self._wake_known = False
        else:
            slot.keep_alive_seconds = slot.facts.keep_alive_seconds
        if self.waiting.empty and self.residency.settled:
            turn = None if self.turns.idle else self.turns.next_wake()
            self._wake_by(sooner(slot.idle_until(), turn))
            return []
        over = self.residency.shrink("the experts hold more than was estimated", now)
        return over + self.residency.sweep(now) + self._plan(now)

    def on_cancel(self, request: int, expert: str, now: float) -> list[Effect]:
        """End a request that nobody wants any more, queued or running."""
        error = CancelledError("cancelled by the caller")
        return self._abandon(request, expert, error, now) + self._plan(now)

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    def on_loaded(
        self,
        expert: str,
        held_bytes: int | None,
        now: float,
        *,
        mapped: int = 0,
        parks: bool = False,
        known: bool = True,
    ) -> list[Effect]:
        """Take note that a worker is ready, what it really holds, and whether it can be parked.

        Where that was not measured yet, what was reserved for it stays so. Unless it is `known`,
        what was measured before is forgotten: it was of another engine.
        """
        slot = self.slots[expert]
        slot.on_loaded(now, parks=parks, known=known)
        effects: list[Effect] = []
        if held_bytes is not None:
            effects += self._measured(slot, held_bytes, mapped, now)
        if slot.load_wanted:
            slot.load_wanted = False
            self.waiting.settle(slot)
            effects.append(Settle(expert, None))
        return effects + self.residency.sweep(now) + self._plan(now)

    def on_measured(
        self, expert: str, held_bytes: int, now: float, *, mapped: int = 0
    ) -> list[Effect]:
        """Reconcile the books with a measurement; over the cap, idle experts leave."""
        effects = self._measured(self.slots[expert], held_bytes, mapped, now)
        return effects + self.residency.sweep(now) + self._plan(now)

    def on_parked(
        self, expert: str, held_bytes: int, now: float, *, mapped: int = 0
    ) -> list[Effect]:
        """Take note that a worker is parked, and what it still holds."""
        self.residency.on_parked(self.slots[expert], held_bytes, mapped)
        return self.residency.sweep(now) + self._plan(now)

    def on_resumed(self, expert: str, context_seconds: float, pages_seconds: float | None) -> None:
        """Remember what it took a parked worker to come back."""
        self.slots[expert].on_resumed(context_seconds, pages_seconds)

    def on_memory(self, news: MemoryNews, now: float) -> list[Effect]:
        """Take note of what memory does beside the books: see `MemoryNews`."""
        if isinstance(news, Growth):
            effects = self.residency.on_growth(self.slots[news.expert], news.held_bytes, now)
        elif isinstance(news, Lack):
            slot = self.slots[news.expert]
            way = self.residency.make_way(slot, news.lacking_bytes, now)
            effects = way if isinstance(way, list) else self.waiting.refuse(slot, way)
            effects += self.on_exited(news.expert, "not begun", now)
        else:
            effects = self.residency.relieve("the machine is short of memory", now)
        return effects + self.residency.sweep(now) + self._plan(now)

    def on_exited(
        self, expert: str, reason: str, now: float, *, outgrown_bytes: int = 0
    ) -> list[Effect]:
        """Take note that a worker is gone: as asked, by a failed load, or by a crash.

        The kernel may have ended it for going over a limit of `outgrown_bytes`.
        """
        slot = self.slots[expert]
        state, serving, ended = slot.state, slot.serving, slot.ended
        asked, planned = slot.unload_wanted, state is ExpertState.DRAINING
        if state is ExpertState.LOADING and (slot.stale or self.residency.lacks(slot)):
            planned = True  # what could not be loaded is not installed now, or was never begun
        self.residency.on_exited(slot, outgrown_bytes, now)
        self.turns.end(expert, now)
        effects: list[Effect] = []
        if serving and not ended:
            effects.append(Refuse(serving.id, crashed(expert, reason)))
        if planned:
            slot.advance(ExpertEvent.EXITED)
        elif slot.on_failure(reason, now):
            effects += self.waiting.refuse(slot, resting(slot, now))
        if (planned or asked) and not slot.load_wanted:
            effects.append(Settle(expert, None))
        if slot.removed:
            del self.slots[expert]
        elif slot.pinned and slot.state is ExpertState.COLD and not self.stopping:
            slot.load_wanted = True
            self.waiting.want(slot)
        return effects + self._plan(now)

    # ── the operator ──────────────────────────────────────────────────────────────────────────

    def on_load(self, expert: str, now: float, *, ram_bytes: int | None = None) -> list[Effect]:
        """Load an expert now, at most with the RAM that the operator allows; a `Settle` follows."""
        slot = self.slots[expert]
        if self.stopping:
            return [Settle(expert, stopping())]
        if ram_bytes is not None:
            slot.allow(ram_bytes)
        slot.budget.forgive()
        slot.unload_wanted = False
        self.residency.try_again(slot)
        if slot.state is ExpertState.READY and not slot.stale:
            return [Settle(expert, None)]
        if slot.state is ExpertState.FAILED:
            slot.advance(ExpertEvent.RETRY)
        slot.load_wanted = True
        self.waiting.want(slot)
        return self._plan(now)

    def on_unload(self, expert: str, now: float) -> list[Effect]:
        """Unload an expert once nobody waits for it; a `Settle` follows."""
        slot = self.slots[expert]
        slot.pinned = False
        if not slot.loaded:
            return [Settle(expert, None)]
        slot.unload_wanted = True
        self._wake_known = False
        self.residency.ask_to_leave(slot)
        return self.residency.sweep(now)

    def on_pin(self, expert: str, *, pinned: bool) -> None:
        """Keep an expert loaded once it is, or no longer."""
        self.slots[expert].pinned = pinned
        self._wake_known = False

    def on_hold(self, expert: str, seconds: float | None, now: float) -> list[Effect]:
        """Hold back who waits for an expert, until one has waited for so long; None: no longer."""
        self.waiting.hold(expert, seconds)
        return self._plan(now)

    def on_stop(self) -> None:
        """Refuse what comes from now on; what waits and runs may still end."""
        self.stopping = True

    def on_give_up(self, now: float) -> list[Effect]:
        """End everything that still waits or runs: the time to drain is over."""
        effects: list[Effect] = []
        error = CancelledError("the daemon is stopping", retry_after_seconds=2.0)
        for slot in self.waiting.slots():
            effects += self.waiting.refuse(slot, error)
        for slot in self.residency:
            if slot.serving and not slot.ended:
                effects += self._interrupt(slot, slot.serving, error, now)
        return effects

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    def on_tick(self, now: float) -> list[Effect]:
        """Do what time demands: deadlines, loads and workers that hang, experts that idle."""
        effects: list[Effect] = []
        self.waiting.end_holds(now)
        for ticket in self.waiting.late(now):
            error = late(ticket, self.turns.stage(self.slots[ticket.expert]), now)
            effects += self._abandon(ticket.id, ticket.expert, error, now)
        for slot in self.residency:
            serving = slot.serving
            if slot.kill_at is not None and slot.kill_at <= now:
                slot.kill_at, slot.doomed = None, True
                effects.append(Kill(slot.facts.expert, hung(slot)))
            elif serving and not slot.ended and passed(serving.deadline, now):
                effects += self._interrupt(slot, serving, late(serving, "running", now), now)
            until = slot.idle_until()
            if until is not None and until <= now:
                effects += self.residency.rest(slot, now)
        return effects + self._plan(now)

    def next_wake(self, now: float) -> float | None:
        """Return when `on_tick` is due, or None while nothing depends on time.

        It may be due a little early: a request that is served at once only adds its own times.
        """
        if not self._wake_known:
            gather = self.rules.gather_seconds
            wake = next_wake(self.waiting, self.residency, gather_seconds=gather, now=now)
            self._wake, self._wake_known = sooner(wake, self.turns.next_wake()), True
        return self._wake

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return self.waiting.count > 0 or any(slot.serving for slot in self.residency)

    @property
    def evictions(self) -> int:
        """How many experts had to leave for others."""
        return self.residency.evictions

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return self.waiting.count

    # ── how it is decided ─────────────────────────────────────────────────────────────────────

    def _plan(self, now: float) -> list[Effect]:
        """Serve and load whatever can be, the most urgent and then longest-waiting first."""
        self._wake_known = False
        return self._planner.plan(now)

    def _wake_by(self, when: float | None) -> None:
        """See to it that `on_tick` comes no later than that."""
        if self._wake_known:
            self._wake = sooner(self._wake, when)

    def _measured(self, slot: Slot, held_bytes: int, mapped_bytes: int, now: float) -> list[Effect]:
        """Take a measurement into the books; nobody can be answered by one that is too large."""
        effects = self.residency.on_measured(slot, held_bytes, mapped_bytes, now)
        if held_bytes > self.ledger.room_bytes:
            effects += self.waiting.refuse(slot, over_ram(slot, held_bytes, self.ledger, {}))
        return effects

    def _refusal(self, slot: Slot, ticket: Ticket, now: float) -> AiosdError | None:
        """Return why a request cannot even be queued, or None."""
        if self.stopping:
            return stopping()
        if slot.state is ExpertState.FAILED:
            if slot.budget.rest_seconds(now):
                return resting(slot, now)
            slot.advance(ExpertEvent.RETRY)
        return self.waiting.full(ticket.client)

    def _abandon(self, request: int, expert: str, error: AiosdError, now: float) -> list[Effect]:
        """End one request wherever it is."""
        slot = self.slots.get(expert)
        if slot is None:
            return []
        if self.waiting.remove(slot, request):
            return [Refuse(request, error)]
        if slot.serving and slot.serving.id == request and not slot.ended:
            return self._interrupt(slot, slot.serving, error, now)
        return []

    def _interrupt(self, slot: Slot, ticket: Ticket, error: AiosdError, now: float) -> list[Effect]:
        """End a running request; its worker is killed if it does not let go in time."""
        slot.ended = True
        self._wake_known = False
        slot.kill_at = now + self.rules.interrupt_grace_seconds
        return [Interrupt(ticket.id, ticket.expert), Refuse(ticket.id, error)]
