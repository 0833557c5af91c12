"""Kill -9 and power cuts without end: each followed by what a board does at its next start."""

import gc
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.torture.board import Board
from tools.torture.disk import FLUSHED, UNFLUSHED, Disk
from tools.torture.life import RECOVERY, Deed, Life
from tools.torture.oath import Sworn, broken, unmended, unseen
from tools.torture.tally import Tally
from tools.torture.victim import BROKEN, Blow, chosen, strike

WEIGHTS = {"update": 8, "rollback": 3, "gc": 3, "install": 3, "remove": 2, "hold": 2, RECOVERY: 4}
# When a blow comes. Power is cut after the end of something too, when all of it was acknowledged
# and none of it may be lost: so often; of the other blows so many come at points.
AT_POINT, ANYWHERE, AT_END = "at a point", "anywhere", "after the end"
ENDS, POINTS = 0.15, 0.7
# Who outlives one thing does the next, so that hardly anybody dies in bed.
DEEDS = 8
KEEP_EVERY = 200
# Of so many recoveries one is looked at with the daemon's eyes too.
EXACT_EVERY = 25
# Points that something has, and the seconds that it takes, until it is known better.
FIRST_SPAN, FIRST_MOMENT = 40.0, 0.02
# So many blows to one board: its ledger's history and quarantine grow, and checks with them.
LONGEST = 1000


class Blows:
    """One board after the other, each struck again and again."""

    def __init__(
        self,
        folder: Path,
        tally: Tally,
        seed: int,
        disk: Disk | None = None,
        longest: int = LONGEST,
    ) -> None:
        """Make the first board; without a disk of its own it can only be killed."""
        self._folder = folder
        self._tally = tally
        self._disk = disk
        self._longest = longest
        self._chance = random.Random(seed)
        self._spans: dict[str, float] = {}
        self._moments: dict[str, float] = {}
        self._boards = self._recoveries = 0
        self._begin()
        # What is here stays: no child need look whether it could go, and copy it for that.
        gc.collect()
        gc.freeze()

    @property
    def kind(self) -> str:
        """What the blows are."""
        if self._disk is None:
            return "kill"
        return "cut" if self._disk.kind == "ext4" else f"{self._disk.kind} cut"

    def run(self, count: int, until: Callable[[], bool] = lambda: False) -> None:
        """Strike until so many blows have been counted in all, or it is time to stop."""
        lives = 0
        while self._tally.total(f"{self.kind} ") < count and not until():
            self.once()
            lives += 1
            if lives % KEEP_EVERY == 0:
                self._tally.keep()
            if lives % self._longest == 0:
                self._recover()
                self._begin()
        self._recover()
        self._tally.keep()

    def once(self) -> None:
        """Start a board, have it do one thing after another, strike, and look."""
        manner, deeds = self._chosen()
        if deeds[0].what != RECOVERY:
            self._recover()
        outside: list[int] = []

        def strike_it(pid: int) -> None:
            outside.append(pid)
            self._blow_from_outside(pid)

        moment = self._moment(deeds[0].what) if manner == ANYWHERE else None
        life = Life(self._root, deeds, self._blow())
        code = life.watch(self._mended, moment, strike_it)
        self._sworn.hear(life.said, life.sure if self._disk else None)
        early = code != -signal.SIGKILL and not outside
        self._aim(life, manner, early=early)
        if code == BROKEN and not outside:
            self._note(f"{life.doing} broke by itself: {self._sworn.last_words}")
        if self._disk is None and life.refused:
            self._note(f"refused without a reason: {', '.join(life.refused)}")
        if self._disk is not None or code == -signal.SIGKILL:
            self._look(life.doing, AT_END if early else manner)

    def _chosen(self) -> tuple[str, list[Deed]]:
        """Return when to strike, and what the board is to do until then."""
        chance = self._chance
        aim = chosen(chance, WEIGHTS)
        if self._disk is not None and chance.random() < ENDS:
            return AT_END, [Deed(aim)]
        others = (chosen(chance, WEIGHTS) for _ in range(DEEDS))
        whats = [aim, *(what for what in others if what != RECOVERY)]
        if chance.random() >= POINTS:
            return ANYWHERE, [Deed(what) for what in whats]
        return AT_POINT, [Deed(what, chance.randint(1, self._span(what))) for what in whats]

    def _look(self, what: str, manner: str) -> None:
        """Have the power come back, count the blow, and look at what it left."""
        if self._disk is not None:
            if manner == AT_END:
                self._disk.cut(UNFLUSHED)  # all was acknowledged: none of it may be lost
            self._disk.power_up()
        self._tally.count(f"{self.kind} {what}, {manner}")
        board = Board(self._root)
        self._check(f"after a {self.kind} in {what}, {manner}", broken(board, self._sworn))

    def _begin(self) -> None:
        """Make a board that nothing has happened to."""
        if self._boards:
            shutil.rmtree(self._root)
        self._boards += 1
        self._root = self._folder / f"board{self._boards}"
        self._sworn = Sworn()
        Board(self._root).begin()

    def _recover(self) -> None:
        """Start the board, and let it live: in this process, which is quicker than another one."""
        said: list[str] = []
        try:
            Board(self._root, said.append).recover()
        except Exception as error:  # noqa: BLE001 - whatever it is, a board does not start
            self._note(f"a recovery broke: {error!r}")
        self._sworn.hear("\n".join([*said, ""]))
        self._mended()

    def _moment(self, what: str) -> float:
        """Return after how many seconds to strike."""
        return self._chance.uniform(0.0, self._moments.get(what, FIRST_MOMENT))

    def _span(self, what: str) -> int:
        """Return how many points there are to choose from."""
        return round(self._spans.get(what, FIRST_SPAN))

    def _aim(self, life: Life, manner: str, *, early: bool) -> None:
        """Learn how many points things have, and how long they take."""
        for what, points in zip(life.ended, life.points, strict=True):
            before = self._spans.get(what, FIRST_SPAN)
            if points:
                self._spans[what] = max(4.0, before + (1.2 * points - before) * 0.1)
        if manner == AT_POINT and not early:
            self._spans[life.doing] = self._spans.get(life.doing, FIRST_SPAN) + 1
        if manner == ANYWHERE and life.begun:
            aim = life.begun[0]
            missed = early or bool(life.ended)
            moment = self._moments.get(aim, FIRST_MOMENT)
            self._moments[aim] = max(0.001, moment * 0.9) if missed else min(0.2, moment * 1.05)

    def _blow(self) -> Blow:
        """Return how a board strikes itself."""
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

    def _mended(self) -> None:
        """Look at a board that has started and done nothing else yet."""
        board = Board(self._root)
        self._check("after a recovery", unmended(board))
        self._recoveries += 1
        if self._recoveries % EXACT_EVERY == 0:
            self._check("after a recovery, as the daemon sees it", unseen(board))

    def _check(self, when: str, found: Iterator[str]) -> None:
        for fault in found:
            self._note(f"{when}: {fault}")

    def _note(self, fault: str) -> None:
        """Keep what was found, and a copy of the disk as it is."""
        self._tally.broken.append(fault)
        self._tally.keep()
        if len(self._tally.broken) == 1:
            kept = Path(tempfile.mkdtemp(prefix="aiosd-broken-"))
            with suppress(OSError):  # of a disk that is gone, what can be had
                shutil.copytree(self._root, kept / "disk", symlinks=True)
            self._tally.broken.append(f"the disk is kept: {kept}")


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
