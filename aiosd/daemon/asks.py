"""Who takes the requests: the broker, or what stands before it while there is a way up."""

from collections.abc import Callable
from typing import Protocol

from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import InvalidError
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, ReleaseVerb, Reply, Run, Uplink


class Asks(Protocol):
    """Takes requests and the news that nobody wants them any more."""

    def on_run(self, client: Client, envelope: Envelope, run: Run) -> None:
        """Accept a request.

        Raises:
            AiosdError: it is refused at once.
        """

    def on_cancel(self, client: Client, request: bytes) -> None:
        """Stop a request of this client, if it still runs."""

    def on_gone(self, client: Client) -> None:
        """Stop everything that a client wanted who cannot be reached any more."""


class Relay:
    """Stands in for a frontend: leads the broker's answers past who stands before it."""

    def __init__(self, name: str, on_answer: Callable[[Answer], bool | None]) -> None:
        """Take the frontend's name, for the queues of its client."""
        self.name = name
        self._on_answer = on_answer

    def send(self, client: Client, request: bytes, answer: Answer) -> bool | None:
        """Take an answer of the broker; False if the client is gone, None if it goes on."""
        del client, request
        return self._on_answer(answer)


def no_uplink(client: Client, request: bytes, verb: Uplink) -> None:
    """Say that there is no way up.

    Raises:
        InvalidError: it is to be switched, or its log is to be seen.
    """
    why = "the owner's settings say uplink.on = false"
    if verb.action != "status":
        raise InvalidError(f"there is no uplink: {why}", field="action")
    client.frontend.send(client, request, Reply(body={"on": False, "why": why}))


def no_releases(client: Client, request: bytes, verb: ReleaseVerb) -> None:
    """Say that nobody looks after releases here.

    Raises:
        InvalidError: always.
    """
    del client, request
    raise InvalidError("this daemon does not look after releases", field=type(verb).__name__)
