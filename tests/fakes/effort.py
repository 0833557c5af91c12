"""A bound on the work of a piece of code: processor time, which a busy machine does not stretch."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def cpu_at_most(seconds: float) -> Iterator[None]:
    """Break off what uses more than `seconds` of this process's processor time, and fail."""

    def too_much(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, too_much)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def least_cpu(call: Callable[[], object], times: int) -> float:
    """The least processor time of this process, in seconds, of so many calls."""
    least = float("inf")
    for _ in range(times):
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return least
