"""Requests for an expert that another release of it answers, for as long as that is tried out.

What the other release fails to answer is given to the expert's own worker, so that nobody who asks
notices. The broker has detours only while a release is tried out or swapped in.
"""

from typing import Protocol

import msgspec

from aiosd.daemon.pending import Pending
from aiosd.domain.errors import AiosdError, ErrorCode
from aiosd.policy.serving.queues import Ticket

# What no other release would answer either: the caller wants it no more, or its time is up.
FINAL = frozenset({ErrorCode.CANCELLED, ErrorCode.DEADLINE})


class Watcher(Protocol):
    """Who is told how the requests for one expert fare."""

    def on_answer(self, *, detoured: bool, run_seconds: float, waited_seconds: float) -> None:
        """A request was answered, by the other release or by the expert's own worker."""

    def on_failure(self, reason: str) -> None:
        """The other release failed to answer what the expert's own worker can."""


class Detours:
    """Which requests go to which other worker."""

    def __init__(self) -> None:
        """Send everything where it belongs."""
        self.seats: dict[str, str] = {}
        self.watchers: dict[str, Watcher] = {}
        self._kept: dict[int, Ticket] = {}
        self._failed: dict[int, str] = {}

    def send(self, ticket: Ticket) -> Ticket:
        """Return the ticket as it queues: at another release's worker, if so it is to be."""
        seat = self.seats.get(ticket.expert)
        if seat is None:
            return ticket
        self._kept[ticket.id] = ticket
        return msgspec.structs.replace(ticket, expert=seat)

    def on_end(self, number: int, pending: Pending, run_seconds: float | None = None) -> None:
        """Take note that a request has ended: answered in so many seconds, or not at all."""
        kept, failed = self._kept.pop(number, None), self._failed.pop(number, None)
        watcher = self.watchers.get(pending.route.expert)
        if watcher is None or run_seconds is None:
            return
        waited = pending.queue_seconds + pending.load_seconds + pending.resume_seconds
        if failed is not None:
            watcher.on_failure(failed)
        watcher.on_answer(
            detoured=kept is not None and failed is None,
            run_seconds=run_seconds,
            waited_seconds=waited,
        )

    def again(self, number: int, pending: Pending, error: AiosdError) -> Ticket | None:
        """Return the ticket of a request that the expert's own worker is to answer now, or None.

        One of which a part was sent already can only end; that counts as a failure at once.
        """
        kept = self._kept.get(number)
        if kept is None or number in self._failed or error.code in FINAL:
            return None
        expert = pending.route.expert
        if pending.chunks:
            watcher = self.watchers.get(expert)
            if watcher is not None:
                watcher.on_failure(error.message)
            return None
        if self.seats.get(expert) == pending.seat:
            self._failed[number] = error.message
        else:
            del self._kept[number]  # it was taken back: nobody's failure
        pending.seat = expert
        return kept
