"""Client and broker of what stands between them: both only note what they get."""

import asyncio
from dataclasses import dataclass, field

from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Run


@dataclass(eq=False)
class FakeFrontend:
    """Keeps what is sent to clients; `came` is set with each."""

    name: str = "api"
    sent: list[tuple[bytes, Answer]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, _client: Client, request: bytes, answer: Answer) -> bool:
        self.sent.append((request, answer))
        self.came.set()
        return True


class FakeBroker:
    """Notes what it gets; refuses at once with `refusal`, if there is one."""

    max_deadline_seconds = 3600.0

    def __init__(self) -> None:
        self.refusal: AiosdError | None = None
        self.runs: list[tuple[Client, bytes, Run]] = []
        self.cancelled: list[tuple[Client, bytes]] = []
        self.gone: list[Client] = []

    def on_run(self, client: Client, envelope: Envelope, run: Run) -> None:
        if self.refusal:
            raise self.refusal
        self.runs.append((client, envelope.id, run))

    def on_cancel(self, client: Client, request: bytes) -> None:
        self.cancelled.append((client, request))

    def on_gone(self, client: Client) -> None:
        self.gone.append(client)
