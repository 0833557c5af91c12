"""How nice workers are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiosd.daemon.workers.niceness import NICE, Niceness, may_renice
from aiosd.domain.request import Priority


@pytest.fixture
def pid() -> Iterator[int]:
    """A process with a second thread, at nice 5."""
    program = (
        "import os, sys, threading; os.nice(5);"
        "threading.Thread(target=sys.stdin.read).start(); print(flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def nice_values(pid: int) -> set[int]:
    return {
        os.getpriority(os.PRIO_PROCESS, int(thread.name))
        for thread in Path(f"/proc/{pid}/task").iterdir()
    }


@pytest.mark.skipif(not may_renice(), reason="this user may not make a process less nice again")
def test_all_threads_of_a_worker_follow_the_priority_and_come_back(pid: int) -> None:
    niceness = Niceness()
    for priority in (Priority.BACKGROUND, Priority.INTERACTIVE, Priority.NORMAL):
        wanted = min(19, niceness.own + NICE[priority])
        assert niceness.set(pid, priority) == wanted
        assert nice_values(pid) == {wanted}


@pytest.mark.skipif(not may_renice(), reason="this user may not make a process less nice again")
def test_all_threads_of_a_worker_that_stood_back_step_up_again(pid: int) -> None:
    threads = [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    for thread in threads:
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    Niceness().step_up(pid)
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}


def test_without_the_right_nothing_is_changed(pid: int) -> None:
    before = nice_values(pid)
    assert Niceness(able=False).set(pid, Priority.BACKGROUND) is None
    assert nice_values(pid) == before


def test_a_worker_that_is_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert Niceness(able=True).set(process.pid, Priority.BACKGROUND) is None


def test_the_more_urgent_is_the_less_nice() -> None:
    assert NICE[Priority.INTERACTIVE] < NICE[Priority.NORMAL] < NICE[Priority.BACKGROUND]
