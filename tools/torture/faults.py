"""Every failpoint × {kill, EIO, ENOSPC, power cut}, each in the scene that reaches it."""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aiosd.store import failpoint
from tools.torture.board import Board
from tools.torture.disk import Disk
from tools.torture.oath import Sworn, broken, unmended
from tools.torture.points import names
from tools.torture.scenes import Scene, scenes
from tools.torture.tally import Tally
from tools.torture.victim import BROKEN, DONE, Victim, strike

CUT = "cut"
WAYS = ("kill", "eio", "enospc", CUT)


class Faults:
    """Makes one board for each scene, and fails copies of it."""

    def __init__(
        self, folder: Path, tally: Tally, disk: Disk | None, *, again: bool = True
    ) -> None:
        """Play every scene once to see what it reaches; `again`, also after each failure."""
        self._repeats = again
        self._folder = folder
        self._tally = tally
        self._disk = disk
        self.where: dict[str, Scene] = {}
        for number, scene in enumerate(scenes()):
            root = folder / f"scene{number}"
            board = Board(root)
            board.begin()
            scene.before(board)
            reached = self._reached(scene, root)
            for name in reached:
                self.where.setdefault(name, scene)

    @property
    def missed(self) -> list[str]:
        """The points that no scene reaches."""
        return [name for name in names() if name not in self.where]

    def run(self, ways: Callable[[int, str], Sequence[str]]) -> None:
        """Fail at every point in these `ways`, given its number and name."""
        for number, name in enumerate(names()):
            for way in ways(number, name):
                if name in self.where and (way != CUT or self._disk is not None):
                    self.once(name, way)
        self._tally.keep()

    def once(self, name: str, way: str) -> None:
        """Fail once at a point, come back, and do the same again."""
        scene = self.where[name]
        source = self._folder / f"scene{number_of(scene)}"
        base = self._disk.root if way == CUT and self._disk else self._folder
        root = base / "board"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(source, root, symlinks=True, copy_function=_copy())
        sworn = Sworn()
        if way == CUT and self._disk is not None:
            self._disk.power_up()
        victim = Victim(root, scene.name, self._action(name, way), scene.play)
        code = victim.wait()
        sworn.hear(victim.said)
        if way == CUT and self._disk is not None:
            self._disk.power_up()
        wanted = -signal.SIGKILL if way in ("kill", CUT) else None
        if (wanted is not None and code != wanted) or code == BROKEN:
            self._note(name, way, f"ended with {code}")
        self._tally.count(f"point {way}")
        for fault in broken(Board(root), sworn):
            self._note(name, way, fault)
        self._again(name, way, scene, root)

    def _again(self, name: str, way: str, scene: Scene, root: Path) -> None:
        """Start the board again, and have it do what it was interrupted in."""
        back = Victim(root, "recovery", None, _recover)
        if back.wait() != DONE:
            self._note(name, way, f"recovery failed: {back.said[-400:]}")
        for fault in unmended(Board(root)):
            self._note(name, way, f"after recovery: {fault}")
        if not self._repeats:
            return
        again = Victim(root, scene.name, None, scene.play)
        code = again.wait()
        # What removes something, or puts something there for the first time, may be done already.
        if code == BROKEN or (scene.works and code != DONE and not scene.once):
            self._note(name, way, f"the same again ended with {code}: {again.said[-400:]}")
        for fault in unmended(Board(root)):
            self._note(name, way, f"after the same again: {fault}")

    def _action(self, name: str, way: str) -> failpoint.Action:
        """Return what a point does."""
        disk = self._disk

        def act(reached: str) -> None:
            if reached != name:
                return
            if way == CUT and disk is not None:
                disk.cut()
                strike()
            failpoint.FAILURES[way](reached)

        return act

    def _reached(self, scene: Scene, root: Path) -> Iterator[str]:
        """Play a scene on a copy, and return what it reaches, in order."""
        copy = root.with_name("dry")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(root, copy, symlinks=True, copy_function=_copy())
        found: dict[str, None] = {}

        def play(board: Board) -> bool:
            failpoint.act_by(found.setdefault)
            try:
                return scene.play(board)
            finally:
                failpoint.act_by(None)

        if play(Board(copy)) != scene.works:
            self._tally.broken.append(f"{scene.name}: it does not play as written")
        return iter(found)

    def _note(self, name: str, way: str, fault: str) -> None:
        self._tally.broken.append(f"{name}:{way}: {fault}")


def number_of(scene: Scene) -> int:
    """Return the number of a scene."""
    return next(number for number, each in enumerate(scenes()) if each.name == scene.name)


def _recover(board: Board) -> bool:
    board.recover()
    return True


def _copy() -> Callable[[str, str], object]:
    """Return how a file is copied: hard links stay hard links."""
    made: dict[int, str] = {}

    def copy(one: str, other: str) -> object:
        inode = Path(one).stat().st_ino
        if inode in made:
            Path(other).hardlink_to(made[inode])
        else:
            shutil.copy2(one, other)
            made[inode] = other
        return other

    return copy
