"""Messages in, answers out, and events to whoever listens."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from aiosd.daemon.wire import listener
from aiosd.daemon.wire.events import Events
from aiosd.daemon.wire.frontend import Client, Frontend
from aiosd.domain.errors import AiosdError, BusyError
from aiosd.protocol.codec import Envelope, encode
from aiosd.protocol.limits import Limits
from aiosd.protocol.messages import Chunk, Ping, Reply
from aiosd.protocol.zmtp import GREETING, command

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen(8)
    return made


class Desk:
    """A frontend that answers each message with how many there were."""

    def __init__(self, path: Path, *, unread: int = 1000) -> None:
        loop = asyncio.get_running_loop()
        self.frontend = Frontend(loop, listening(path), "api", Limits(), unread)
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


def ended(end: socket.socket) -> bool:
    """Tell whether the other side closed the connection."""
    try:
        while end.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


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
    desk = Desk(tmp_path / "s")
    client = context.socket(zmq.DEALER)
    client.connect(f"ipc://{tmp_path / 's'}")
    count = 200
    for number in range(count):
        client.send_multipart([str(number).encode(), encode(Ping())])
    for number in range(count):
        ident, answer = await take(client)
        assert (ident, answer["body"]) == (str(number).encode(), {"n": number + 1})
    client.close(0)
    desk.frontend.close(0)


async def test_the_unix_user_of_a_client_is_known(context: Context, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s")
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", encode(Ping())])
    await take(client)
    assert desk.clients[0].uid == os.getuid()
    client.close(0)
    desk.frontend.close(0)


async def test_what_is_no_message_is_answered_with_the_field(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(tmp_path / "s")
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
    desk = Desk(tmp_path / "s")
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
    desk = Desk(tmp_path / "s", unread=2)
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


async def test_an_attachment_over_the_limit_is_refused_by_its_name_and_the_connection_ends(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(tmp_path / "s")
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", encode(Ping()), bytes(34 * 2**20)])
    ident, answer = await take(client)
    assert (ident, answer["code"]) == (b"a", "invalid")
    assert answer["details"] == {"field": "attachments.0"}
    await turn_until(lambda: desk.gone)
    assert desk.seen == []
    client.close(0)
    desk.frontend.close(0)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 4096, 4097, 8191, 8192, 65_536, 300_000])
async def test_libzmq_and_we_agree_on_frames_of_any_size(
    context: Context, tmp_path: Path, size: int
) -> None:
    desk = Desk(tmp_path / "s")
    client = dealer(context, tmp_path / "s")
    client.send_multipart([b"a", encode(Ping()), bytes(size), b"after"])
    await take(client)
    desk.frontend.send(desk.clients[0], b"b", Chunk(n=0, text="x" * size))
    ident, answer = await take(client)
    assert (ident, answer["text"]) == (b"b", "x" * size)
    assert [len(each) for each in desk.seen[0].attachments] == [size, 5]
    client.close(0)
    desk.frontend.close(0)


async def test_a_client_with_heartbeats_of_libzmqs_own_stays_connected(
    context: Context, tmp_path: Path
) -> None:
    desk = Desk(tmp_path / "s")
    client = context.socket(zmq.DEALER)
    client.setsockopt(zmq.HEARTBEAT_IVL, 10)
    client.setsockopt(zmq.HEARTBEAT_TIMEOUT, 40)
    monitor = client.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    client.connect(f"ipc://{tmp_path / 's'}")
    for _ in range(30):
        client.send_multipart([b"a", encode(Ping())])
        await take(client)
        await asyncio.sleep(0.005)
    assert not monitor.poll(0)
    client.disable_monitor()
    monitor.close(0)
    client.close(0)
    desk.frontend.close(0)


async def test_large_attachments_come_whole_and_uncopied(context: Context, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s")
    client = dealer(context, tmp_path / "s")
    data = os.urandom(3_000_000)
    client.send_multipart([b"a", encode(Ping()), data, b"small"])
    await take(client)
    (envelope,) = desk.seen
    assert [bytes(each) for each in envelope.attachments] == [data, b"small"]
    client.close(0)
    desk.frontend.close(0)


async def test_what_is_begun_and_never_ended_is_closed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "UNFINISHED_SECONDS", 0.02)
    desk = Desk(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as slow:
        for each in (silent, slow):
            each.settimeout(0)
            each.connect(str(tmp_path / "s"))
        slow.send(GREETING + command(b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"))
        slow.send(b"\x01\x02id\x00\x09half")
        await turn_until(lambda: ended(silent) and ended(slow))
    desk.frontend.close(0)


async def test_unfinished_messages_of_all_are_bounded_together(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s")
    desk.frontend._listener.receiving_bytes = 1_000_000
    hello = GREETING + command(b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER")
    begun = hello + b"\x01\x02id\x01" + bytes((len(encode(Ping())),)) + encode(Ping())
    begun += b"\x02" + (900_000).to_bytes(8)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for each in (first, second):
            each.settimeout(0)
            each.connect(str(tmp_path / "s"))
            each.send(begun)
            number = 2 if each is second else 1
            await turn_until(
                lambda number=number: len(desk.frontend._listener._unfinished) == number
            )
        await turn_until(lambda: any(e.paused for e in desk.frontend._listener._unfinished))
        left = [900_000, 900_000]

        def push(number: int, end: socket.socket) -> bool:
            with contextlib.suppress(BlockingIOError):
                left[number] -= end.send(bytes(left[number]))
            return left[number] == 0

        await turn_until(lambda: push(0, first))
        await turn_until(lambda: len(desk.seen) == 1)
        await turn_until(lambda: push(1, second))
        await turn_until(lambda: len(desk.seen) == 2)
    desk.frontend.close(0)


async def test_a_subscriber_who_does_not_read_misses_events_and_holds_nobody_up(
    tmp_path: Path,
) -> None:
    events = Events(asyncio.get_running_loop(), listening(tmp_path / "e"))
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(tmp_path / "e"))
        deaf.send(GREETING + command(b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"))
        deaf.send(command(b"\x09SUBSCRIBE"))
        await turn_until(lambda: events.subscriptions)
        for _ in range(3000):
            events.publish("expert.ready", {"text": "x" * 1000})
        (connection,) = events._listener.connections
        assert len(connection._unsent) == 1000
    await turn_until(lambda: not events.subscriptions)
    events.close()


async def test_events_reach_those_who_subscribed_to_their_topic(
    context: Context, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    events = Events(loop, listening(tmp_path / "e"), clock=lambda: 12.5)
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
