"""`aiosctl calibrate` at a real terminal, with real load, on a simulated board with a daemon."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from fakes.running import DaemonProcess, alive, until

from aiosd.domain.power import Scope
from aiosd.sensors.model import read_calibration
from tools.boardsim.live import LiveBoard, Start

pytestmark = pytest.mark.process


class Owner:
    """Sits at a terminal and answers; `heard` is all that the terminal showed."""

    def __init__(self, *words: str) -> None:
        self.mine, theirs = pty.openpty()
        command = [sys.executable, "-m", "aiosd.cli", *words]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.heard = ""

    def hear(self) -> bool:
        """Read what there is; False at the end."""
        if select.select([self.mine], [], [], 0.05)[0]:
            try:
                self.heard += os.read(self.mine, 4096).decode()
            except OSError:
                return False
        return True

    def hear_until(self, pattern: str) -> None:
        until(lambda: self.hear() and bool(re.search(pattern, self.heard)), pattern, 30.0)

    def answer(self, question: str, reply: Callable[[], str]) -> bool:
        """Answer the question if it is being asked now."""
        if not self.heard.rstrip("\r\n").endswith(question):
            return False
        self.heard += f"<{reply()}>"
        os.write(self.mine, reply().encode() + b"\n")
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.mine)


@pytest.fixture
def owners() -> Iterator[list[Owner]]:
    made: list[Owner] = []
    yield made
    for owner in made:
        owner.close()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_an_owner_calibrates_and_the_daemon_uses_it_at_once(
    daemon: DaemonProcess, tmp_path: Path, owners: list[Owner]
) -> None:
    daemon.install()
    with LiveBoard("raspberry-pi-4", tmp_path / "board", Start(unit=1.2)) as live:
        daemon.start(board={"sysroot": str(tmp_path / "board")})
        power = cast("dict[str, object]", daemon.status()["power"])
        assert power["source"] == "default_model"
        words = ("--socket-dir", str(daemon.sockets), "calibrate", "--settle", "2", "--clocks", "2")
        owner = Owner(*words, "--meter", "the simulator")
        owners.append(owner)
        seen: deque[tuple[float, float]] = deque(maxlen=400)

        def read() -> str:
            """The mean of the last second, as a meter that averages."""
            now, joules = seen[-1]
            then, before = next(each for each in seen if now - each[0] <= 1.0)
            return f"{(joules - before) / max(now - then, 1e-3):.2f}" if now > then else "1.92"

        end = time.monotonic() + 240
        while owner.hear() and time.monotonic() < end:
            # The board does what the terminal says: on a shared machine real load comes and goes.
            said = re.findall(r"\] (?:(\d+) of 4 cores|idle)", owner.heard)
            live.tree.set("busy", said[-1] or "0" if said else "0")
            seen.append((live.now, live.state.joules[Scope.BOARD]))
            owner.answer("watts on the meter now: ", read)
            owner.answer("repeat it? [Y/n] ", lambda: "y")
            owner.answer("leave at any time. ", lambda: "")
        assert owner.process.wait(10) == 0, owner.heard
        assert "the daemon uses it from now on" in owner.heard
        made = read_calibration(daemon.state / "calibration.json", "raspberry-pi-4")
        assert made.meter == "the simulator"
        # In real time, with steps of the simulator of 50 ms; simulated time has tests of the error.
        assert made.idle_watts == pytest.approx(1.2 * 1.6, rel=0.15)
        assert made.policies[0].curve()[-1][1] == pytest.approx(1.2 * 0.85, rel=0.35)
        power = cast("dict[str, object]", daemon.status()["power"])
        assert (power["source"], power["meter"]) == ("calibrated_model", "calibrated-model")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_calibration_that_is_ended_leaves_no_load_and_no_file(
    daemon: DaemonProcess, tmp_path: Path, owners: list[Owner], number: int
) -> None:
    with LiveBoard("raspberry-pi-4", tmp_path / "board") as live:
        words = ("calibrate", "--settle", "0.2", "--board", "raspberry-pi-4")
        out = daemon.state / "calibration.json"
        places = ("--sysroot", str(tmp_path / "board"), "--out", str(out))
        nobody = ("--socket-dir", str(tmp_path / "nobody"))
        owner = Owner(*nobody, *words, *places)
        owners.append(owner)
        limit = live.tree.root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
        found = int(limit.read_text())

        def loaded() -> list[int]:
            owner.hear()
            # The first load is the fourth reading; it is left unanswered.
            if "[4/" not in owner.heard:
                owner.answer("watts on the meter now: ", lambda: "1.6")
                owner.answer("leave at any time. ", lambda: "")
                return []
            return children(owner.process.pid)

        load = until(loaded, "a load", 60.0)
        until(lambda: int(limit.read_text()) < found, "a lower clock")
        os.kill(owner.process.pid, number)
        owner.process.wait(20)
        until(lambda: not any(map(alive, load)), "the load to end")
        assert list(daemon.state.iterdir()) == []
        if number != signal.SIGKILL:
            assert int(limit.read_text()) == found
