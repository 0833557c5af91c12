"""Joules on replies, through a real daemon on folders that stand for boards (no real meters)."""

from pathlib import Path

import msgspec
import pytest
from fakes.board import CHIPS, FakeBoard
from fakes.running import DaemonProcess, until

from aiosd.client import Client
from aiosd.domain.calibration import Calibration, Point, PolicyCost
from aiosd.protocol.messages import End, Energy, Error, Reload, Reply, Status
from tools.boardsim.live import LiveBoard

pytestmark = pytest.mark.process

ORIN_NANO = b"nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0"


@pytest.fixture
def board(tmp_path: Path) -> FakeBoard:
    """A Jetson Orin Nano that takes 5.397 W and is always half busy."""
    made = FakeBoard(tmp_path / "board").orin_nano().cpus([100] * 6).zones(("cpu-thermal", 51000))
    tree = made.root / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(ORIN_NANO)
    return made


def body_of(answer: object) -> dict[str, object]:
    assert isinstance(answer, Reply), answer
    return answer.body


def test_every_reply_carries_joules_with_their_source_and_scope(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    with LiveBoard("jetson-orin-nano", tmp_path / "simulated") as simulated:
        client = daemon.start(board={"sysroot": str(tmp_path / "simulated")}).client()
        simulated.watch(daemon.pid)
        client.say("echo", "!tokens 200000")
        for text in ("!tokens 100000", "hello"):
            answer = client.say("echo", text)
            assert isinstance(answer, End)
            usage = answer.outcome.usage
            assert usage.joules is not None
            assert usage.joules_gross is not None
            assert usage.joules_gross >= usage.joules > 0
            assert usage.joules_uncertainty is not None
            assert usage.joules_source.split()[-1] == "measured_total"
            assert usage.joules_scope == "module"


def test_status_says_which_meter_what_it_reads_and_how_hot_it_is(
    daemon: DaemonProcess, board: FakeBoard
) -> None:
    daemon.install()
    client = daemon.start(board={"sysroot": str(board.root)}).client()
    client.say("echo", "hello")
    body = body_of(client.ask(Status()))
    power = body["power"]
    assert isinstance(power, dict)
    assert (body["board"], power["meter"]) == ("jetson-orin-nano", "ina3221")
    assert power["watts"] == pytest.approx(5.397, abs=0.01)
    assert power["heat"] == {"cpu-thermal": 51.0}
    assert power["silence"] == ""


def test_the_parts_of_the_energy_books_add_up_to_the_meter(
    daemon: DaemonProcess, board: FakeBoard
) -> None:
    daemon.install()
    client = daemon.start(board={"sysroot": str(board.root)}).client()
    for _ in range(3):
        client.say("echo", "!sleep 0.15")
    body = body_of(client.ask(Energy()))
    experts = body["experts"]
    assert isinstance(experts, dict)
    parts = sum(each["joules"] for each in experts.values())
    parts += body["idle_joules"] + body["other_joules"]  # type: ignore[operator]
    assert body["meter_joules"] == pytest.approx(parts, rel=0.01)
    up = body_of(client.ask(Status()))["uptime_seconds"]
    assert 5.39 * 0.45 <= body["meter_joules"] <= 5.40 * up  # type: ignore[operator]


def test_a_meter_that_fails_is_silent_with_a_reason_and_requests_go_on(
    daemon: DaemonProcess, board: FakeBoard
) -> None:
    daemon.install()
    client = daemon.start(board={"sysroot": str(board.root)}).client()
    assert isinstance(client.say("echo", "hello"), End)
    for kind in ("in1_input", "curr1_input"):
        board.write({f"{CHIPS}/1-0040/hwmon/hwmon1/{kind}": "N/A\n"})
    assert isinstance(client.say("echo", "!sleep 0.2"), End)
    power = body_of(client.ask(Status()))["power"]
    assert isinstance(power, dict)
    assert "1-0040" in str(power["silence"])


def test_a_board_without_meter_or_model_gives_no_joules_and_never_zeros(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    daemon.install()
    client = daemon.start(board={"sysroot": str(empty), "profile": "generic"}).client()
    answer = client.say("echo", "hello")
    assert isinstance(answer, End)
    assert answer.outcome.usage.joules is None
    assert answer.outcome.usage.joules_source == "none"
    assert body_of(client.ask(Energy())) == {"source": "none"}


def test_the_client_reads_the_energy_books(daemon: DaemonProcess, board: FakeBoard) -> None:
    daemon.install()
    daemon.start(board={"sysroot": str(board.root)})
    with Client(str(daemon.sockets)) as client:
        client.run(text="hello", expert="echo")
        assert client.energy()["source"] == "measured_total"


def test_a_watt_cap_slows_the_workers_until_the_simulated_board_keeps_it(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    with LiveBoard("raspberry-pi-5", tmp_path / "simulated") as simulated:
        tables = {"board": {"sysroot": str(tmp_path / "simulated")}, "power": {"cap_watts": 3.3}}
        client = daemon.start(**tables).client()
        simulated.watch(daemon.pid)

        def slowed() -> bool:
            assert isinstance(client.say("echo", "!tokens 60000"), End)
            power = body_of(client.ask(Status()))["power"]
            assert isinstance(power, dict)
            return bool(power["allowance"]["duty"] < 1.0)

        until(slowed, "the governor to lower the duty")


def test_a_cap_below_the_idle_refuses_with_the_watts_and_when_to_come_back(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    with LiveBoard("raspberry-pi-5", tmp_path / "simulated"):
        tables = {"board": {"sysroot": str(tmp_path / "simulated")}, "power": {"cap_watts": 1.0}}
        client = daemon.start(**tables).client()
        answers: list[object] = []

        def refused() -> bool:
            answers.append(client.say("echo", "hello"))
            return isinstance(answers[-1], Error)

        until(refused, "the governor to have waited long enough")
        error = answers[-1]
        assert isinstance(error, Error)
        assert error.code == "over_power"
        assert error.details["cap_watts"] == pytest.approx(1.0)
        assert float(str(error.details["retry_after_seconds"])) > 0


def test_what_was_learnt_of_joules_survives_a_restart(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    with LiveBoard("jetson-orin-nano", tmp_path / "simulated") as simulated:
        client = daemon.start(board={"sysroot": str(tmp_path / "simulated")}).client()
        simulated.watch(daemon.pid)
        for _ in range(8):
            client.say("echo", "!tokens 40000")
        before = body_of(client.ask(Energy()))
        daemon.stop()
        client = daemon.start().client()
        after = body_of(client.ask(Energy()))
        assert after["since"] == before["since"]
        assert after["experts"]["echo"]["requests"] == 8  # type: ignore[index]
        assert after["meter_joules"] >= before["meter_joules"]  # type: ignore[operator]
        answer = client.say("echo", "hello")
        assert isinstance(answer, End)
        assert answer.outcome.usage.joules_source == "fitted measured_total"
        daemon.stop()
        (daemon.state / "energy.json").write_text("{")
        daemon.start()
        assert "energy is counted anew" in daemon.log


def test_a_calibration_that_comes_is_used_after_a_reload(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    with LiveBoard("raspberry-pi-4", tmp_path / "simulated"):
        client = daemon.start(board={"sysroot": str(tmp_path / "simulated")}).admin()
        assert isinstance(client.say("echo", "hello"), End)
        made = Calibration(
            board="raspberry-pi-4",
            meter="x",
            idle_watts=1.9,
            residual_watts=0.02,
            policies=[PolicyCost(policy="policy0", points=[Point(khz=1800000, add_watts=1.0)])],
        )
        (daemon.state / "calibration.json").write_bytes(msgspec.json.encode(made))
        assert isinstance(client.ask(Reload()), Reply)
        assert body_of(client.ask(Energy()))["source"] == "calibrated_model"
        answer = client.say("echo", "!tokens 40000")
        assert isinstance(answer, End)
        assert answer.outcome.usage.joules_source.split()[-1] == "calibrated_model"
        (daemon.state / "calibration.json").unlink()
        assert isinstance(client.ask(Reload()), Reply)
        assert body_of(client.ask(Energy()))["source"] == "default_model"
