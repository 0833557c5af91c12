"""Requests held back while a release is tried out in the room of the one that serves.

Where there is no room for both, they would be loaded for each other's requests in turn. So those to
the expert wait, each for a bounded time, and the release runs all its self-tests in one load. If
somebody has waited for that time the release gives way, and is tried again later.
"""

import asyncio
import logging
from collections.abc import Callable

from aiosd.daemon.broker import Broker
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.refusals import no_room_beside

log = logging.getLogger(__name__)


class Holding:
    """Whose requests are held back, and why; `seconds` bounds each one's wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker) -> None:
        """Hold nobody back yet."""
        self._loop = loop
        self._broker = broker
        self._held: dict[str, str] = {}
        self._waited: dict[str, float] = {}
        self.seconds: Callable[[], float] = lambda: 30.0

    def begin(self, name: str, alias: str) -> None:
        """Hold requests to an expert back for a release of it, if there is no room for both.

        One that is pinned is not sent away, so that waiting would be for nothing; and a release
        that answers them already keeps nobody waiting.
        """
        slot, detours = self._broker.scheduler.slots.get(name), self._broker.detours
        answered = detours is not None and name in detours.seats
        if name in self._held or answered or slot is None or slot.pinned:
            return
        said = self.crowded(name, alias)
        if said:
            log.info("requests to %s wait while %s is tried out; %s", name, alias, said)
            self._held[name] = said
            self._waited.pop(name, None)
            self._set(name, self.seconds())

    def crowded(self, name: str, alias: str) -> str:
        """Say why an expert and a release of it have no room beside each other; "" if they have."""
        scheduler = self._broker.scheduler
        slot, other = scheduler.slots.get(alias), scheduler.slots.get(name)
        if slot is None or other is None:
            return ""
        lacking = scheduler.residency.lacks_for_both(slot, other)
        return no_room_beside(slot, other, lacking, scheduler.ledger) if lacking else ""

    def holds(self, name: str) -> bool:
        """Tell whether requests to an expert were held back, and may still wait."""
        return name in self._held

    def broken(self, name: str) -> str:
        """Say why a release must give way now, as somebody has waited for long enough; or ""."""
        said = self._held.get(name)
        if said is None or self._broker.scheduler.waiting.holds(name):
            return ""
        return f"{said}; a request waited {self.seconds():g} s for it"

    def end(self, name: str) -> None:
        """Hold nobody back any more who waits for an expert."""
        if self._held.pop(name, None) is not None:
            self._note(name)
            self._set(name, None)

    def waited(self, name: str) -> float:
        """Return how long one had waited at most when the last hold ended, and forget it."""
        return self._waited.pop(name, 0.0)

    def take_out(self, name: str) -> list[Ticket]:
        """Take out those who were held back, for another worker to answer, and end the hold."""
        scheduler, tickets = self._broker.scheduler, list[Ticket]()
        if name in self._held and name in scheduler.slots:
            self._note(name)
            tickets = scheduler.waiting.clear(scheduler.slots[name])
        self.end(name)
        return tickets

    def _note(self, name: str) -> None:
        """Remember how long the first of those who are held back has waited."""
        slot = self._broker.scheduler.slots.get(name)
        oldest = slot.queue.oldest() if slot else None
        if oldest is not None:
            waited = self._loop.time() - oldest
            self._waited[name] = max(waited, self._waited.get(name, 0.0))

    def _set(self, name: str, seconds: float | None) -> None:
        scheduler = self._broker.scheduler
        self._broker.perform(scheduler.on_hold(name, seconds, self._loop.time()))
