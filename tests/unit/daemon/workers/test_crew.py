"""The workers' owner, without processes: what is done for one that stood back."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from aiosd.daemon.workers.crew import Worker, Workers


class FakeNiceness:
    """Takes note of the processes that step up."""

    def __init__(self) -> None:
        self.stepped_up: list[int] = []

    def step_up(self, pid: int) -> None:
        self.stepped_up.append(pid)


def crew() -> tuple[Workers, FakeNiceness]:
    nothing = cast("Any", SimpleNamespace())
    workers = Workers(asyncio.new_event_loop(), None, {}, nothing, nothing)
    workers._loop.close()
    workers._niceness = cast("Any", found := FakeNiceness())
    return workers, found


def stood_back() -> Worker:
    return Worker("one", 1, process=cast("Any", SimpleNamespace(pid=4321)), stands_back=True)


def test_a_worker_that_stood_back_steps_up_once() -> None:
    workers, niceness = crew()
    worker = stood_back()
    workers._step_up(worker)
    workers._step_up(worker)
    assert niceness.stepped_up == [4321]


def test_nobody_steps_up_in_place_of_a_worker_that_is_gone() -> None:
    workers, niceness = crew()
    worker = stood_back()
    workers._gone(worker, "ended")
    workers._step_up(worker)
    assert niceness.stepped_up == []
