"""What an engine is: one kind of model, run in this process; and how one is opened by name.

An engine is one file and one entry point in the group `aiosd.engines`; it is imported only in the
engine's host and workers, never in the daemon.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Piece, Prepared

GROUP = "aiosd.engines"


class Engine(Protocol):
    """One model, loaded and answering; blocking, single caller.

    `__init__` takes nothing and must be cheap; the module's import is what a host pays once.
    """

    def version(self) -> str:
        """Name and version of the library that runs the model, such as "ai-edge-litert 2.3.0"."""

    def load(self, files: Mapping[str, Path], need: EngineNeed, *, threads: int) -> None:
        """Load the model; `files` maps a role ("model", …) to a verified file.

        The first file of a model in parts stands for all: `model_parts.part_names` has the others.

        Raises:
            PackageError: the file is not a model this engine can run.
        """

    def run(self, prepared: Prepared, *, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """Answer one prepared input, piece by piece; look at `cancelled` between pieces.

        A tensor engine yields one `Tensors`; a text engine yields `TextPiece`s and a `TextEnd`.

        Raises:
            InvalidError: the input does not fit the model (shape, type, context).
            CancelledError: `cancelled()` became true.
        """

    def use_threads(self, threads: int) -> None:
        """Use at most so many threads from the next step on, and never more than at the load.

        Called between two requests and, while one runs, from within `cancelled`.
        """

    def close(self) -> None:
        """Let go of the model; the process usually exits right after."""


@runtime_checkable
class Parking(Protocol):
    """What an engine may offer besides: to give memory back while nobody asks, and stay loaded.

    An engine without it is unloaded instead. A parked one that is run comes back by itself.
    """

    def park(self, *, pages: bool) -> None:
        """Give back what only an answer needs, and with `pages` the mapped pages of the model.

        Only between two answers. May be called again, to give back the pages too.
        """

    def resume(self) -> float | None:
        """Take it again; return the seconds that the pages took, None where they had been kept.

        The answers are those of an engine that was never parked.

        Raises:
            PackageError: there is no memory for it.
        """


def open_engine(name: str) -> Engine:
    """Return a fresh instance of the engine of that entry-point name.

    Raises:
        PackageError: no such engine is installed, or its library is missing.
    """
    return find_engine(name)()


@cache
def find_engine(name: str) -> Callable[[], Engine]:
    """Import the engine of that entry-point name and return what makes one.

    It is looked for once: a host does so, and the workers it forks need not.

    Raises:
        PackageError: no such engine is installed, or its library is missing.
    """
    found = entry_points(group=GROUP, name=name)
    for point in found:
        try:
            factory: Callable[[], Engine] = point.load()
        except ImportError as error:
            raise PackageError(
                f"engine {name!r} cannot be imported: {error}; "
                f"install it with: pip install 'aiosd[{name}]'"
            ) from error
        return factory
    raise PackageError(f"no engine named {name!r} is installed")
