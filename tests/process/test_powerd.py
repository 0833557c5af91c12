"""The privileged helper, the daemon and aiosctl together, on a simulated board; no privilege."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from fakes.running import DaemonProcess, until

from aiosd.protocol.levers import Levers, Look, Refused, SetClock, pack, unpack_answer
from aiosd.protocol.messages import End, Error, Power, Reload, Reply
from tools.boardsim.live import LiveBoard

pytestmark = pytest.mark.process

LIMIT = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"


class Powerd:
    """`python -m aiosd.powerd` on a simulated board."""

    def __init__(self, root: Path, socket_path: Path, user: str) -> None:
        self.root, self.path = root, socket_path
        socket_path.parent.mkdir(exist_ok=True)
        self.record = root.parent / "found.json"
        self.log = root.parent / "powerd.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "aiosd.powerd", "--socket", str(socket_path)),
                    *("--sysroot", str(root), "--record", str(self.record), "--user", user),
                ],
                stderr=log,
            )
        until(lambda: socket_path.exists() or self.process.poll() is not None, "a socket")

    def limit(self) -> int:
        return int((self.root / LIMIT).read_text().strip() or 0)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LiveBoard]:
    with LiveBoard("jetson-orin-nano", tmp_path / "board") as live:
        yield live


@pytest.fixture
def powerd(board: LiveBoard, daemon: DaemonProcess) -> Iterator[Powerd]:
    me = pwd.getpwuid(os.getuid()).pw_name
    made = Powerd(board.tree.root, daemon.sockets / "powerd.sock", me)
    yield made
    made.end()


def aiosctl(daemon: DaemonProcess, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aiosd.cli", "--socket-dir", str(daemon.sockets), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start(daemon: DaemonProcess, board: LiveBoard, **power: object) -> DaemonProcess:
    daemon.install()
    return daemon.start(board={"sysroot": str(board.tree.root)}, power={"helper": True, **power})


def test_an_operator_sets_and_lists_modes_and_clocks_and_all_of_it_goes_with_the_daemon(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    start(daemon, board)
    listed = aiosctl(daemon, "power", "mode", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines() == ["  7W", "  15W", "  25W", "* MAXN_SUPER"]
    done = aiosctl(daemon, "power", "mode", "15W")
    assert "* 15W" in done.stdout.splitlines()
    done = aiosctl(daemon, "power", "frequency", "900MHz", "--policy", "policy0")
    assert done.returncode == 0
    assert powerd.limit() == 900_000
    assert "0.90 GHz" in done.stdout
    wrong = aiosctl(daemon, "power", "mode", "50W")
    assert wrong.returncode == 65
    assert "no power mode '50W'; there are 7W, 15W, 25W, MAXN_SUPER" in wrong.stderr
    wrong = aiosctl(daemon, "power", "frequency", "9GHz", "--policy", "policy0")
    assert wrong.returncode == 65
    assert "policy0 runs at 115000 to 1728000 kHz" in wrong.stderr
    assert aiosctl(daemon, "power", "frequency", "auto").returncode == 0
    assert powerd.limit() == 1_728_000
    assert aiosctl(daemon, "power", "frequency", "800MHz").returncode == 0
    assert powerd.limit() == 800_000
    daemon.stop()
    until(lambda: powerd.limit() == 1_728_000, "the clock to be put back")
    status = board.tree.root / "var/lib/nvpmodel/status"
    until(lambda: "pmode:0003" in status.read_text(), "the mode to be put back")
    said = powerd.log.read_text()
    assert "policy0: at most 900000 kHz (was 1728000)" in said
    assert "power mode 15W (was MAXN_SUPER)" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_helper_that_is_ended_puts_the_board_back_and_the_daemon_says_that_it_is_gone(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd, number: int
) -> None:
    client = start(daemon, board).admin()
    assert isinstance(client.ask(Power(khz=700_000)), Reply)
    assert powerd.limit() == 700_000
    powerd.end(number)
    assert powerd.limit() == 1_728_000
    assert not powerd.record.exists()
    answer = client.ask(Power())
    assert isinstance(answer, Error)
    assert answer.code == "busy"
    assert "aiosd-powerd" in answer.message


def test_a_daemon_that_is_killed_leaves_nothing_changed(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    start(daemon, board)
    assert isinstance(daemon.admin().ask(Power(khz=700_000)), Reply)
    daemon.signal(signal.SIGKILL)
    until(lambda: powerd.limit() == 1_728_000, "the clock to be put back")


def test_a_helper_that_is_killed_puts_it_back_when_it_starts_again(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    start(daemon, board)
    assert isinstance(daemon.admin().ask(Power(khz=700_000)), Reply)
    powerd.end(signal.SIGKILL)
    assert powerd.limit() == 700_000
    powerd.path.unlink()
    again = Powerd(board.tree.root, powerd.path, pwd.getpwuid(os.getuid()).pw_name)
    try:
        until(lambda: again.limit() == 1_728_000, "the clock to be put back")
        assert isinstance(daemon.admin().ask(Power(khz=600_000)), Reply)
        assert again.limit() == 600_000
    finally:
        again.end()


def test_without_the_setting_the_verb_says_what_to_set(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    start(daemon, board, helper=False)
    answer = daemon.admin().ask(Power(mode="7W"))
    assert isinstance(answer, Error)
    assert (answer.code, answer.details["field"]) == ("invalid", "power.helper")
    assert "helper = true" in answer.message
    assert powerd.limit() == 1_728_000


def test_turning_the_setting_off_puts_the_board_back(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    client = start(daemon, board).admin()
    assert isinstance(client.ask(Power(khz=700_000)), Reply)
    daemon.configure(power={"helper": False})
    assert isinstance(client.ask(Reload()), Reply)
    until(lambda: powerd.limit() == 1_728_000, "the clock to be put back")


def test_the_verb_is_for_operators(daemon: DaemonProcess, board: LiveBoard, powerd: Powerd) -> None:
    answer = start(daemon, board).client().ask(Power(mode="7W"))
    assert isinstance(answer, Error)
    assert answer.code == "forbidden"
    assert powerd.limit() == 1_728_000


def ask(path: Path, data: bytes) -> Levers | Refused:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.settimeout(20)
        made.connect(str(path))
        made.send(data)
        return unpack_answer(made.recv(65536))


def test_garbage_is_refused_and_the_next_is_served(powerd: Powerd) -> None:
    assert isinstance(ask(powerd.path, b"\xc1garbage"), Refused)
    assert isinstance(ask(powerd.path, pack(SetClock(policy="policy0", khz=1))), Refused)
    assert isinstance(ask(powerd.path, pack(Look())), Levers)
    assert powerd.limit() == 1_728_000
    assert powerd.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_sent_away(powerd: Powerd) -> None:
    powerd.path.chmod(0o666)
    code = (
        "import os, socket, sys; os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]);"
        "sys.stdout.buffer.write(s.recv(4096))"
    )
    for folder in (powerd.path.parent, *powerd.path.parent.parents):
        if folder.stat().st_mode & 0o001 == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o711)
    done = subprocess.run(
        [sys.executable, "-c", code, str(powerd.path)], capture_output=True, check=True
    )
    refused = unpack_answer(done.stdout)
    assert isinstance(refused, Refused)
    assert "uid 65534 may not" in refused.reason


def test_under_a_cap_the_clock_falls_before_anybody_rests_for_long(
    daemon: DaemonProcess, board: LiveBoard, powerd: Powerd
) -> None:
    root = Path(__file__).resolve().parents[2] / "board-profiles" / "jetson-orin-nano.toml"
    mine = daemon.folder / "profiles"
    mine.mkdir()
    text = root.read_text(encoding="utf-8")
    text = text.replace("window_seconds", "slower_clock_saves = true\nwindow_seconds", 1)
    (mine / root.name).write_text(text)
    daemon.settings["paths"]["profiles"] = [str(mine)]
    start(daemon, board, cap_watts=2.8)
    board.watch(daemon.pid)
    client = daemon.client()

    def slower() -> bool:
        assert isinstance(client.say("echo", "!tokens 60000"), End)
        return powerd.limit() < 1_728_000

    until(slower, "a slower clock", 60.0)
    power = cast("dict[str, object]", daemon.status()["power"])
    assert cast("float", power["clock_share"]) < 1.0
    daemon.configure(power={"cap_watts": 0.0})
    assert isinstance(daemon.admin().ask(Reload()), Reply)
    until(lambda: powerd.limit() == 1_728_000, "the full clock")
