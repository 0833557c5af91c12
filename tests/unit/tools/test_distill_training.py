"""A run that is killed loses at most the epoch it was in, and comes to the very same."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tools.distill import training
from tools.distill.fault import DistillError, FullDiskError
from tools.distill.progress import Progress
from tools.distill.run_book import RunBook
from tools.distill.training import Checkpoint, learn

ROOT = Path(__file__).resolve().parents[3]


class Walk:
    """Learns by a seeded walk; may end its own process in the middle of an epoch."""

    def __init__(self, killed_in: int = -1) -> None:
        self.value = 0.0
        self.killed_in = killed_in

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        tick(0.5)
        if number == self.killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        self.value += float(np.random.default_rng([3, number]).normal())
        return {"loss": self.value}

    def state(self) -> bytes:
        return json.dumps(self.value).encode()

    def restore(self, state: bytes) -> None:
        self.value = json.loads(state)


def walk(folder: Path, learner: Walk, epochs: int = 6) -> int:
    book = RunBook(folder, "recipe", "digest")
    return learn(
        learner,
        epochs,
        Checkpoint(book.checkpoints / "walk.checkpoint"),
        lambda epoch, figures: book.add_point("walk", epoch, figures),
        Progress("walk", io.StringIO()),
    )


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_distill_training import Walk, walk
walk(Path({folder!r}), Walk(killed_in=4))
"""


def test_a_run_killed_with_9_goes_on_from_its_last_epoch_to_the_same_end(tmp_path: Path) -> None:
    whole = Walk()
    assert walk(tmp_path / "whole", whole) == 6
    code = KILLED.format(
        root=str(ROOT), tests=str(Path(__file__).parent), folder=str(tmp_path / "cut")
    )
    died = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = Walk()
    assert walk(tmp_path / "cut", resumed) == 2
    assert resumed.value == whole.value
    curves = [
        list(RunBook(tmp_path / name, "recipe", "digest").points()) for name in ("whole", "cut")
    ]
    assert curves[0] == curves[1]


def test_a_finished_student_is_not_trained_again(tmp_path: Path) -> None:
    walk(tmp_path, Walk())
    again = Walk()
    assert walk(tmp_path, again) == 0
    assert again.value != 0.0


@pytest.mark.parametrize("damage", ["torn", "changed", "empty"])
def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.checkpoint"
    checkpoint = Checkpoint(path)
    checkpoint.write(3, b"state")
    assert checkpoint.read() == (3, b"state")
    data = path.read_bytes()
    path.write_bytes({"torn": data[:-2], "changed": data[:-1] + b"X", "empty": b""}[damage])
    assert checkpoint.read() is None


def test_what_a_kill_left_half_written_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.checkpoint-x7").write_bytes(b"half")
    checkpoint = Checkpoint(tmp_path / "a.checkpoint")
    checkpoint.write(1, b"state")
    assert checkpoint.read() == (1, b"state")
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "a.checkpoint")
    checkpoint.write(1, b"before")

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training, "replace_file", full)
    with pytest.raises(FullDiskError, match="the same command"):
        checkpoint.write(2, b"after")
    assert checkpoint.read() == (1, b"before")


def test_another_error_of_the_disk_is_not_taken_for_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path, _data: bytes) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(training, "replace_file", broken)
    with pytest.raises(OSError, match="I/O error"):
        Checkpoint(tmp_path / "a").write(1, b"x")


def test_a_folder_holds_the_run_of_one_recipe(tmp_path: Path) -> None:
    RunBook(tmp_path, "a", "digest of a")
    with pytest.raises(DistillError, match="another recipe"):
        RunBook(tmp_path, "b", "digest of b")


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    done: list[int] = []

    def act() -> int:
        done.append(1)
        return 7

    assert RunBook(tmp_path, "a", "d").stage("one", act) == 7
    assert RunBook(tmp_path, "a", "d").stage("one", act) == 7
    assert len(done) == 1


def test_a_torn_line_of_the_curve_is_left_out(tmp_path: Path) -> None:
    book = RunBook(tmp_path, "a", "d")
    book.add_point("s", 0, {"loss": 1.0})
    with (tmp_path / "curve.jsonl").open("a") as file:
        file.write('{"student": "s", "ep')
    assert [each["loss"] for each in book.points()] == [1.0]
