"""Work in a process of its own: what it tells, how it ends, and one core."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tools.distill.fault import DistillError
from tools.distill.slots import beside
from tools.distill.slots.beside import Beside, Tell


def test_what_is_told_comes_in_any_order_and_from_another_process(tmp_path: Path) -> None:
    def act(tell: Tell) -> None:
        tell("first", os.getpid())
        tell("second", [1, 2])

    with Beside(act, tmp_path / "log") as other:
        assert other.wait("second") == [1, 2]
        process = other.wait("first")
    assert (process == os.getpid()) == (beside.cores() < 2)


def test_with_one_core_all_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "cores", lambda: 1)
    with Beside(lambda tell: tell("process", os.getpid()), tmp_path / "log") as other:
        assert other.wait("process") == os.getpid()


def test_one_that_is_killed_says_what_was_not_told_and_where_its_lines_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "cores", lambda: 2)

    def act(tell: Tell) -> None:
        tell("first", 1)
        sys.stderr.write("as far as this\n")
        os.kill(os.getpid(), signal.SIGKILL)

    log = tmp_path / "log"
    with Beside(act, log) as other:
        assert other.wait("first") == 1
        with pytest.raises(DistillError, match="without second") as fault:
            other.wait("second")
    assert f"{log}: 'as far as this'" in str(fault.value)
    assert log.read_text() == "as far as this\n"


def test_one_that_raises_leaves_its_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "cores", lambda: 2)

    def act(_: Tell) -> None:
        raise ValueError("a torn file")

    with Beside(act, tmp_path / "log") as other, pytest.raises(DistillError):
        other.wait("anything")
    assert "ValueError: a torn file" in (tmp_path / "log").read_text()


def test_it_is_ended_when_this_one_goes_on_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "cores", lambda: 2)

    def act(tell: Tell) -> None:
        tell("process", os.getpid())
        signal.pause()

    other = Beside(act, tmp_path / "log").__enter__()
    process = other.wait("process")
    other.__exit__(KeyboardInterrupt, None, None)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_it_ends_when_the_process_that_began_it_is_killed(tmp_path: Path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        beside.cores = lambda: 2

        def act(tell: Tell) -> None:
            tell("begun", None)
            signal.pause()

        os.close(read)
        with Beside(act, tmp_path / "log") as other:
            other.wait("begun")
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(child, 0)
    # The pipe's other end is closed when the last process that holds it is gone.
    assert os.read(read, 1) == b""
    os.close(read)
