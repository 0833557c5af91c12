"""Kill -9 and power cuts without end: each followed by what a board does at its next start."""

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.torture.board import Board
from tools.torture.disk import FLUSHED, UNFLUSHED, Disk
from tools.torture.oath import Sworn, broken, unmended
from tools.torture.tally import Tally
from tools.torture.victim import BROKEN, DONE, Victim, at, chosen, strike

WEIGHTS = {"update": 10, "rollback": 3, "gc": 2, "install": 3, "remove": 1, "hold": 1}
# Of the blows so many come at a point, the others at any moment.
AT_POINT = 0.7
IN_RECOVERY = 0.25
KEEP_EVERY = 200


class Blows:
    """One board that is struck again and again."""

    def __init__(self, root: Path, tally: Tally, seed: int, disk: Disk | None = None) -> None:
        """Make the board; without a disk of its own it can only be killed."""
        self._root = root
        self._tally = tally
        self._disk = disk
        self._chance = random.Random(seed)
        self._sworn = Sworn()
        self._spans: dict[str, int] = {}
        self._moments: dict[str, float] = {}
        Board(root).begin()

    @property
    def kind(self) -> str:
        """What the blows are."""
        return "kill" if self._disk is None else "cut"

    def run(self, count: int, until: Callable[[], bool] = lambda: False) -> None:
        """Strike until so many blows have been counted in all, or it is time to stop."""
        rounds = 0
        while self._tally.total(f"{self.kind} ") < count and not until():
            self.once()
            rounds += 1
            if rounds % KEEP_EVERY == 0:
                self._tally.keep()
        self._tally.keep()

    def once(self) -> None:
        """Do one thing, be struck, and come back."""
        what = chosen(self._chance, WEIGHTS)
        if not self._struck(what, None):
            return
        while self._chance.random() < IN_RECOVERY:
            if not self._struck("recovery", _recover):
                break
        victim = Victim(self._root, "recovery", None, _recover)
        code = victim.wait()
        self._sworn.hear(victim.said)
        if code != DONE:
            self._note(f"after {what}: recovery ended with {code}: {self._sworn.last_words}")
        self._check(f"after the recovery from {what}", unmended(Board(self._root)))

    def _struck(self, what: str, work: Callable[[Board], bool] | None) -> bool:
        """Have something done and strike; tell whether there was a blow."""
        chance, outside = self._chance, list[int]()
        span = self._spans.get(what, 60)
        action, moment = None, None
        if chance.random() < AT_POINT:
            action = at(chance.randint(1, span), self._blow())
        else:
            moment = chance.uniform(0.0, self._moments.get(what, 0.02))

        def strike_it(pid: int) -> None:
            outside.append(pid)
            self._blow_from_outside(pid)

        victim = Victim(self._root, what, action, work)
        code = victim.wait(moment, strike_it)
        self._sworn.hear(victim.said, victim.sure if self._disk else None)
        early = code != -signal.SIGKILL and not outside
        self._aim(what, at_point=action is not None, early=early)
        if early and code == BROKEN:
            self._note(f"{what} broke by itself: {self._sworn.last_words}")
        if self._disk is None and code != -signal.SIGKILL:
            return False
        if self._disk is not None:
            if early:
                self._disk.cut(UNFLUSHED)  # all was acknowledged: none of it may be lost
            self._disk.power_up()
        where = "after the end" if early else "at a point" if action else "anywhere"
        self._tally.count(f"{self.kind} {what}, {where}")
        self._check(
            f"after a {self.kind} in {what}, {where}", broken(Board(self._root), self._sworn)
        )
        return True

    def _aim(self, what: str, *, at_point: bool, early: bool) -> None:
        """Strike earlier next time if it ended before the blow, else a little later."""
        if at_point:
            span = self._spans.get(what, 60)
            self._spans[what] = max(4, int(span * 0.9)) if early else min(400, span + 4)
        else:
            moment = self._moments.get(what, 0.02)
            self._moments[what] = max(0.001, moment * 0.9) if early else min(0.2, moment * 1.05)

    def _blow(self) -> Callable[[], None]:
        """Return how a victim strikes itself."""
        disk = self._disk
        if disk is None:
            return strike
        how = FLUSHED if self._chance.random() < 0.25 else UNFLUSHED

        def cut() -> None:
            disk.cut(how)
            strike()

        return cut

    def _blow_from_outside(self, pid: int) -> None:
        if self._disk is not None:
            self._disk.cut(UNFLUSHED)
        os.kill(pid, signal.SIGKILL)

    def _check(self, when: str, found: Iterator[str]) -> None:
        for fault in found:
            self._note(f"{when}: {fault}")

    def _note(self, fault: str) -> None:
        """Keep what was found, and a copy of the disk as it is."""
        self._tally.broken.append(fault)
        self._tally.keep()
        if len(self._tally.broken) == 1:
            kept = Path(tempfile.mkdtemp(prefix="aiosd-broken-"))
            shutil.copytree(self._root, kept / "disk", symlinks=True)
            self._tally.broken.append(f"the disk is kept: {kept}")


def _recover(board: Board) -> bool:
    board.recover()
    return True


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Yield a folder in memory, where one is: kill -9 takes nothing from the page cache anyway."""
    memory = Path("/dev/shm")  # noqa: S108 - that is what it is for
    folder = Path(
        tempfile.mkdtemp(prefix="aiosd-torture-", dir=memory if memory.is_dir() else None)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
