"""Whose turn it is: what may begin now, given the cores, the watts and who is more urgent.

Requests wait in their queues for power as they wait for anything else: nothing here looks at a
clock or a meter, and what the power governor decides comes in as an event.
"""

import math
from collections.abc import Iterable
from typing import Protocol

from aiosd.domain.allowance import Admission, Allowance, Draw
from aiosd.domain.errors import AiosdError
from aiosd.domain.expert import ExpertState
from aiosd.domain.request import Priority
from aiosd.policy.serving.effects import Adjust, Effect, Serve
from aiosd.policy.serving.queues import BACKGROUND_RANK, ORDER, RANK, Ticket
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.slots import Slot
from aiosd.policy.serving.thread_budget import Share, ThreadBudget

HELD = "waiting for power"


class Purse(Protocol):
    """Who gives joules to requests; `aiosd.policy.power.purse` does."""

    def draw(self, ticket: Ticket, now: float) -> Draw:
        """Take what a request is expected to need, if it is there."""

    def refusal(self, draw: Draw) -> AiosdError:
        """Return the error for a request whose patience with the purse is over."""


class Turns:
    """Who answers now, and why others must wait.

    `held` says that nothing may begin. `surplus` says whether work that nobody waits for may; it
    then begins only while nobody else waits (`urgent` tells of those who do). `idle` says that
    nobody answers and nothing limits who may: then a request begins without any book-keeping, and
    is entered in the books once it is not alone any more. `paced` says that workers rest for what a
    power cap does not pay for; without it the kernel sees to that.
    """

    def __init__(self, rules: SchedulerRules, waiting: Iterable[Ticket]) -> None:
        """Start with nobody answering, and no cap; `waiting` are those who wait at any moment."""
        self.held = False
        self.surplus = True
        self.idle = self.paced = True
        self.budget = ThreadBudget(rules.threads)
        self._rules = rules
        self._waiting = waiting
        self._allowance: Allowance | None = None
        self._ranks: dict[str, int] = {}
        self._running = [0] * len(ORDER)
        self._unpaid: dict[int, tuple[float, float]] = {}
        self._purse: Purse | None = None
        self._alone: tuple[Ticket, int] | None = None

    # ── what limits ───────────────────────────────────────────────────────────────────────────

    def on_rules(self, rules: SchedulerRules) -> None:
        """Use other bounds from now on."""
        self._rules = rules
        self.on_power(self._allowance)

    def on_power(self, allowance: Allowance | None) -> None:
        """Take what the power governor allows; None where there is no cap."""
        self._enter()
        self._allowance = allowance
        threads, cores = self._rules.threads, math.inf
        self.held, self.surplus = False, True
        if allowance is not None:
            self.held = allowance.admit is not Admission.NOW
            self.surplus = allowance.background
            if allowance.duty < 1.0 or allowance.threads < threads:
                threads = min(threads, allowance.threads)
                cores = allowance.threads * allowance.duty if self.paced else math.inf
        self.budget.limit(threads, cores)
        self._look()

    def pay_from(self, purse: Purse | None) -> None:
        """Have each request paid for before it begins; None: joules are not counted out."""
        self._purse = purse
        self._look()

    def _look(self) -> None:
        """See whether anybody answers, or anything limits who may."""
        free = self.surplus and not self.held and self._purse is None
        self.idle = free and not self._ranks and self._alone is None and self.budget.free

    # ── who may ───────────────────────────────────────────────────────────────────────────────

    def _may_begin(self, slot: Slot, *, urgent: bool) -> bool:
        """Tell whether a ready, idle expert may answer its next request."""
        if self.held or not slot.queue:
            return False
        rank = slot.queue.rank()
        return self._open(rank) and not (rank == BACKGROUND_RANK and urgent)

    def at_once(self, priority: Priority) -> bool:
        """Tell whether a request may begin that finds its expert free and nobody waiting."""
        self._enter()
        return not self.held and self._purse is None and self._open(RANK[priority])

    def _open(self, rank: int) -> bool:
        """Tell whether one more of that rank may be answered beside those who are."""
        if rank == BACKGROUND_RANK and not self.surplus:
            return False
        bound = self._rules.running
        return bound is None or sum(self._running[: rank + 1]) < bound

    def may_load(self, slot: Slot, *, urgent: bool) -> bool:
        """Tell whether a cold expert may be loaded for those who wait; the operator always may."""
        if slot.load_wanted:
            return True
        if self.held:
            return False
        background = slot.queue.rank() == BACKGROUND_RANK
        return not background or (self.surplus and not urgent)

    def verdict(self, slot: Slot, now: float, *, urgent: bool) -> AiosdError | bool:
        """Tell whether a ready, idle expert may answer its next request.

        If it may, the request is paid for. An error says why it waits no longer.
        """
        if not self._may_begin(slot, urgent=urgent):
            return False
        return self._purse is None or self._pay(self._purse, slot.queue.peek(), now)

    def _pay(self, purse: Purse, ticket: Ticket, now: float) -> AiosdError | bool:
        """Have a request paid for: True, False while it must wait, or why it waits no longer."""
        since, due = self._unpaid.get(ticket.id, (now, now))
        if now < due:
            return False
        draw = purse.draw(ticket, now)
        if draw.admit is Admission.WAIT:
            due = now + max(draw.retry_after_seconds or 0.0, 1e-3)
            background = ticket.priority is Priority.BACKGROUND
            if background or due <= since + self._rules.patience_seconds:
                self._unpaid[ticket.id] = (since, due)
                return False
        self._unpaid.pop(ticket.id, None)
        return True if draw.admit is Admission.NOW else purse.refusal(draw)

    # ── who does ──────────────────────────────────────────────────────────────────────────────

    def begin(self, slot: Slot, ticket: Ticket, now: float) -> Serve:
        """Let an expert answer: say how long the request waited for what, and what may be used."""
        expert, share = ticket.expert, self._start(slot, ticket)
        waited = now - ticket.arrived
        loading = max(0.0, slot.ready_at - max(ticket.arrived, slot.load_started))
        queued = max(0.0, waited - loading)
        return Serve(ticket.id, expert, queued, loading, share.threads, share.duty)

    def first(self, slot: Slot, ticket: Ticket, now: float) -> list[Effect]:
        """Let an expert answer a request that has waited for nothing."""
        if self.idle:
            self.idle = False
            threads = min(slot.facts.threads, self.budget.threads)
            self._alone = (ticket, threads)
            return [Serve(ticket.id, ticket.expert, 0.0, 0.0, threads)]
        share = self._start(slot, ticket)
        serve = Serve(ticket.id, ticket.expert, 0.0, 0.0, share.threads, share.duty)
        return [serve, *self.adjust(now)] if len(self._ranks) > 1 else [serve]

    def _start(self, slot: Slot, ticket: Ticket) -> Share:
        """Take note that an expert begins to answer, and return what it may use."""
        self._enter()
        self.idle = False
        return self._enlist(ticket, slot.facts.threads)

    def _enlist(self, ticket: Ticket, threads: int) -> Share:
        """Take a request into the books; its expert can use so many threads."""
        rank = RANK[ticket.priority]
        self._ranks[ticket.expert] = rank
        self._running[rank] += 1
        return self.budget.begin(ticket.expert, threads, rank)

    def _enter(self) -> None:
        """Take the one that is answered without book-keeping into the books."""
        if self._alone is not None:
            alone, self._alone = self._alone, None
            self._enlist(*alone)

    def adjust(self, now: float) -> list[Effect]:
        """Tell those who answer already what they may use from now on, as far as that is new."""
        return [
            Adjust(expert, share.threads, share.duty) for expert, share in self.budget.adjust(now)
        ]

    def end(self, expert: str, now: float) -> None:
        """Take note that an expert answers no longer, if it did."""
        if self._alone is not None:
            if self._alone[0].expert == expert:
                self._alone, self.idle = None, True
            return
        rank = self._ranks.pop(expert, None)
        if rank is not None:
            self._running[rank] -= 1
            self.budget.end(expert, now)
            self._look()

    def stage(self, slot: Slot) -> str:
        """Say where a request is that waits for this expert."""
        if slot.state is ExpertState.LOADING:
            return "loading"
        return HELD if self.held else "queued"

    def awaits_power(self) -> Priority | None:
        """Return the most urgent of those whom the power governor keeps waiting, or None."""
        if self.surplus and not self.held:
            return None
        ranks = [RANK[each.priority] for each in self._waiting]
        if self.held:
            return ORDER[min(ranks)] if ranks else None
        return Priority.BACKGROUND if BACKGROUND_RANK in ranks else None

    def next_wake(self) -> float | None:
        """Return when time alone changes something, or None."""
        wakes: list[float] = []
        if self._unpaid:
            waiting = {each.id for each in self._waiting}
            self._unpaid = {one: each for one, each in self._unpaid.items() if one in waiting}
            wakes = [due for _, due in self._unpaid.values()]
        calm = self.budget.next_wake()
        if calm is not None:
            wakes.append(calm)
        return min(wakes) if wakes else None
