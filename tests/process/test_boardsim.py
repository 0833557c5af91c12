"""The simulated board in real time, driven by a real process."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

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
