"""The simulated board in real time, driven by a real process."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from fakes.running import DaemonProcess, until

from aiosd.boards.machine import read_machine
from aiosd.domain.power import Scope
from aiosd.protocol.messages import End, Energy, Error, Load, Reply, Status
from aiosd.sensors.memory import read_memory
from tools.boardsim.live import LiveBoard

# A million tokens take five seconds of a core, and others may want the core.
LONG_SECONDS = 90.0
BURN = "import time\nwhile time.process_time() < 1.0: pass"

pytestmark = pytest.mark.process


def simulate(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.boardsim", *arguments],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def true_joules(live: LiveBoard, scope: Scope) -> float:
    """The truth now: that of the last step, which may be 50 ms old, and what followed."""
    state, at = live.state, live.now
    return state.joules[scope] + state.watts[scope] * (time.monotonic() - at)


def test_the_cpu_time_of_a_command_becomes_watts_of_the_board(repo: Path, tmp_path: Path) -> None:
    done = simulate(
        repo, "rpi5", "--dir", str(tmp_path / "board"), "--run", sys.executable, "-c", BURN
    )
    assert done.returncode == 0
    assert done.stdout.startswith("SIMULATED board raspberry-pi-5")
    text = (tmp_path / "board/simulator/truth.jsonl").read_text()
    truth = [json.loads(line) for line in text.splitlines()]
    seconds = truth[-1]["t"] - truth[0]["t"]
    joules = truth[-1]["joules"]["board"] - truth[0]["joules"]["board"]
    busy = sum(line["busy_cores"] * (line["t"] - last["t"]) for last, line in pairwise(truth))
    # What ran between the last step and the end is not seen.
    assert 0.8 < busy < 1.3
    # A busy core of this board costs 0.6 to 1.8 W, by its clock.
    assert 0.6 * busy < joules - 2.8 * seconds < 1.9 * busy


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(
    repo: Path, tmp_path: Path
) -> None:
    done = simulate(repo, "rpi5", "--dir", str(tmp_path / "board"), "--fault", "gremlins")
    assert done.returncode == 2
    assert "missing-rails" in done.stderr


def test_an_unknown_board_is_refused_with_those_that_exist(repo: Path, tmp_path: Path) -> None:
    done = simulate(repo, "rpi6", "--dir", str(tmp_path / "board"))
    assert done.returncode == 2
    assert done.stderr.startswith("boardsim: no board 'rpi6'; there are am625")
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("name", "error"), [("raspberry-pi-5", 0.1), ("jetson-orin-nano", 0.06), ("x86-n100", 0.1)]
)
def test_the_daemon_finds_the_board_and_counts_the_joules_that_are_true(
    daemon: DaemonProcess, tmp_path: Path, name: str, error: float
) -> None:
    daemon.install()
    with LiveBoard(name, tmp_path / "simulated") as live:
        client = daemon.start(board={"sysroot": str(tmp_path / "simulated")}).client()
        live.watch(daemon.pid)
        status = client.ask(Status())
        assert isinstance(status, Reply)
        assert status.body["board"] == name
        ram = read_machine(tmp_path / "simulated/proc").ram_bytes
        assert 0 < cast("int", status.body["ram_cap_bytes"]) < ram
        counts: list[tuple[float, float]] = []
        # Long enough that the moments at both ends, which nobody reads, are a small part of it.
        for text in ("hello", "!tokens 1000000"):
            client.end(client.run("echo", text), LONG_SECONDS)
            reply = client.ask(Energy())
            assert isinstance(reply, Reply)
            said, scope = reply.body["meter_joules"], Scope(str(reply.body["scope"]))
            assert isinstance(said, float)
            counts.append((said, true_joules(live, scope)))
        said, true = (after - before for before, after in zip(*counts, strict=True))
        assert said == pytest.approx(true, rel=error)


def test_an_expert_that_the_board_cannot_run_is_refused_before_load_with_what_is_missing(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    daemon.install("dots", extra='isa = ["asimd", "asimddp"]\n')
    daemon.install("huge", mebibytes=3000)
    with LiveBoard("raspberry-pi-4", tmp_path / "simulated"):
        board = {"sysroot": str(tmp_path / "simulated")}
        client = daemon.start(board=board, ram={"cap": "auto"}).client()
        answer = client.say("dots", "hello")
        assert isinstance(answer, Error)
        assert answer.code == "expert_failed"
        assert answer.message == (
            "dots is installed and cannot run here: this processor lacks asimddp"
        )
        assert daemon.refused() == {"dots": "this processor lacks asimddp"}
        loaded = daemon.admin().ask(Load(expert="dots"))
        assert isinstance(loaded, Error)
        assert "lacks asimddp" in loaded.message
        answer = client.say("huge", "hello")
        assert isinstance(answer, Error)
        assert answer.code == "over_ram"
        assert cast("int", answer.details["need_bytes"]) >= 3000 << 20
        assert cast("int", answer.details["cap_bytes"]) < 2458 << 20
        assert isinstance(client.say("echo", "hello"), End)
        answer = client.say("nobody", "hello")
        assert isinstance(answer, Error)
        assert answer.code == "unknown_expert"


def test_the_workers_groups_of_a_simulated_board_are_called_simulated(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install()
    root = tmp_path / "simulated"
    with LiveBoard("x86-n100", root) as live:
        daemon.start(board={"sysroot": str(root)}, ram={"groups": "auto"})
        live.watch(daemon.pid)
        pid = daemon.load("echo")
        assert "SIMULATED" in str(daemon.status()["enforced_by"])
        ours = root / f"sys/fs/cgroup/system.slice/aiosd.service/aiosd.{daemon.pid}"
        (group,) = [path for path in ours.iterdir() if path.is_dir()]
        assert (group / "cgroup.procs").read_text().split() == [str(pid)]
        assert int((group / "memory.max").read_text()) == daemon.loaded()["echo"]["limit_bytes"]
        until(lambda: int((group / "memory.current").read_text()) > 0, "its memory to be counted")
        daemon.stop()
        assert not ours.exists()


def test_a_stock_raspberry_pi_says_that_the_books_hold_the_cap_and_why(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    root = tmp_path / "simulated"
    with LiveBoard("raspberry-pi-5", root):
        status = daemon.start(board={"sysroot": str(root)}, ram={"groups": "auto"}).status()
    assert status["enforced_by"] == (
        "the daemon's own books and polling (the memory controller is off on this machine)"
    )
    assert "no stall trigger" in str(status["memory_watched_by"])


def test_memory_that_other_programs_take_is_nobodys_to_load_into(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.install("echo", mebibytes=64)
    daemon.install("other", mebibytes=64)
    root = tmp_path / "simulated"
    with LiveBoard("raspberry-pi-5", root) as live:
        client = daemon.start(board={"sysroot": str(root)}).client()
        daemon.load("other")
        free = read_memory(root).available_bytes
        live.tree.set("taken", str((free >> 20) - 100))  # under what counts as short
        until(lambda: read_memory(root).available_bytes < 128 << 20, "the memory to go")
        refused = client.say("echo", "hello")
        assert isinstance(refused, Error)
        assert refused.code == "over_ram"
        assert int(str(refused.details["lacking_bytes"])) > 0
        client.say("other", "!sleep 0.6")  # while it runs memory is looked at
        assert daemon.status()["memory_short"] is True
        live.tree.set("taken", "0")
        until(lambda: read_memory(root).available_bytes > free // 2, "the memory to come back")
        assert isinstance(client.say("echo", "hello"), End)
