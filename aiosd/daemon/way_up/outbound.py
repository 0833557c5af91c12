"""Requests that are up, or wait for that: each from its permit to its one end."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    CancelledError,
    DeadlineError,
    ExpertFailedError,
    NoRouteError,
)
from aiosd.domain.inputs import ChatInput, Input, TextInput, Turn
from aiosd.domain.request import Outcome, Usage
from aiosd.policy.outbound.escalation import NAME, Asker, Permit, unanswered
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_message, error_of
from aiosd.protocol.pipe import Failed, Piece
from aiosd.protocol.uplink import Answered, Ask

# How much later than the uplink itself a request is given up here.
GRACE_SECONDS = 5.0


class Sender(Protocol):
    """What leads up; `Link` does. `send` raises NoRouteError where it does not."""

    def send(self, message: Ask) -> None:
        """Have a request answered."""

    def cancel(self, request: int) -> None:
        """Stop a request."""


class Bounds(msgspec.Struct, frozen=True):
    """How many requests may be up at once and wait for that, and for how long in all."""

    parallel: int
    waiting: int
    total_seconds: float


class Open(msgspec.Struct):
    """A request that may go up, from its arrival to its one end; times are of the loop's clock."""

    client: Client
    id: bytes
    run: Run
    asker: Asker
    arrived: float
    deadline: float | None
    relay: Client | None = None
    number: int = 0
    permit: Permit | None = None
    local: AiosdError | None = None
    best: Outcome | None = None
    chunks: int = 0
    sent_at: float | None = None
    timer: asyncio.TimerHandle | None = None


class Outbound:
    """Owns what goes up; whoever takes the requests is told by `on_end` when one has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[Open], None]) -> None:
        """Begin without a link."""
        self._loop = loop
        self._on_end = on_end
        self._numbers = itertools.count(1)
        self._up: dict[int, Open] = {}
        self._waiting: deque[tuple[Open, Ask]] = deque()
        self.link: Sender | None = None
        self.bounds = Bounds(1, 0, 60.0)
        self.answered = self.failed = 0

    @property
    def count(self) -> int:
        """How many requests are up."""
        return len(self._up)

    @property
    def queued(self) -> int:
        """How many requests wait for that."""
        return len(self._waiting)

    def next_number(self) -> int:
        """Return a number that nothing else on the link has."""
        return next(self._numbers)

    def send(self, one: Open, leave: Permit) -> None:
        """Hand a request to the link, or keep it until there is room.

        Raises:
            AiosdError: there is no way up now, or too many wait.
        """
        if self.link is None:
            raise NoRouteError("the uplink is switched off")
        options = one.run.options
        one.number = self.next_number()
        ask = Ask(
            id=one.number,
            turns=turns_of(one.run.input),
            sampling=options.sampling,
            stream=options.stream,
            kind=leave.kind,
            client=leave.asker.client,
            uid=leave.asker.uid,
            max_cost=options.max_cost,
        )
        if len(self._up) < self.bounds.parallel:
            self._send(one, ask)
        elif len(self._waiting) < self.bounds.waiting:
            self._waiting.append((one, ask))
        else:
            raise BusyError(
                f"{len(self._waiting)} requests wait for the uplink", retry_after_seconds=1.0
            )
        now = self._loop.time()
        until = one.deadline if one.deadline is not None else now + self._longest()
        one.timer = self._loop.call_at(max(until, now), self._late, one)

    def _longest(self) -> float:
        """Return how long a request without a deadline may take: those before it, and itself."""
        turns = 1 + len(self._waiting) // self.bounds.parallel
        return (1 + turns) * self.bounds.total_seconds + GRACE_SECONDS

    def _send(self, one: Open, ask: Ask) -> None:
        """Hand a request to the link, with the time that is left.

        Raises:
            NoRouteError: there is no way up now.
        """
        if self.link is None:
            raise NoRouteError("the uplink is switched off")
        now = self._loop.time()
        left = None if one.deadline is None else max(0.001, one.deadline - now)
        self.link.send(msgspec.structs.replace(ask, seconds=left))
        one.sent_at = now
        self._up[one.number] = one

    def _next(self) -> None:
        """Send who waits, now that there is room."""
        while self._waiting and len(self._up) < self.bounds.parallel:
            one, ask = self._waiting.popleft()
            try:
                self._send(one, ask)
            except AiosdError as error:
                self._end(one, unanswered(one.local, error))

    # ── the link (its `Listener`) ─────────────────────────────────────────────────────────────

    def on_piece(self, piece: Piece) -> None:
        """A piece of streamed text goes to its client."""
        one = self._up.get(piece.id)
        if one is not None:
            chunk = Chunk(n=one.chunks, text=piece.text)
            one.chunks += 1
            one.client.frontend.send(one.client, one.id, chunk)

    def on_answered(self, answered: Answered) -> None:
        """A request was answered."""
        one = self._up.pop(answered.id, None)
        if one is not None and one.permit is not None:
            self._forget(one)
            self.answered += 1
            outcome = outcome_of(one, one.permit, answered)
            one.client.frontend.send(one.client, one.id, End(outcome=outcome))
        self._next()

    def on_failed(self, failed: Failed) -> None:
        """A request could not be answered."""
        one = self._up.pop(failed.id, None)
        if one is not None:
            error = Error(code=failed.code, message=failed.message, details=failed.details)
            self._end(one, unanswered(one.local, error_of(error)))
        self._next()

    def on_lost(self, reason: str) -> None:
        """The uplink's process is gone: what it had ends, what waits has its turn."""
        lost = list(self._up.values())
        self._up.clear()
        for one in lost:
            error = ExpertFailedError(f"the uplink: {reason}", expert=NAME, reason=reason)
            self._end(one, unanswered(one.local, error))
        self._next()

    # ── ends ──────────────────────────────────────────────────────────────────────────────────

    def give_up(self, error: AiosdError) -> None:
        """End everything that is up or waits for it."""
        for one in [*self._up.values(), *(one for one, _ in self._waiting)]:
            self.give_up_one(one, error)

    def _late(self, one: Open) -> None:
        """A request's time is over, whatever the uplink's process is doing."""
        waited = self._loop.time() - one.arrived
        stage = "queued" if one.sent_at is None else "running"
        error = DeadlineError(
            f"the deadline passed after {waited:.3f} s, while the request was {stage} at the "
            "uplink",
            stage=stage,
            waited_seconds=round(waited, 3),
        )
        self.give_up_one(one, error)

    def give_up_one(self, one: Open, error: AiosdError) -> None:
        """End a request that is up or waits for it."""
        if self._up.pop(one.number, None) is not None and self.link is not None:
            self.link.cancel(one.number)
        self._waiting = deque(each for each in self._waiting if each[0] is not one)
        self._end(one, error)
        self._next()

    def _end(self, one: Open, error: AiosdError) -> None:
        """Send the end of a request that is not answered: the answer from here, if there is one."""
        self._forget(one)
        self.failed += 1
        answer: Answer = error_message(error)
        if one.best is not None and not isinstance(error, CancelledError):
            answer = End(outcome=marked(one.best, error))
        one.client.frontend.send(one.client, one.id, answer)

    def _forget(self, one: Open) -> None:
        """Take a request off the books, and say so."""
        if one.timer is not None:
            one.timer.cancel()
        self._on_end(one)


def turns_of(value: Input) -> list[Turn]:
    """Return a text or a chat as turns.

    Raises:
        NoRouteError: it is neither.
    """
    match value:
        case TextInput():
            return [Turn(role="user", content=value.text)]
        case ChatInput():
            return value.messages
        case _:
            raise NoRouteError("the uplink answers texts and chats only", nearest=[])


def marked(best: Outcome, error: AiosdError) -> Outcome:
    """Return the best answer from here, with why nobody better was asked."""
    return msgspec.structs.replace(best, doubt=f"{best.doubt}; the uplink: {error.message}")


def outcome_of(one: Open, leave: Permit, answered: Answered) -> Outcome:
    """Return the end of an answered request, marked as not from here."""
    output: dict[str, object] = {
        "text": answered.text,
        "endpoint": answered.endpoint,
        "model": answered.model,
        "finish_reason": answered.finish_reason,
        "redactions": answered.redactions,
    }
    if answered.cost is not None:
        output |= {"cost": answered.cost, "currency": answered.currency}
    sent_at = one.arrived if one.sent_at is None else one.sent_at
    return Outcome(
        expert=NAME,
        release=0,
        why=f"by the uplink at {answered.endpoint}: {leave.why}",
        output=output,
        cold=False,
        usage=Usage(
            queue_ms=(sent_at - one.arrived) * 1e3,
            run_ms=answered.run_ms,
            first_token_ms=answered.first_token_ms,
            tokens_in=answered.tokens_in,
            tokens_out=answered.tokens_out,
        ),
    )
