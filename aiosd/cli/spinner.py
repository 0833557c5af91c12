"""Processes that keep cores busy for a calibration, and never outlive it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

# Ends with its parent, whatever ended that: a calibration must leave no load behind.
_SPIN = """
import os, sys
parent, cpu = int(sys.argv[1]), int(sys.argv[2])
if cpu >= 0 and cpu in os.sched_getaffinity(0):
    os.sched_setaffinity(0, {cpu})
while os.getppid() == parent:
    for _ in range(200000):
        pass
"""
_END_SECONDS = 5.0


@contextlib.contextmanager
def spinning(cpus: Sequence[int], *, pin: bool, parent: int) -> Iterator[None]:
    """Keep so many cores busy for as long as the context is open; these very ones if `pin`."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for cpu in cpus:
            processes.append(  # noqa: PERF401 - those that run must be known if one fails
                subprocess.Popen(  # noqa: S603 - our own interpreter and code
                    [sys.executable, "-ISc", _SPIN, str(parent), str(cpu if pin else -1)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(_END_SECONDS)
