"""The last layer: requests that nobody here can answer go up, if request and owner both say so.

Stands before the broker while there is a way up. A request whose privacy is `local`, the default,
is handed to the broker as it came; the broker has no handle to the uplink, so no error or decision
of its own can lead there. Any other is handed on with its answers led past here: what the broker
ends with "nobody can" is then shown to `policy.escalation`, and only its `Permit` opens the link.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiosd.daemon.admission import deadline_of
from aiosd.daemon.asks import Asks, Relay
from aiosd.daemon.way_up.outbound import Open, Outbound, marked
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import (
    AiosdError,
    CancelledError,
    InvalidError,
    RefusedPrivacyError,
)
from aiosd.domain.inputs import type_of
from aiosd.domain.request import Privacy
from aiosd.policy.outbound.escalation import (
    NAME,
    Asker,
    EscalationRules,
    Question,
    doubtful,
    is_last_resort,
    kind_of,
    permit,
    unanswered,
)
from aiosd.policy.serving.refusals import stopping
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_message, error_of


class Local(Asks, Protocol):
    """Who answers here; `Broker` does."""

    @property
    def max_deadline_seconds(self) -> float:
        """The longest deadline that a request may have."""


class Escalation:
    """Takes every request while there is a way up, and owns those that go there."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        local: Local,
        is_local_only: Callable[[str], bool],
    ) -> None:
        """Ask `is_local_only` of a package's name."""
        self._loop = loop
        self._broker = local
        self._is_local_only = is_local_only
        self._open: dict[Client, dict[bytes, Open]] = {}
        self.outbound = Outbound(loop, self._forget)
        self.rules = EscalationRules()
        self.stopping = False
        self.drained = asyncio.Event()

    # ── clients ───────────────────────────────────────────────────────────────────────────────

    def on_run(self, client: Client, envelope: Envelope, run: Run) -> None:
        """Accept a request.

        Raises:
            AiosdError: it is refused at once; nothing of it is kept.
        """
        if self._open and envelope.id in self._open.get(client, ()):
            raise InvalidError("a request of this id is still running", field="id")
        if run.options.privacy is Privacy.LOCAL:
            if run.expert == NAME:
                raise RefusedPrivacyError(
                    "only a request with privacy = uplink may name the uplink",
                    forbidden_by="request",
                )
            self._broker.on_run(client, envelope, run)
            return
        self._accept(client, envelope, run)

    def on_cancel(self, client: Client, request: bytes) -> None:
        """Stop a request of this client, if it still runs."""
        one = self._open.get(client, {}).get(request)
        if one is None:
            self._broker.on_cancel(client, request)
        elif one.permit is not None:
            self.outbound.give_up_one(one, CancelledError("cancelled by the caller"))
        elif one.relay is not None:
            self._broker.on_cancel(one.relay, request)

    def on_gone(self, client: Client) -> None:
        """Stop everything that a client wanted who cannot be reached any more."""
        for request in list(self._open.get(client, ())):
            self.on_cancel(client, request)
        self._broker.on_gone(client)

    def _accept(self, client: Client, envelope: Envelope, run: Run) -> None:
        """Take a request that may go up: here first, unless it asks for the uplink outright."""
        if self.stopping:
            raise stopping()
        now = self._loop.time()
        deadline = deadline_of(run.options, self._broker.max_deadline_seconds, now)
        asker = Asker(client.name, client.uid)
        one = Open(client, envelope.id, run, asker, now, deadline)
        if run.expert == NAME:
            self._go_up(one, None)
            self._keep(one)
            return
        relay = Relay(client.frontend.name, lambda answer: self._on_answer(one, answer))
        one.relay = Client(relay, client.name, client.uid)
        self._keep(one)
        try:
            self._broker.on_run(one.relay, envelope, run)
        except AiosdError as error:
            if not is_last_resort(error):
                self._forget(one)
                raise
            self._go_up_or_forget(one, error)

    def _go_up_or_forget(self, one: Open, local: AiosdError) -> None:
        """Send a request up that the broker refused at once.

        Raises:
            AiosdError: it may not, or cannot; nothing of it is kept.
        """
        try:
            self._go_up(one, local)
        except AiosdError:
            self._forget(one)
            raise

    def _on_answer(self, one: Open, answer: Answer) -> bool | None:
        """The broker answers: let it through, or go up instead."""
        if isinstance(answer, Error) and not one.chunks:
            error = error_of(answer)
            if is_last_resort(error):
                try:
                    self._go_up(one, error)
                except AiosdError as refused:
                    answer = error_message(refused)
                else:
                    return None
        elif isinstance(answer, End) and answer.outcome.doubt and kind_of(question_of(one)):
            one.best = answer.outcome
            try:
                self._go_up(one, doubtful(answer.outcome))
            except AiosdError as refused:
                answer = End(outcome=marked(one.best, refused))
            else:
                return None
        if isinstance(answer, Chunk):
            one.chunks += 1
        else:
            self._forget(one)
        return one.client.frontend.send(one.client, one.id, answer)

    # ── up ────────────────────────────────────────────────────────────────────────────────────

    def _go_up(self, one: Open, local: AiosdError | None) -> None:
        """Send a request up, or let it wait for that.

        Raises:
            AiosdError: it may not, or cannot; with why nobody here answered.
        """
        question = question_of(one)
        if local is not None and kind_of(question) is None:
            raise local  # nothing up there could do it either
        why = "asked for by name" if local is None else local.message
        meant_for = "" if local is None else str(local.details.get("expert", ""))
        try:
            if self.stopping:
                raise stopping()
            one.permit = permit(
                question,
                self.rules,
                one.asker,
                why=why,
                local_only=bool(meant_for) and self._is_local_only(meant_for),
            )
            self.outbound.send(one, one.permit)
        except AiosdError as error:
            one.permit = None
            raise unanswered(local, error) from None
        one.local = local

    # ── books ─────────────────────────────────────────────────────────────────────────────────

    def on_stop(self) -> None:
        """Refuse what comes from now on; what is up may still end."""
        self.stopping = True
        self._see_whether_drained()

    def _keep(self, one: Open) -> None:
        self._open.setdefault(one.client, {})[one.id] = one

    def _forget(self, one: Open) -> None:
        """Take a request off the books."""
        mine = self._open.get(one.client, {})
        if mine.get(one.id) is one:
            del mine[one.id]
            if not mine:
                del self._open[one.client]
        self._see_whether_drained()

    def _see_whether_drained(self) -> None:
        if self.stopping and not self._open:
            self.drained.set()


def question_of(one: Open) -> Question:
    """Return what is looked at of a request."""
    run = one.run
    return Question(run.options.privacy, run.expert, run.task, type_of(run.input))
