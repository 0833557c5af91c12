"""A forked process that does one thing to a board and may not live to its end."""

import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from aiosd.store import failpoint
from tools.torture.board import Board, operate

# What a victim's exit status says.
DONE, REFUSED, BROKEN = 0, 1, 70

Blow = Callable[[], None]
Work = Callable[[Board], bool]


def strike() -> None:
    """Die at once, as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


class Victim:
    """One forked process; `said` is what it said before its end."""

    def __init__(
        self, root: Path, what: str, action: failpoint.Action | None, work: Work | None = None
    ) -> None:
        """Fork; every point that is reached calls `action`."""
        self.what = what
        self.said = ""
        self.sure: int | None = None
        self._read, write = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            status = BROKEN
            try:
                status = _live(root, what, action, write, work)
            finally:
                if sys.exc_info()[0] is not None:  # os._exit would swallow it
                    os.write(write, f"broke {what} {traceback.format_exc()!r}\n".encode())
                os._exit(status)
        os.close(write)

    def wait(
        self, after_seconds: float | None = None, blow: Callable[[int], None] | None = None
    ) -> int:
        """Wait for its end, and strike it from outside after a while; return its exit code.

        `sure` is how much of what it said had come before that blow: the kernel may tell a sync
        that is under way of success while the power goes.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        heard = bytearray()
        due = None if after_seconds is None else time.monotonic() + after_seconds
        left = None if after_seconds is None else after_seconds * 1000
        while True:
            if not poll.poll(left):
                left = None
                if blow is not None:
                    self.sure = len(heard)
                    blow(self.pid)
                continue
            if due is not None and left is not None:
                left = max(0.0, (due - time.monotonic()) * 1000)
            data = os.read(self._read, 65536)
            if not data:
                break
            heard += data
        return self._end(heard)

    def _end(self, heard: bytearray) -> int:
        """Take what it said in all, and return its exit code."""
        os.close(self._read)
        self.said = heard.decode()
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _live(
    root: Path, what: str, action: failpoint.Action | None, write: int, work: Work | None
) -> int:
    """Do it; return the exit status."""

    def say(line: str) -> None:
        os.write(write, f"{line}\n".encode())

    board = Board(root, say)
    failpoint.act_by(action)
    if work is not None:
        return DONE if work(board) else REFUSED
    return DONE if operate(board, what) else REFUSED


def chosen(chance: random.Random, weights: dict[str, int]) -> str:
    """Return something to do."""
    return chance.choices(list(weights), list(weights.values()))[0]
