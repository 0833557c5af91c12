"""Both clients, aiosctl and the Node example's wire against the real daemon and the echo expert."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from aiosd.client import AsyncClient, Client
from aiosd.client.address import find_address
from aiosd.client.answer import body_of
from aiosd.client.line import Line
from aiosd.client.patience import Patience
from aiosd.client.question import verb_question
from aiosd.domain.errors import (
    CancelledError,
    DeadlineError,
    ExpertFailedError,
    ForbiddenError,
    InvalidError,
    NoRouteError,
    UnknownExpertError,
    UnreachableError,
)
from aiosd.domain.inputs import ImageInput
from aiosd.protocol.messages import Load

pytestmark = pytest.mark.process
PATIENT = Patience(silence=60.0, connect=20.0, restart=20.0)


class Daemon:
    """The daemon as a process of its own, with only the echo expert."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.sockets = folder / "s"
        shutil.copytree(repo / "experts" / "echo", folder / "experts" / "echo")
        self._config = folder / "aiosd.toml"
        self._config.write_text(
            f'[paths]\nexperts = ["{folder}/experts"]\nstate = "{folder}/state"\n'
            f'sockets = "{self.sockets}"\n',
            encoding="utf-8",
        )
        self._repo = repo
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (str(self._repo), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aiosd.daemon", "--config", str(self._config)],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.DEVNULL,
        )
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[Daemon]:
    if not entry_points(group="aiosd.engines", name="echo"):
        pytest.skip("needs the package to be installed: engines are entry points")
    daemon = Daemon(tmp_path_factory.mktemp("d"), repo)
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.sockets, patience=PATIENT) as client:
        yield client


def test_a_text_is_answered_and_streamed(client: Client) -> None:
    assert client.run("hello there", expert="echo").output["text"] == "hello there"
    stream = client.stream("one two three", expert="echo")
    assert "".join(stream) == "one two three"
    assert stream.outcome.usage.tokens_out == 3


def test_errors_are_typed(client: Client) -> None:
    with pytest.raises(UnknownExpertError) as unknown:
        client.run("x", expert="ecko")
    assert unknown.value.details["nearest"] == ["echo"]
    with pytest.raises(NoRouteError):
        client.run("x", task="image.detect")
    with pytest.raises(ExpertFailedError, match="broken"):
        client.run("!fail broken", expert="echo")
    with pytest.raises(InvalidError):
        client.run(ImageInput(data=b"x"), expert="echo")
    with pytest.raises(DeadlineError) as late:
        client.run("!sleep 30", expert="echo", deadline_seconds=0.3)
    assert late.value.details["stage"] == "running"


def test_an_operators_verb_is_forbidden_on_the_clients_socket(
    client: Client, daemon: Daemon
) -> None:
    assert client.load("echo")["state"] == "ready"
    api = Line(find_address(daemon.sockets).api, PATIENT)
    pending = verb_question(Load(expert="echo"), 10.0).pending()
    api.begin(pending)
    with pytest.raises(ForbiddenError, match="admin"):
        body_of(api.answer(pending))
    api.close()


def test_leaving_a_stream_cancels_the_request(client: Client) -> None:
    with client.stream("!tokens 1000000", expert="echo") as stream:
        next(stream)
    with pytest.raises(DeadlineError):
        client.run("!sleep 30", expert="echo", timeout_seconds=0.3)
    # Had one of them gone on, this would wait for it.
    assert client.run("free again", expert="echo").usage.queue_ms < 5000


def test_the_page_of_the_wire_names_every_key_of_every_reply(client: Client, repo: Path) -> None:
    page = (repo / "docs" / "protocol.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]+`", page))))
    client.run("load it", expert="echo")
    replies: list[Mapping[str, object]] = [
        client.ping(),
        client.list(),
        {name: value for name, value in client.show("echo").items() if name != "manifest"},
        client.ps(),
        client.status(),
        client.load("echo"),
        client.pin("echo", pinned=False),
        client.reload(),
    ]
    keys = {key for reply in replies for key in keys_of(reply)}
    assert keys - words == set()


def test_events_tell_of_a_request(client: Client) -> None:
    seen: list[str] = []
    ready = threading.Event()

    def follow(sockets: Path) -> None:
        with Client(sockets, patience=PATIENT) as follower:
            for event in follower.events(["request"], timeout_seconds=5):
                seen.append(event.topic)
                ready.set()
                if event.topic == "request.failed":
                    return

    other = threading.Thread(target=follow, args=(client._address.folder,))
    other.start()
    while not ready.wait(0.05):
        client.run("x", expert="echo")
    with pytest.raises(ExpertFailedError):
        client.run("!fail x", expert="echo")
    other.join(10)
    assert seen[0] == "request.done"
    assert seen[-1] == "request.failed"


async def test_many_requests_run_at_once(daemon: Daemon) -> None:
    async with AsyncClient(daemon.sockets, patience=PATIENT) as client:
        outcomes = await asyncio.gather(
            *(client.run(f"n {number}", expert="echo") for number in range(20))
        )
        assert [one.output["text"] for one in outcomes] == [f"n {number}" for number in range(20)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_request_survives_a_restart(
    client: Client, daemon: Daemon, number: signal.Signals
) -> None:
    client.run("loaded", expert="echo")

    def restart() -> None:
        daemon.stop(number)
        daemon.start()

    timer = threading.Timer(0.3, restart)
    timer.start()
    outcome = client.run("!sleep 1", expert="echo")
    timer.join()
    assert outcome.output["text"] == "slept"
    assert client.ping()["pid"] == daemon.process.pid


def test_a_stream_that_a_crash_cuts_is_told(client: Client, daemon: Daemon) -> None:
    with client.stream("!tokens 1000000", expert="echo") as stream:
        next(stream)
        daemon.stop(signal.SIGKILL)
        daemon.start()
        with pytest.raises((UnreachableError, CancelledError)):
            list(stream)
    assert client.run("after", expert="echo").output["text"] == "after"


def keys_of(value: object) -> Iterator[str]:
    """Yield all keys of all maps; a worker's confinement and need are free maps."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            if key not in {"confinement", "need"}:
                yield from keys_of(inner)
    elif isinstance(value, list):
        for one in value:
            yield from keys_of(one)


def test_every_verb_of_aiosctl_works(daemon: Daemon, repo: Path) -> None:
    path = os.pathsep.join(filter(None, (str(repo), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "AIOSD_SOCKET_DIR": str(daemon.sockets)}
    words = ("run echo hi", "list", "show echo", "ps -v", "status", "load echo", "pin echo")
    for line in (*words, "unpin echo", "unload echo", "reload", "version"):
        done = subprocess.run(
            [sys.executable, "-m", "aiosd.cli", *line.split()],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        assert done.stdout
