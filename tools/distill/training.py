"""Learning in epochs, with a checkpoint after each: ended at any moment, at most one is lost.

Torch-free: what learns is a `Learner`, whose state is bytes.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from aiosd.store.durable import replace_file
from tools.distill.fault import room
from tools.distill.progress import Progress

_MAGIC = b"aiosd-checkpoint-1\n"
_DIGEST = 32


class Learner(Protocol):
    """Something that learns in epochs.

    An epoch's chance depends on its number and the seed only, so that one that is done again
    comes to the same.
    """

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn for one epoch, telling how far it is (0..1); return its figures."""
        ...

    def state(self) -> bytes:
        """Return everything that the next epoch depends on."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        ...


class Checkpoint:
    """One file: a student's state after an epoch; a torn or changed one counts as none."""

    def __init__(self, path: Path) -> None:
        """Take where it is."""
        self._path = path

    def write(self, epochs: int, state: bytes) -> None:
        """Replace it, durably.

        Raises:
            FullDiskError: there is no room; the one before is whole.
        """
        body = epochs.to_bytes(4, "big") + state
        with room(str(self._path)):
            replace_file(self._path, _MAGIC + hashlib.sha256(body).digest() + body)

    def read(self) -> tuple[int, bytes] | None:
        """Return how many epochs were done, and the state; sweep what a kill left half written."""
        for rest in self._path.parent.glob(f".{self._path.name}-*"):
            rest.unlink()
        if not self._path.exists():
            return None
        data = self._path.read_bytes()
        digest = data[len(_MAGIC) : len(_MAGIC) + _DIGEST]
        body = data[len(_MAGIC) + _DIGEST :]
        if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            return None
        return int.from_bytes(body[:4], "big"), body[4:]


def learn(
    learner: Learner,
    epochs: int,
    checkpoint: Checkpoint,
    point: Callable[[int, dict[str, float]], None],
    progress: Progress,
) -> int:
    """Learn up to so many epochs, from the checkpoint on if there is one; return how many now."""
    kept = checkpoint.read()
    done = 0
    if kept is not None:
        done, state = kept
        learner.restore(state)
    for number in range(done, epochs):
        figures = learner.epoch(
            number, lambda share, number=number: progress.show((number + share) / epochs)
        )
        point(number, figures)
        checkpoint.write(number + 1, learner.state())
        progress.show((number + 1) / epochs, **figures)
    progress.end()
    return epochs - done
