"""The daemon as a client of itself: what a probe asks goes the way of any request."""

import asyncio
import itertools
from collections.abc import Sequence

from aiosd.daemon.broker import Broker
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError
from aiosd.domain.request import Outcome
from aiosd.protocol.codec import Buffer, Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_of


class House:
    """Asks the broker, and waits for the answer; an `Answers` of the frontend's kind."""

    name = "house"

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker) -> None:
        """Ask nothing yet."""
        self._loop = loop
        self._broker = broker
        self._client = Client(self, "house")
        self._numbers = itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[Answer]] = {}

    def send(self, client: Client, request: bytes, answer: Answer) -> bool:
        """Take an answer; False if nobody waits for it."""
        del client
        if isinstance(answer, Chunk):
            return True
        future = self._waiting.pop(request, None)
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True

    async def run(
        self, run: Run, attachments: Sequence[Buffer] = (), *, straight: bool = False
    ) -> Outcome:
        """Ask an expert; `straight` its own worker, though another answers what others ask.

        Raises:
            AiosdError: there is no answer, and why.
        """
        request = self._next()
        future = self._expect(request)
        detours = self._broker.detours if straight else None
        seat = detours.seats.pop(run.expert or "", None) if detours else None
        try:
            self._broker.on_run(self._client, Envelope(request, run, tuple(attachments)), run)
        finally:
            if detours is not None and seat is not None:
                detours.seats[run.expert or ""] = seat
        try:
            answer = await future
        except asyncio.CancelledError:
            self._broker.on_cancel(self._client, request)
            raise
        finally:
            self._waiting.pop(request, None)
        if isinstance(answer, End):
            return answer.outcome
        raise _error(answer)

    async def load(self, expert: str, *, gentle: bool = False) -> None:
        """Load an expert, and wait until it is; `gentle` if others answer meanwhile.

        Raises:
            AiosdError: it cannot be loaded, and why.
        """
        request = self._next()
        future = self._expect(request)
        if gentle:
            self._broker.loader.gentle.add(expert)
        effects = self._broker.scheduler.on_load(expert, self._loop.time())
        self._broker.settle(self._client, request, expert, effects)
        try:
            answer = await future
        finally:
            self._waiting.pop(request, None)
            self._broker.loader.gentle.discard(expert)
        if isinstance(answer, Error):
            raise error_of(answer)

    def _next(self) -> bytes:
        return b"%d" % next(self._numbers)

    def _expect(self, request: bytes) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[request] = future
        return future


def _error(answer: Answer) -> AiosdError:
    """Return what an answer that is none says."""
    return error_of(answer) if isinstance(answer, Error) else AiosdError("no answer came")
