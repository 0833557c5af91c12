"""Messages in, answers out, and events to whoever listens."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from aiosd.daemon.events import Events
from aiosd.daemon.frontend import BURST, Client, Frontend
from aiosd.domain.errors import AiosdError, BusyError
from aiosd.protocol.codec import Envelope, encode
from aiosd.protocol.limits import Limits
from aiosd.protocol.messages import Chunk, Ping, Reply

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


class Desk:
    """A frontend that answers each message with how many there were."""

    def __init__(self, context: Context, path: Path, *, unread: int = 1000) -> None:
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.SNDHWM, unread)
        router.bind(f"ipc://{path}")
        loop = asyncio.get_running_loop()
        self.frontend = Frontend(loop, router, "api", Limits())
        self.seen: list[Envelope] = []
        self.clients: list[Client] = []
        self.gone: list[Client] = []
        self.refuse: AiosdError | None = None
        self.frontend.listen(self._on_message, self.gone.append)

    def _on_message(self, client: Client, envelope: Envelope) -> None:
        self.seen.append(envelope)
        self.clients.append(client)
        if self.refuse:
            raise self.refuse
        self.frontend.send(client, envelope.id, Reply(body={"n": len(self.seen)}))


def dealer(context: Context, path: Path) -> "zmq.Socket[bytes]":
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.RCVHWM, 1)
    made.connect(f"ipc://{path}")
    return made


async def turn_until(fact: Callable[[], object]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        while True:
            if fact():
                return
            await asyncio.sleep(0.001)


async def take(socket: "zmq.Socket[bytes]") -> tuple[bytes, dict[str, object]]:
    """Receive one answer without stopping the loop."""
    await turn_until(lambda: socket.poll(0))
    ident, header = socket.recv_multipart()
    return ident, msgspec.msgpack.decode(header)


async def test_every_message_of_a_burst_is_answered(context: Context, tmp_path: Path) -> None:
    desk = Desk(context, tmp_path / "s")
    client = context.socket(zmq.DEALER)
    client.connect(f"ipc://{tmp_path / 's'}")
    count = 3 * BURST + 7
    for number in range(count):
        client.send_multipart([str(number).encode(), encode(Ping())])
    for number in range(count):
        ident, answer = await take(client)
        assert (ident, answer["body"]) == (str(number).encode(), {"n": number + 1})
    client.close(0)
    desk.frontend.close(0)


async def test_what_is_no_message_is_answered_with_the_field(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(context, tmp_path / "s")
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", b"\xc1"])
    ident, answer = await take(client)
    assert (ident, answer["code"]) == (b"a", "invalid")
    client.send_multipart([b"only"])
    _, answer = await take(client)
    assert answer["details"] == {"field": "frames"}
    assert desk.seen == []
    client.close(0)
    desk.frontend.close(0)


async def test_a_refusal_reaches_the_client_with_its_details(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(context, tmp_path / "s")
    desk.refuse = BusyError("later", retry_after_seconds=2.5)
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", encode(Ping())])
    _, answer = await take(client)
    assert answer["code"] == "busy"
    assert answer["details"] == {"retry_after_seconds": 2.5}
    client.close(0)
    desk.frontend.close(0)


async def test_a_client_that_does_not_read_is_given_up_and_one_that_left_too(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(context, tmp_path / "s", unread=2)
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", encode(Ping())])
    await turn_until(lambda: desk.clients)
    (who,) = desk.clients
    chunk = Chunk(n=0, text="x" * 100_000)
    for _ in range(10_000):
        if not desk.frontend.send(who, b"a", chunk):
            break
    else:
        pytest.fail("ten thousand unread answers were kept")
    await asyncio.sleep(0)
    assert desk.gone == [who]
    client.close(0)
    async with asyncio.timeout(5):
        while len(desk.gone) < 3:
            desk.frontend.send(who, b"a", chunk)
            await asyncio.sleep(0.001)
    desk.frontend.close(0)


async def test_events_reach_those_who_subscribed_to_their_topic(
    context: Context, tmp_path: Path
) -> None:
    xpub = context.socket(zmq.XPUB)
    xpub.bind(f"ipc://{tmp_path / 'e'}")
    events = Events(asyncio.get_running_loop(), xpub, clock=lambda: 12.5)
    events.publish("expert.ready", {"expert": "nobody hears this"})
    listener = context.socket(zmq.SUB)
    listener.connect(f"ipc://{tmp_path / 'e'}")
    listener.setsockopt(zmq.SUBSCRIBE, b"expert.")
    async with asyncio.timeout(5):
        while not events.subscriptions:
            events.publish("request.done", {})
            await asyncio.sleep(0.001)
    events.publish("request.done", {"expert": "not asked for"})
    events.publish("expert.ready", {"expert": "echo"})
    topic, body = await take(listener)
    assert topic == b"expert.ready"
    assert body == {"at": 12.5, "expert": "echo"}
    listener.close(0)
    await turn_until(lambda: not events.subscriptions)
    events.close()
