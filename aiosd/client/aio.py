"""The awaiting client: `AsyncClient`, for one event loop."""

import contextlib
import os
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

import zmq

from aiosd.client.address import find_address
from aiosd.client.aline import AsyncLine
from aiosd.client.answer import body_of, outcome_of
from aiosd.client.event import Event, decode_event, wanted
from aiosd.client.feed import Feed
from aiosd.client.patience import Patience
from aiosd.client.question import Ask, Question, run_question, verb_question
from aiosd.client.watch import Watch
from aiosd.domain.inputs import Input
from aiosd.domain.request import Outcome
from aiosd.protocol import messages
from aiosd.protocol.limits import DEFAULT_LIMITS, Limits
from aiosd.protocol.messages import ADMIN_ONLY, Chunk, Verb


class AsyncStream:
    """The pieces of an answer as they come; afterwards its `outcome`.

    Sends the question when first awaited. Leaving its `async with` block before the end, or
    `close`, cancels the request on the daemon.
    """

    def __init__(self, line: AsyncLine, question: Question) -> None:
        """Take a question; nothing is sent yet."""
        self._line = line
        self._pending = question.pending()
        self._begun = False
        self._outcome: Outcome | None = None
        self._closed = False

    @property
    def outcome(self) -> Outcome:
        """The end of the answer, once every piece was read.

        Raises:
            RuntimeError: the stream is not read to its end yet, or was cancelled.
        """
        if self._outcome is None:
            raise RuntimeError("read the stream to its end first")
        return self._outcome

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Return the next piece.

        Raises:
            AiosdError: the request failed.
        """
        if self._closed:
            raise StopAsyncIteration
        with contextlib.ExitStack() as ended:
            ended.callback(self.close)
            if not self._begun:
                self._begun = True
                await self._line.begin(self._pending)
            answer = await self._line.answer(self._pending)
            if isinstance(answer, Chunk):
                ended.pop_all()
                return answer.text
            self._outcome = outcome_of(answer)
        raise StopAsyncIteration

    def close(self) -> None:
        """Cancel the request if it still runs."""
        if not self._closed:
            self._closed = True
            self._line.finish(self._pending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """Asks the daemon, and awaits; for one event loop, with any number of requests at once.

    A request that a restart of the daemon loses is sent again; a wait always ends. Cancelling the
    awaiting task cancels the request on the daemon.
    """

    def __init__(
        self,
        socket: str | os.PathLike[str] | None = None,
        *,
        timeout_seconds: float = Patience.silence,
        patience: Patience | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Take the folder of the sockets, else $AIOSD_SOCKET_DIR, else /run/aiosd.

        `timeout_seconds` is how long to wait without any answer to a request; `patience` gives
        every time in detail; `limits` are the daemon's, if its owner changed them. Connects when
        first used.
        """
        self._address = find_address(socket)
        self._limits = limits
        self._patience = patience or replace(Patience(), silence=timeout_seconds)
        self._api: AsyncLine | None = None
        self._admin: AsyncLine | None = None

    async def run(self, value: Input | str | None = None, /, **ask: Unpack[Ask]) -> Outcome:
        """Ask, and return the whole answer with what it cost; see `question.Ask`.

        Raises:
            AiosdError: the request failed; the class says who must act.
            OSError: a file that was named cannot be read.
        """
        question = run_question(
            value, self._patience.silence, stream=False, limits=self._limits, **ask
        )
        line = self._line(admin=False)
        pending = question.pending()
        try:
            await line.begin(pending)
            return outcome_of(await line.answer(pending))
        finally:
            line.finish(pending)

    def stream(self, value: Input | str | None = None, /, **ask: Unpack[Ask]) -> AsyncStream:
        """Ask, and return the pieces of the text as they come; see `question.Ask`.

        An expert that does not generate text gives no pieces, only the outcome.
        """
        question = run_question(
            value, self._patience.silence, stream=True, limits=self._limits, **ask
        )
        return AsyncStream(self._line(admin=False), question)

    async def ping(self) -> dict[str, object]:
        """Return the daemon's version, wire version and pid."""
        return await self._ask(messages.Ping())

    async def list(self) -> dict[str, object]:
        """Return the installed experts, and the packages that were refused."""
        return await self._ask(messages.List())

    async def show(self, expert: str) -> dict[str, object]:
        """Return everything known of one expert."""
        return await self._ask(messages.Show(expert=expert))

    async def ps(self) -> dict[str, object]:
        """Return the loaded experts and the engine hosts."""
        return await self._ask(messages.Ps())

    async def status(self) -> dict[str, object]:
        """Return the daemon's own condition."""
        return await self._ask(messages.Status())

    async def energy(self) -> dict[str, object]:
        """Return where the joules went: meter, idle, others, experts, clients."""
        return await self._ask(messages.Energy())

    async def load(self, expert: str, *, ram_bytes: int | None = None) -> dict[str, object]:
        """Load an expert now; returns when it is ready (operators only).

        With `ram_bytes` that is taken for what it needs, until it is measured again.
        """
        return await self._ask(messages.Load(expert=expert, ram_bytes=ram_bytes))

    async def unload(self, expert: str) -> dict[str, object]:
        """Unload an expert once it is idle (operators only)."""
        return await self._ask(messages.Unload(expert=expert))

    async def pin(self, expert: str, *, pinned: bool = True) -> dict[str, object]:
        """Keep an expert loaded, or no longer (operators only)."""
        return await self._ask(messages.Pin(expert=expert, pinned=pinned))

    async def staged(self, expert: str, release: int) -> dict[str, object]:
        """Say that a release lies whole on the disk; it is probed and swapped in (operators)."""
        return await self._ask(messages.Staged(expert=expert, release=release))

    async def rollback(self, expert: str) -> dict[str, object]:
        """Go back to the release before; returns when that serves (operators only)."""
        return await self._ask(messages.Rollback(expert=expert))

    async def cancel_release(self, expert: str) -> dict[str, object]:
        """Give up a release that is not committed yet (operators only)."""
        return await self._ask(messages.CancelRelease(expert=expert))

    async def hold(self, expert: str, *, on: bool = True) -> dict[str, object]:
        """Keep an expert at the release that serves, or let updates come again (operators)."""
        return await self._ask(messages.Hold(expert=expert, on=on))

    async def history(self, expert: str | None = None) -> dict[str, object]:
        """Return how releases fared, the newest first (operators only)."""
        return await self._ask(messages.History(expert=expert))

    async def rollouts(self) -> dict[str, object]:
        """Return how far each expert's last release has come, and who is held (operators)."""
        return await self._ask(messages.Rollouts())

    async def explain(self, text: str, task: str | None = None) -> dict[str, object]:
        """Return the record of what would be decided for a text; nothing is run."""
        return await self._ask(messages.Explain(text=text, task=task))

    async def feedback(self, decision: int, *, good: bool) -> dict[str, object]:
        """Say whether the answer to a routed request was good; `outcome.decision.id` names it."""
        return await self._ask(messages.Feedback(id=decision, good=good))

    async def decisions(self, last: int = 20) -> dict[str, object]:
        """Return the last routing decisions, the newest first, and what the router has learned."""
        return await self._ask(messages.Decisions(last=last))

    async def reload(self) -> dict[str, object]:
        """Let the daemon read its settings and packages again (operators only)."""
        return await self._ask(messages.Reload())

    async def uplink(
        self, action: messages.UplinkAction = "status", lines: int = 20
    ) -> dict[str, object]:
        """Look at the uplink (`status`, `log`) or switch it (`on`, `off`); for operators."""
        return await self._ask(messages.Uplink(action=action, lines=lines))

    async def power(
        self, *, mode: str | None = None, policy: str | None = None, khz: int | None = None
    ) -> dict[str, object]:
        """Return power modes and clock limits, or set one (operators only); see `Power`."""
        return await self._ask(messages.Power(mode=mode, policy=policy, khz=khz))

    async def events(
        self, topics: Sequence[str] = (), *, timeout_seconds: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Follow what happens: "expert" means all topics below it, nothing means all.

        Ends after `timeout_seconds` without an event; None follows for ever.

        Raises:
            UnreachableError: no daemon publishes there, or it went away and did not come back.
        """
        inbox: deque[list[bytes]] = deque()
        feed = Feed(self._address.events, zmq.SUB, inbox.append)
        watch = Watch(feed.link.path, self._patience, timeout_seconds, monotonic())
        try:
            while True:
                feed.read()
                while inbox:
                    event = decode_event(inbox.popleft())
                    if wanted(event.topic, topics):
                        yield event
                        watch.heard(monotonic())
                seconds = watch.wait(feed.link, monotonic())
                if seconds is not None and seconds <= 0:
                    return
                await feed.news(seconds)
        finally:
            feed.close()

    async def close(self) -> None:
        """Cancel what is still open, and close; what still waits fails with UnreachableError."""
        for line in (self._api, self._admin):
            if line is not None:
                line.close()
        self._api = self._admin = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, verb: Verb) -> dict[str, object]:
        """Send a verb on the socket where it belongs, and return the reply's body."""
        line = self._line(admin=isinstance(verb, ADMIN_ONLY))
        pending = verb_question(verb, self._patience.silence).pending()
        try:
            await line.begin(pending)
            return body_of(await line.answer(pending))
        finally:
            line.finish(pending)

    def _line(self, *, admin: bool) -> AsyncLine:
        """Return the connection to a socket, opened once."""
        if admin:
            if self._admin is None:
                self._admin = AsyncLine(self._address.admin, self._patience)
            return self._admin
        if self._api is None:
            self._api = AsyncLine(self._address.api, self._patience)
        return self._api
