"""Everything at once: whatever happens, each request ends, once, and the daemon goes on."""

import contextlib
import os
import random
import signal

import pytest
from fakes.running import DaemonProcess, RawClient, until

from aiosd.protocol.messages import Cancel, Chunk, End, Error, Ps, Reply

pytestmark = pytest.mark.process

NAMES = ("a", "b", "c", "d")
ORDERS = (
    "hello",
    "hello there",
    "!tokens 50",
    "!sleep 0.02",
    "!deaf 0.05",
    "!fail on purpose",
    "!invalid on purpose",
    "!crash segv",
    "!crash kill",
    "!exit 3",
)
CODES = {"cancelled", "deadline", "expert_failed", "invalid", "busy"}


def harm(daemon: DaemonProcess, dice: random.Random) -> None:
    """Kill a worker or a host, or have the daemon read its settings again."""
    body = daemon.look(Ps())
    pids = [each["pid"] for each in body["experts"] if each["pid"]]  # type: ignore[attr-defined]
    if dice.random() < 0.2:
        pids = [each["pid"] for each in body["hosts"]]  # type: ignore[attr-defined]
    if dice.random() < 0.3 or not pids:
        os.kill(daemon.pid, signal.SIGHUP)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(pids), signal.SIGKILL)


@pytest.mark.parametrize("hosts", ["on", "off"])
def test_in_a_storm_every_request_ends_once(daemon: DaemonProcess, hosts: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 - shown on failure
    for name in NAMES:
        daemon.install(name, mebibytes=70)
    daemon.start(
        ram={"cap": "200 MiB"},
        engines={"hosts": hosts},
        queue={"gather_seconds": 0.05},
        restart={"crashes": 4, "first_rest_seconds": 0.05, "longest_rest_seconds": 0.2},
        stop={"interrupt_grace_seconds": 0.3},
    )
    clients = [daemon.client() for _ in range(5)]
    asked: list[tuple[RawClient, bytes]] = []
    for number in range(250 if hosts == "on" else 100):
        client = dice.choice(clients)
        deadline = dice.choice((None, None, None, 0.05, 1.0))
        text, stream = dice.choice(ORDERS), dice.random() < 0.5
        options: dict[str, object] = {"stream": stream, "deadline_seconds": deadline}
        asked.append((client, client.run(dice.choice(NAMES), text, **options)))
        if dice.random() < 0.1:
            victim, request = dice.choice(asked)
            victim.send(Cancel(), ident=request)
        if number % 25 == 0:
            harm(daemon, dice)
    for client, request in asked:
        answer = client.end(request, 30)
        assert isinstance(answer, End) or answer.code in CODES, answer  # type: ignore[union-attr]
    for name in NAMES:
        until(lambda name=name: isinstance(clients[0].say(name, "hi"), End), name)  # type: ignore[misc]
    for client in clients:
        assert not any(client._kept.values()), "something came after the end"
        assert not client.socket.poll(0)
    status = daemon.status()
    assert status["queue"] == 0
    assert int(str(status["ram_used_bytes"])) <= 200 << 20
    assert "Traceback" not in daemon.log
    assert not isinstance(clients[0].say("a", "fine"), Error | Reply | Chunk)
