"""A real text expert that gives back its context and comes back, in a real worker."""

import os
import shutil
import signal
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from fakes.running import DaemonProcess, RawClient, alive, until

from aiosd.domain.inputs import TextInput
from aiosd.protocol.messages import Cancel, End, Error, Load, Pin, Reply, Run

EXPERT = "home-command"
PACKAGE = Path(__file__).resolve().parents[2] / "experts" / EXPERT
TEXT = "turn the kitchen lights to 40 percent"
MIB = 2**20

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not entry_points(group="aiosd.engines", name="llama"), reason="needs the engine llama"
    ),
]


@pytest.fixture
def installed(daemon: DaemonProcess) -> DaemonProcess:
    """A daemon with one text expert, not started yet."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    shutil.copytree(PACKAGE, daemon.experts / EXPERT)
    return daemon


@pytest.fixture
def served(installed: DaemonProcess) -> DaemonProcess:
    """A daemon that parks its one text expert as soon as it idles."""
    return installed.start(experts={"park_after_seconds": 0.0})


def row(daemon: DaemonProcess) -> dict[str, object]:
    return daemon.loaded().get(EXPERT, {})


def number(row: dict[str, object], key: str) -> int:
    value = row[key]
    assert isinstance(value, int)
    return value


def parked(daemon: DaemonProcess) -> int:
    """Wait until the expert is parked; return its worker's process id."""
    until(lambda: row(daemon).get("state") == "parked", "the expert to be parked")
    pid = row(daemon)["pid"]
    assert isinstance(pid, int)
    return pid


def answer(client: RawClient) -> End:
    made = client.say(EXPERT, TEXT)
    assert isinstance(made, End), made
    return made


def test_a_parked_expert_gives_its_context_back_and_answers_as_before(
    installed: DaemonProcess,
) -> None:
    served = installed.start(experts={"park_after_seconds": -1.0})
    client = served.client()
    before = answer(client)
    assert before.outcome.cold
    ready = row(served)
    assert ready["state"] == "ready"
    served.configure(experts={"park_after_seconds": 0.0})
    served.signal(signal.SIGHUP)
    pid = parked(served)
    less = row(served)
    for key in ("private_bytes", "ram_bytes"):
        assert number(ready, key) - number(less, key) > 3 * MIB, key
    assert abs(number(less, "held_bytes") - number(less, "own_bytes")) < MIB // 4
    assert number(less, "reclaimable_bytes") > 2 * MIB  # the weights are mapped still
    after = answer(client)
    assert after.outcome.output == before.outcome.output
    assert not after.outcome.cold
    assert after.outcome.usage.load_ms > 0
    assert parked(served) == pid
    status = served.status()
    assert status["requests"] == {"answered": 2, "failed": 0, "cold_loads": 1}
    assert status["parkings"] == 2
    assert status["evictions"] == 0


def test_a_worker_killed_while_parked_is_loaded_anew(served: DaemonProcess) -> None:
    client = served.client()
    before = answer(client)
    pid = parked(served)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not row(served), "the loss to be noticed")
    assert not alive(pid)
    after = answer(client)
    assert after.outcome.cold
    assert after.outcome.output == before.outcome.output


def test_a_request_cancelled_while_its_expert_resumes_ends_and_harms_nobody(
    served: DaemonProcess,
) -> None:
    client = served.client()
    before = answer(client)
    pid = parked(served)
    os.kill(pid, signal.SIGSTOP)  # it cannot come back before it is let go
    request = client.send(Run(expert=EXPERT, input=TextInput(text=TEXT)))
    until(lambda: row(served).get("state") == "ready", "the expert to be resumed")
    client.send(Cancel(), ident=request)
    ended = client.end(request)
    os.kill(pid, signal.SIGCONT)
    assert isinstance(ended, Error)
    assert ended.code == "cancelled"
    after = answer(client)
    assert after.outcome.output == before.outcome.output
    assert parked(served) == pid


def test_a_worker_that_dies_while_it_resumes_fails_its_request_and_no_other(
    served: DaemonProcess,
) -> None:
    client = served.client()
    before = answer(client)
    pid = parked(served)
    os.kill(pid, signal.SIGSTOP)
    request = client.send(Run(expert=EXPERT, input=TextInput(text=TEXT)))
    until(lambda: row(served).get("state") == "ready", "the expert to be resumed")
    os.kill(pid, signal.SIGKILL)
    ended = client.end(request)
    assert isinstance(ended, Error)
    assert ended.code == "expert_failed"
    assert answer(client).outcome.output == before.outcome.output


def test_an_operator_resumes_a_parked_expert_and_a_pin_keeps_it_so(
    served: DaemonProcess,
) -> None:
    answer(served.client())
    pid = parked(served)
    admin = served.admin()
    assert isinstance(admin.ask(Pin(expert=EXPERT)), Reply)
    loaded = admin.ask(Load(expert=EXPERT))
    assert isinstance(loaded, Reply)
    assert loaded.body["state"] == "ready"
    answer(served.client())
    assert row(served)["state"] == "ready"
    assert row(served)["pid"] == pid
