"""The uplink's process as the daemon sees it: through its pipe."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.openai import HEAD, Asked, FakeOpenai, event

from aiosd.domain.inputs import Turn
from aiosd.domain.request import Sampling
from aiosd.domain.uplink import Endpoint, Uplink
from aiosd.policy.outbound.redaction import Redactor
from aiosd.protocol.framing import Unframer, frame
from aiosd.protocol.pipe import CancelRequest, Failed, Piece
from aiosd.protocol.uplink import Answered, Ask, FromUplink, Look, Looked, UplinkReady
from aiosd.uplink import main
from aiosd.uplink.channel import Channel
from aiosd.uplink.office import Office
from aiosd.uplink.settings import Own


class Daemon:
    """The other end of the pipe, with an uplink on a thread."""

    def __init__(self, folder: Path, server: FakeOpenai, **settings: object) -> None:
        endpoint = Endpoint(name="e1", url=server.url, model="m")
        uplink = Uplink(on=True, endpoints=[endpoint], plain_http=[server.address], **settings)  # type: ignore[arg-type]
        own = Own(uplink, Redactor([]), folder / "uplink", "")
        self.end, far = socket.socketpair()
        self.end.settimeout(20)
        self._unframer = Unframer()
        self._ready: list[Any] = []
        self.status: list[int] = []
        self._channel = Channel(far)
        serving = main.Uplink(Office(own), self._channel)
        self._thread = threading.Thread(target=lambda: self.status.append(serving.serve()))
        self._thread.start()

    def ask(self, number: int, **facts: object) -> None:
        usual: dict[str, Any] = {
            "turns": [Turn(role="user", content="a b")],
            "sampling": Sampling(),
            "stream": True,
            "kind": "auto",
            "client": "api:01",
            "uid": 1,
        }
        self.send(Ask(id=number, **(usual | facts)))

    def send(self, message: msgspec.Struct) -> None:
        self.end.sendall(frame(msgspec.msgpack.encode(message)))

    def hear(self) -> Any:  # noqa: ANN401 - a test says which message it expects
        while not self._ready:
            for body in self._unframer.feed(self.end.recv(65536)):
                self._ready.append(msgspec.msgpack.decode(body, type=FromUplink))
        return self._ready.pop(0)

    def close(self) -> int:
        self.end.close()
        self._thread.join(20)
        self._channel.close()
        return self.status[0]


@pytest.fixture
def server() -> Iterator[FakeOpenai]:
    with FakeOpenai() as made:
        yield made


def drip(plug: socket.socket, _asked: Asked) -> None:
    """Send headers without end, a byte at a time, each well within every silence."""
    plug.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    stop = threading.Event()
    while not stop.wait(0.02):
        plug.sendall(b"x")


def test_it_says_that_it_is_there_answers_looks_and_goes_with_its_pipe(
    server: FakeOpenai, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, server)
    ready = daemon.hear()
    assert isinstance(ready, UplinkReady)
    assert (ready.endpoints, ready.problems) == (["e1"], [])
    daemon.ask(1)
    assert daemon.hear() == Piece(id=1, text="a")
    assert daemon.hear() == Piece(id=1, text="b")
    answered = daemon.hear()
    assert isinstance(answered, Answered)
    assert (answered.id, answered.text) == (1, "ab")
    daemon.send(Look(id=2))
    looked = daemon.hear()
    assert isinstance(looked, Looked)
    assert looked.body["today"]["requests"] == 1  # type: ignore[index]
    daemon.send(Look(id=3, lines=5))
    assert [entry["what"] for entry in daemon.hear().body["entries"]] == ["sent", "ended"]
    assert daemon.close() == 0


def test_an_endpoint_that_drips_is_given_up_when_the_time_is_over(
    server: FakeOpenai, tmp_path: Path
) -> None:
    server.last = drip
    daemon = Daemon(tmp_path, server, total_seconds=0.4)
    daemon.hear()
    daemon.ask(1)
    failed = daemon.hear()
    assert isinstance(failed, Failed)
    assert failed.code == "deadline"
    daemon.close()


def test_one_request_is_stopped_and_the_others_go_on(server: FakeOpenai, tmp_path: Path) -> None:
    server.scripts = [server.stall(HEAD, event("x"))]
    daemon = Daemon(tmp_path, server)
    daemon.hear()
    daemon.ask(1)
    assert daemon.hear() == Piece(id=1, text="x")
    daemon.ask(2, stream=False)
    assert daemon.hear().id == 2
    daemon.send(CancelRequest(id=1))
    daemon.send(CancelRequest(id=99))
    failed = daemon.hear()
    assert isinstance(failed, Failed)
    assert (failed.id, failed.code) == (1, "cancelled")
    daemon.close()


def test_a_pipe_that_closes_ends_what_is_under_way_which_counts_in_full(
    server: FakeOpenai, tmp_path: Path
) -> None:
    server.scripts = [server.stall(HEAD, event("x"))]
    daemon = Daemon(tmp_path, server, requests_per_day=1)
    daemon.hear()
    daemon.ask(1)
    daemon.hear()
    assert daemon.close() == 0
    again = Daemon(tmp_path, server, requests_per_day=1)
    again.hear()
    again.ask(2)
    failed = again.hear()
    assert failed.details["budget"] == "requests_per_day"
    again.close()


def test_an_error_of_our_own_leaves_nobody_waiting(
    server: FakeOpenai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(main, "run_errand", broken)
    logged = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: logged.set())
    daemon = Daemon(tmp_path, server)
    daemon.hear()
    daemon.ask(1)
    failed = daemon.hear()
    assert isinstance(failed, Failed)
    assert (failed.code, failed.details["reason"]) == ("expert_failed", "internal")
    assert logged.wait(20), "and the log says what it was"
    daemon.close()
