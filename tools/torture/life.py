"""A board's life up to the blow that ends it: it does one thing after another.

In a process of its own, which is forked, so that nothing has to be imported again.
"""

import gc
import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aiosd.store import failpoint
from tools.torture.board import Board, operate
from tools.torture.victim import Blow, Victim, strike

RECOVERY = "recovery"


class Deed(NamedTuple):
    """Something that a board does, and the point since its beginning at which it is struck."""

    what: str
    point: int | None = None


class Count:
    """An action that counts points, and strikes at one of them."""

    def __init__(self, point: int | None, blow: Blow) -> None:
        """Strike at that one, from 1; None: at none."""
        self.reached = 0
        self._point = point
        self._blow = blow

    def __call__(self, name: str) -> None:
        """Count a point."""
        del name
        self.reached += 1
        if self.reached == self._point:
            self._blow()


class Life(Victim):
    """One process.

    `begun` is what it began; `ended` what it lived to the end of, each with its number of
    `points`, 0 if that was refused.
    """

    def __init__(self, root: Path, deeds: Sequence[Deed], blow: Blow = strike) -> None:
        """Fork."""
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.refused: list[str] = []
        self.points: list[int] = []
        self._struck = False
        self._deeds = deeds
        self._blow = blow
        self._wait, self._go = os.pipe()
        super().__init__(root, "life", None, self._play)
        os.close(self._wait)

    @property
    def doing(self) -> str:
        """What it did last."""
        return self.begun[-1] if self.begun else RECOVERY

    def watch(
        self,
        mended: Callable[[], None],
        moment: float | None,
        blow: Callable[[int], None],
    ) -> int:
        """Wait for its end; return its exit code.

        Once it has recovered it rests while `mended` is called. `moment`: strike by `blow` so many
        seconds after it began, whatever it does then. `sure` is how much of what it said had come
        before such a blow.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        heard, seen = bytearray(), 0
        due: float | None = None
        while True:
            left = None if due is None else max(0.0, (due - time.monotonic()) * 1000)
            if not poll.poll(left):
                due, moment, self.sure, self._struck = None, None, len(heard), True
                blow(self.pid)
                continue
            data = os.read(self._read, 65536)
            if not data:
                break
            heard += data
            whole = heard.rfind(b"\n") + 1
            for line in heard[seen:whole].decode().splitlines():
                rested = self._take(line, mended)
                due = due + rested if due is not None else None
                if moment is not None and self.begun:
                    due, moment = time.monotonic() + moment, None
            seen = whole
        os.close(self._go)
        return self._end(heard)

    def _take(self, line: str, mended: Callable[[], None]) -> float:
        """Take a line; return for how long it rested because of it."""
        word, _, rest = line.partition(" ")
        if word == "begins":
            self.begun.append(rest.split()[0])
        elif word == "ends":
            what, how, points = rest.split()
            self.ended.append(what)
            self.points.append(int(points) if how == "well" else 0)
            if how == "refused":
                self.refused.append(what)
            if what == RECOVERY and not self._struck:  # else its disk is gone already
                began = time.monotonic()
                mended()
                os.write(self._go, b".")
                return time.monotonic() - began
        return 0.0

    def _play(self, board: Board) -> bool:
        """Live."""
        gc.disable()
        logging.disable()
        os.close(self._go)
        for what, point in self._deeds:
            board.say(f"begins {what} -")
            count = Count(point, self._blow)
            failpoint.act_by(count)
            done = _recover(board) if what == RECOVERY else operate(board, what)
            failpoint.act_by(None)
            board.say(f"ends {what} {'well' if done else 'refused'} {count.reached}")
            if what == RECOVERY:
                os.read(self._wait, 1)
        return True


def _recover(board: Board) -> bool:
    board.recover()
    return True
