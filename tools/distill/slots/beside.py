"""Work in a process of its own, beside this one; what it finds is told by name.

Two students and a teacher take a core each as long as they learn. Where there is but one core the
work is done here, before anything else: it comes to the same, only later.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.distill.fault import DistillError

Tell = Callable[[str, Any], None]
_FORK = multiprocessing.get_context("fork")
"""What was read by then is there in both: begin before anything has threads."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Beside:
    """Runs `act`, which is handed what it tells its findings to; its lines go to `log`."""

    def __init__(self, act: Callable[[Tell], None], log: Path) -> None:
        """Take what is to be done; nothing is done yet."""
        self._act, self._log = act, log
        self._told: dict[str, Any] = {}
        self._process: multiprocessing.process.BaseProcess | None = None
        self._there: Connection | None = None

    def __enter__(self) -> Self:
        """Begin; with one core, do it all."""
        if cores() < 2:
            self._act(self._told.__setitem__)
            return self
        self._there, here = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(
            target=_carry_out, args=(self._act, here, self._log), daemon=True
        )
        self._process.start()
        here.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, whether it is done or not: its checkpoints stay."""
        if self._process is not None:
            if kind is not None:
                self._process.terminate()
            self._process.join()

    def wait(self, name: str) -> Any:  # noqa: ANN401 - whatever is told
        """Return what is told by this name, as soon as it is.

        Raises:
            DistillError: the process ended without having told it.
        """
        while name not in self._told:
            assert self._there is not None  # noqa: S101 - with one core all is told
            try:
                key, value = self._there.recv()
            except EOFError:
                raise DistillError(
                    f"the process beside this one ended without {name}; the last line of "
                    f"{self._log}: {last_line(self._log)!r}. Run the command again: it goes on "
                    "from its checkpoints"
                ) from None
            self._told[key] = value
        return self._told[name]


def last_line(log: Path) -> str:
    """Return the last line of a text file that is not empty, or nothing."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _carry_out(act: Callable[[Tell], None], told: Connection, log: Path) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a child
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    sys.stderr = log.open("a", encoding="utf-8", buffering=1)
    act(lambda name, value: told.send((name, value)))


def _end_with(parent: int) -> None:
    """End this process when its parent does, or two would write the same checkpoints."""
    wait([parent])
    os._exit(1)
