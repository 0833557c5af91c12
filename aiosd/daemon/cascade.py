"""Answer small, check, go one layer up: stands before the broker where an answer can be in doubt.

Only requests that leave the choice to us come through here, and only whole answers: a piece that
was streamed cannot be taken back. Whether an answer stands is `policy.cascade`'s word; the next
layer is the cheapest larger expert that may be meant. If there is none, or it fails, the answer
that is there goes out with what speaks against it (`doubt`); what all of them took is added up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace

from aiosd.daemon.asks import Asks, Relay
from aiosd.daemon.routing import Routing, text_of
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError, CancelledError, ErrorCode, InvalidError
from aiosd.domain.manifest import Check
from aiosd.domain.request import Outcome, Usage
from aiosd.policy.routing.cascade import MADE_UP, Given, Verdict, judge, weak_spot
from aiosd.policy.routing.route_facts import RouteFacts
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_message

# So many layers at most: each costs its own time and energy.
MOST_LAYERS = 3


_ADDED = (
    *("queue_ms", "load_ms", "run_ms", "engine_ms", "cpu_ms"),
    *("tokens_in", "tokens_out", "joules", "joules_gross"),
)


class Local(Asks, Protocol):
    """Who answers; `Broker` does."""

    routing: Routing
    max_deadline_seconds: float


class Installed(Protocol):
    """Who knows what is installed; `Inventory` does."""

    routes: dict[str, RouteFacts]
    checks: dict[str, Check]


@dataclass(eq=False)
class _Climb:
    """One request, from its first layer to its last; times are of the loop's clock."""

    client: Client
    envelope: Envelope
    run: Run
    until: float | None
    relay: Client | None = None
    between: bool = False
    outcomes: list[Outcome] = field(default_factory=list)


class Cascade:
    """Takes requests, and hands those that it has no business with to the broker as they came."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, broker: Local, installed: Installed
    ) -> None:
        """Own nothing yet."""
        self._loop = loop
        self._broker = broker
        self._installed = installed
        self._open: dict[Client, dict[bytes, _Climb]] = {}

    @property
    def max_deadline_seconds(self) -> float:
        """The longest deadline that a request may have."""
        return self._broker.max_deadline_seconds

    def on_run(self, client: Client, envelope: Envelope, run: Run) -> None:
        """Accept a request.

        Raises:
            AiosdError: it is refused at once; nothing of it is kept.
        """
        if self._open and envelope.id in self._open.get(client, ()):
            raise InvalidError("a request of this id is still running", field="id")
        if run.expert is not None or run.options.stream or text_of(run.input) is None:
            self._broker.on_run(client, envelope, run)
            return
        seconds = run.options.deadline_seconds
        until = None if seconds is None else self._loop.time() + seconds
        one = _Climb(client, envelope, run, until)
        relay = Relay(client.frontend.name, lambda answer: self._on_answer(one, answer))
        one.relay = Client(relay, client.name, client.uid)
        self._open.setdefault(client, {})[envelope.id] = one
        try:
            self._broker.on_run(one.relay, envelope, run)
        except AiosdError:
            self._forget(one)
            raise

    def on_cancel(self, client: Client, request: bytes) -> None:
        """Stop a request of this client, if it still runs."""
        one = self._open.get(client, {}).get(request)
        if one is not None and one.between:
            self._forget(one)
            client.frontend.send(client, request, error_message(CancelledError("by the caller")))
            return
        self._broker.on_cancel(one.relay if one and one.relay else client, request)

    def on_gone(self, client: Client) -> None:
        """Stop everything that a client wanted who cannot be reached any more."""
        for request in list(self._open.get(client, ())):
            self.on_cancel(client, request)
        self._broker.on_gone(client)

    def _on_answer(self, one: _Climb, answer: Answer) -> bool | None:
        """A layer answers, or fails: give an answer, or go on."""
        failed = isinstance(answer, Error)
        if isinstance(answer, End):
            one.outcomes.append(answer.outcome)
            verdict = self._judge(one, lambda: self._above(one))
            if verdict.ask is not None:
                self._ask(one, verdict.ask)
                return None
            answer = End(outcome=summed(one.outcomes, verdict.doubt))
        elif one.outcomes and isinstance(answer, Error) and answer.code != ErrorCode.CANCELLED:
            answer = End(outcome=summed(one.outcomes, self._judge(one, lambda: None).doubt))
        if not isinstance(answer, Chunk):
            self._forget(one)
        sent = one.client.frontend.send(one.client, one.envelope.id, answer)
        return None if failed and isinstance(answer, End) else sent

    def _judge(self, one: _Climb, above: Callable[[], str | None]) -> Verdict:
        """Return whether the last answer stands."""
        given = [Given(each.expert, each.output) for each in one.outcomes]
        return judge(given, self._installed.checks.get, above, self._weak_spot(one))

    def _weak_spot(self, one: _Climb) -> str:
        """Return as what a text model gets the request wrong; others have no such weakness."""
        facts = self._installed.routes.get(one.outcomes[-1].expert)
        if facts is None or facts.task not in MADE_UP:
            return ""
        return weak_spot(text_of(one.run.input) or "")

    def _above(self, one: _Climb) -> str | None:
        """Return the next layer, if there is one and there is time for it."""
        if len(one.outcomes) >= MOST_LAYERS:
            return None
        if one.until is not None and one.until <= self._loop.time():
            return None
        return self._broker.routing.above(one.run, [each.expert for each in one.outcomes])

    def _ask(self, one: _Climb, expert: str) -> None:
        """Ask the next layer, once the broker is done with the answer before."""
        left = None if one.until is None else one.until - self._loop.time()
        options = replace(one.run.options, deadline_seconds=left)
        run = Run(expert=expert, input=one.run.input, options=options)
        one.between = True
        self._loop.call_soon(self._hand_on, one, run)

    def _hand_on(self, one: _Climb, run: Run) -> None:
        """Hand a request to the broker again; a refusal ends it with the answer that is there."""
        if one.relay is None or self._open.get(one.client, {}).get(one.envelope.id) is not one:
            return
        one.between = False
        try:
            self._broker.on_run(one.relay, one.envelope, run)
        except AiosdError as error:
            self._on_answer(one, error_message(error))

    def _forget(self, one: _Climb) -> None:
        """Take a request off the books."""
        mine = self._open.get(one.client, {})
        if mine.pop(one.envelope.id, None) is not None and not mine:
            del self._open[one.client]


def summed(outcomes: list[Outcome], doubt: str) -> Outcome:
    """Return the last outcome with what all took, who was asked before, and what is doubted."""
    last, *before = outcomes[::-1]
    if before:
        usage = last.usage
        for each in before:
            usage = added(usage, each.usage)
        asked = ", ".join(each.expert for each in reversed(before))
        why = f"{last.why}, after {asked} was in doubt"
        last = replace(last, usage=usage, why=why, decision=outcomes[0].decision)
    return replace(last, doubt=doubt) if doubt else last


def added(one: Usage, other: Usage) -> Usage:
    """Return what two answers took together; what is not known of both is not known."""
    sums = {
        name: None if None in (mine, yours) else mine + yours
        for name in _ADDED
        for mine, yours in [(getattr(one, name), getattr(other, name))]
    }
    spread = [one.joules_uncertainty, other.joules_uncertainty]
    known = [each for each in spread if each is not None]
    both = sum(each * each for each in known) ** 0.5 if len(known) == len(spread) else None
    return replace(one, **sums, joules_uncertainty=both)
