"""What was measured outlives the daemon; what the operator knows goes before what was reckoned."""

import pytest
from fakes.running import DaemonProcess

from aiosd.protocol.messages import Error, Load, Reply, Show, Unload

pytestmark = pytest.mark.process


def need_of(daemon: DaemonProcess, expert: str) -> object:
    answer = daemon.client().ask(Show(expert=expert))
    assert isinstance(answer, Reply)
    return answer.body["need_bytes"]


def test_what_was_measured_is_known_after_a_restart(daemon: DaemonProcess) -> None:
    daemon.install("one", mebibytes=300)
    daemon.start()
    assert need_of(daemon, "one") == 300 << 20
    daemon.load("one")
    measured = need_of(daemon, "one")
    assert measured != 300 << 20
    assert not (daemon.state / "footprints.json").exists()
    daemon.stop()
    daemon.start()
    assert need_of(daemon, "one") == measured
    daemon.stop()
    daemon.install("one", release=2, mebibytes=300)
    daemon.start()
    assert need_of(daemon, "one") == 300 << 20


def test_a_damaged_memory_is_no_obstacle(daemon: DaemonProcess) -> None:
    daemon.install("one", mebibytes=300)
    (daemon.state / "footprints.json").write_bytes(b"{}")
    daemon.start()
    assert need_of(daemon, "one") == 300 << 20
    assert "footprints.json" in daemon.log


def test_the_operator_loads_what_was_refused_wrongly(daemon: DaemonProcess) -> None:
    daemon.install("one", mebibytes=300)
    daemon.start(ram={"cap": "100 MiB"})
    admin = daemon.admin()
    refused = admin.ask(Load(expert="one"))
    assert isinstance(refused, Error)
    assert refused.code == "over_ram"
    assert refused.details["measured"] is False
    assert isinstance(admin.ask(Load(expert="one", ram_bytes=20 << 20)), Reply)
    assert isinstance(admin.ask(Unload(expert="one")), Reply)


def test_the_owner_says_in_the_settings_what_an_expert_needs(daemon: DaemonProcess) -> None:
    daemon.install("one", mebibytes=300)
    daemon.start(**{"ram": {"cap": "100 MiB"}, "ram.needs": {"one": "20 MiB", "other": "1 MiB"}})
    assert need_of(daemon, "one") == 20 << 20
    daemon.load("one")
    assert "other, which is not installed" in daemon.log
