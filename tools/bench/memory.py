"""What processes hold, sampled from outside beside whatever else goes on."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiosd.sensors.memory import read_process

HERTZ = 20.0


class Peak:
    """Reads the own memory of a host's only worker all the time; `bytes` is the most there was.

    It begins before the worker is there, so that loading counts as well.
    """

    def __init__(self, host: int) -> None:
        """Watch the children of the process `host`, at `with`."""
        self._children = Path(f"/proc/{host}/task/{host}/children")
        self.bytes = 0
        self._beat = Beat(self.look)

    def __enter__(self) -> Self:
        self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._beat.stop()
        self.look()

    def look(self) -> None:
        """Read it now."""
        for pid in self._children.read_text(encoding="ascii").split():
            memory = read_process(int(pid))
            if memory is not None:
                self.bytes = max(self.bytes, memory.own_bytes)


class Beat:
    """Calls a function 20 times a second on a thread of its own."""

    def __init__(self, act: Callable[[], None]) -> None:
        """Do nothing before `start`."""
        self._act = act
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until the last call is over."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self._act()
            # Beats that were missed are not made up for.
            due = max(due + 1 / HERTZ, time.monotonic())


def pss_sum(pids: Iterable[int]) -> int:
    """Return the proportional share of memory of all these processes together."""
    found = (read_process(pid) for pid in pids)
    return sum(each.pss_bytes for each in found if each is not None)
