"""The real aiosd-update: killed in the middle and gone on with, and within its memory."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.updating import Board, updating

pytestmark = pytest.mark.process

MODEL = os.urandom(10_000_000)
# The most this process may ever hold.
MOST_BYTES = 40_000_000
MEASURED = """\
import sys
from aiosd.update.__main__ import main
status = main(sys.argv[1:])
lines = open("/proc/self/status").read().splitlines()
print(next(line for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with updating(tmp_path) as made:
        made.repository.publish("one", 2, {"model.bin": MODEL})
        (tmp_path / "root.json").write_bytes(made.bootstrap)
        (tmp_path / "aiosd.toml").write_text(
            f'[paths]\nexperts = ["{made.layout.experts[0]}"]\nstate = "{made.layout.state}"\n'
            f'sockets = "{tmp_path}/run"\n'
            f'[update]\nurl = "{made.mirror.url}"\nroot = "{tmp_path}/root.json"\nreserve = "0"\n'
        )
        yield made


def start(board: Board, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MEASURED, "--config", str(board.root / "aiosd.toml")],
        env={**os.environ, "AIOSD_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("point", ["fetch.progress", "stage.renamed"])
def test_a_run_that_is_killed_is_gone_on_with(board: Board, point: str) -> None:
    killed = start(board, f"{point}:kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert board.still_serves_the_old_one()
    assert board.releases.installed("one") in ([1], [1, 2])
    board.mirror.sent = 0
    done = start(board)
    assert done.returncode == 0, done.stderr
    assert "one: release 2 is staged" in done.stdout
    # At most what came after the last mark, and some metadata.
    assert board.mirror.sent < len(MODEL) - 7_500_000
    assert board.still_serves_the_old_one()
    assert (board.releases.open("one", 2).folder / "model.bin").read_bytes() == MODEL
    peak = int(done.stdout.split("VmHWM:")[1].split()[0]) * 1024
    assert peak <= MOST_BYTES
