"""Everybody who waits, over all experts: counted per client, bounded, most urgent first."""

import heapq
from collections.abc import Iterator

from aiosd.domain.errors import AiosdError, BusyError
from aiosd.domain.request import Priority
from aiosd.policy.serving.effects import Effect, Refuse, Settle
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.slots import Slot

RETRY_SECONDS = 0.5


class WaitingRoom:
    """The slots that somebody waits for, and how many wait on whose behalf."""

    def __init__(self, per_client: int, total: int) -> None:
        """Bound the requests that may wait for one client, and for all together."""
        self._bounds = (per_client, total)
        self._tickets: dict[int, Ticket] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._slots: dict[str, Slot] = {}
        self._per_client: dict[str, int] = {}
        self._held: dict[str, float] = {}
        self.count = 0

    @property
    def empty(self) -> bool:
        """Whether nobody waits or is held, no operator either."""
        return not (self._slots or self._held)

    def bound(self, per_client: int, total: int) -> None:
        """Use other bounds from now on; who waits already may go on waiting."""
        self._bounds = (per_client, total)

    def full(self, client: str) -> BusyError | None:
        """Return why this client may not wait too, or None."""
        counts = (self._per_client.get(client, 0), self.count)
        if counts[0] < self._bounds[0] and counts[1] < self._bounds[1]:
            return None
        for count, bound, whose in zip(counts, self._bounds, ("you", "all clients"), strict=True):
            if count >= bound:
                return BusyError(
                    f"{count} requests of {whose} wait already, at most {bound} may",
                    retry_after_seconds=RETRY_SECONDS,
                    waiting=count,
                )
        return None

    def push(self, slot: Slot, ticket: Ticket) -> None:
        """Let a request wait for its expert."""
        slot.queue.push(ticket)
        self._slots[ticket.expert] = slot
        self._tickets[ticket.id] = ticket
        if ticket.deadline is not None:
            heapq.heappush(self._deadlines, (ticket.deadline, ticket.id))
            self._tidy()
        self._per_client[ticket.client] = self._per_client.get(ticket.client, 0) + 1
        self.count += 1

    def want(self, slot: Slot) -> None:
        """Note that the operator waits for an expert."""
        self._slots[slot.facts.expert] = slot

    def pop(self, slot: Slot) -> Ticket:
        """Take the expert's next request."""
        ticket = slot.queue.pop()
        self._forget(slot, ticket)
        return ticket

    def remove(self, slot: Slot, request: int) -> Ticket | None:
        """Take out one request, if it waits."""
        ticket = slot.queue.remove(request) if request in self._tickets else None
        if ticket:
            self._forget(slot, ticket)
        return ticket

    def clear(self, slot: Slot) -> list[Ticket]:
        """Take out everybody who waits for an expert."""
        tickets = slot.queue.clear()
        for ticket in tickets:
            self._forget(slot, ticket)
        self.settle(slot)
        return tickets

    def refuse(self, slot: Slot, error: AiosdError) -> list[Effect]:
        """End everything that waits for an expert, the operator included."""
        effects: list[Effect] = []
        if slot.load_wanted:
            slot.load_wanted = False
            effects.append(Settle(slot.facts.expert, error))
        return [*effects, *(Refuse(ticket.id, error) for ticket in self.clear(slot))]

    def hold(self, expert: str, seconds: float | None) -> None:
        """Let nobody be answered by an expert until one has waited for so long; None: let them."""
        if seconds is None:
            self._held.pop(expert, None)
        else:
            self._held[expert] = seconds

    def holds(self, expert: str) -> bool:
        """Tell whether those who wait for an expert are held back."""
        return expert in self._held

    def hold_ends(self) -> dict[str, float]:
        """Return until when each hold may last; one that nobody feels has no end."""
        ends = {}
        for expert, seconds in self._held.items():
            slot = self._slots.get(expert)
            oldest = slot.queue.oldest() if slot else None
            if oldest is not None:
                ends[expert] = oldest + seconds
        return ends

    def end_holds(self, now: float) -> None:
        """Let those go who were held back for long enough."""
        for expert, end in self.hold_ends().items():
            if end <= now:
                del self._held[expert]

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of those who wait, or None."""
        while self._deadlines and self._deadlines[0][1] not in self._tickets:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def late(self, now: float) -> list[Ticket]:
        """Return those whose deadline has passed; they are still in their queues."""
        tickets: list[Ticket] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            tickets.append(self._tickets[heapq.heappop(self._deadlines)[1]])
        return tickets

    def settle(self, slot: Slot) -> None:
        """Let go of a slot that nobody waits for any more."""
        if not slot.wanted:
            self._slots.pop(slot.facts.expert, None)

    def slots(self) -> list[Slot]:
        """Return the slots somebody waits for: the most urgent, then the longest-waiting first."""
        slots = list(self._slots.values())
        if len(slots) > 1:
            slots.sort(key=lambda slot: slot.queue.urgency())
        return slots

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets.values())

    def urgent(self) -> list[Ticket]:
        """Return those who wait and are not background; they stay in their queues."""
        return [each for each in self._tickets.values() if each.priority is not Priority.BACKGROUND]

    def _tidy(self) -> None:
        """Drop the deadlines of those who wait no longer, before they outnumber the others."""
        if len(self._deadlines) > 2 * len(self._tickets) + 64:
            self._deadlines = [each for each in self._deadlines if each[1] in self._tickets]
            heapq.heapify(self._deadlines)

    def _forget(self, slot: Slot, ticket: Ticket) -> None:
        """Count one who waits no longer."""
        del self._tickets[ticket.id]
        self.count -= 1
        left = self._per_client[ticket.client] - 1
        if left:
            self._per_client[ticket.client] = left
        else:
            del self._per_client[ticket.client]
        self.settle(slot)
