"""The folder of one run: what was done, so that the same command goes on where it was ended.

recipe.toml     the recipe as it was read
run.json        its digest, and each stage that is over with what it found
curve.jsonl     one line an epoch, of every student
checkpoints/    one file a student, replaced after every epoch
package/        the expert
card.json       every figure of the proof
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from aiosd.store.durable import replace_file
from tools.distill.fault import DistillError, room

Found = TypeVar("Found")


class RunBook:
    """What one run did so far."""

    def __init__(self, folder: Path, recipe: str, digest: str) -> None:
        """Open or begin the run in `folder`.

        Raises:
            DistillError: another recipe was run in this folder.
        """
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.package = folder / "package"
        with room(str(folder)):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._file = folder / "run.json"
        self._state: dict[str, Any] = {"digest": digest, "stages": {}}
        if self._file.exists():
            self._state = json.loads(self._file.read_text(encoding="utf-8"))
            if self._state["digest"] != digest:
                raise DistillError(
                    f"{folder} holds a run of another recipe; give --out another folder, or remove "
                    "this one"
                )
        else:
            self._write(folder / "recipe.toml", recipe.encode())
            self._keep()

    def stage(self, name: str, act: Callable[[], Found]) -> Found:
        """Return what the stage found when it was done, or do it now and keep what it finds.

        What a stage finds must be plain JSON.
        """
        if name not in self._state["stages"]:
            found = act()
            self._state["stages"][name] = found
            self._keep()
        kept: Found = self._state["stages"][name]
        return kept

    def is_over(self, name: str) -> bool:
        """Whether a stage was finished."""
        return name in self._state["stages"]

    def add_point(self, student: str, epoch: int, figures: dict[str, float]) -> None:
        """Add a point to the curves."""
        line = json.dumps({"student": student, "epoch": epoch, **figures}) + "\n"
        with room("curve.jsonl"), (self.folder / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the curves' points; of an epoch that was done again the last one, no torn line."""
        path = self.folder / "curve.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        latest: dict[tuple[str, int], dict[str, Any]] = {}
        for line in lines:
            try:
                point = json.loads(line)
            except ValueError:
                continue
            latest[point["student"], point["epoch"]] = point
        yield from (latest[key] for key in sorted(latest))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the run, whole or not at all."""
        path = self.folder / name
        self._write(path, text.encode())
        return path

    def _keep(self) -> None:
        self._write(self._file, (json.dumps(self._state, indent=1) + "\n").encode())

    def _write(self, path: Path, data: bytes) -> None:
        with room(str(path)):
            replace_file(path, data)
