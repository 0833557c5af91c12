"""The daemon's event loop: asyncio's, but who waits for bytes is called as soon as they are there.

asyncio wraps each reader in a handle, queues it, and runs it in a context of its own: several
microseconds for every message, and a request is two. Here the selector calls the readers itself,
before asyncio takes its turn; timers, tasks and writers stay asyncio's.
"""

import asyncio
import math
import os
import select
import selectors
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

Ts = TypeVarTuple("Ts")

Reader = Callable[[], object]

# Events taken in one go; the kernel keeps the others.
_MOST = 64


class DirectSelector(selectors.EpollSelector):
    """An epoll selector that runs the readers it is told of and reports everything else."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        super().__init__()
        self.readers: dict[int, Reader] = {}
        self.on_error: Callable[[Exception], None] | None = None
        # The same kernel object by a descriptor of our own, so that both may be closed.
        self._own = select.epoll.fromfd(os.dup(self.fileno()))

    def select(  # type: ignore[explicit-override]  # typing.override came with Python 3.12
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, run the readers whose bytes have come, and return what else is ready."""
        if timeout is not None and timeout > 0:
            timeout = math.ceil(timeout * 1e3) * 1e-3  # epoll counts milliseconds, and rounds down
        others: list[tuple[selectors.SelectorKey, int]] = []
        for number, bits in self._own.poll(timeout, _MOST):
            reader = self.readers.get(number)
            if reader is None:
                self._report(number, bits, others)
                continue
            if bits & ~select.EPOLLOUT:
                try:
                    reader()
                except Exception as error:  # as asyncio's handles do: it is logged
                    if self.on_error is None:
                        raise
                    self.on_error(error)
            if bits & select.EPOLLOUT:
                self._report(number, select.EPOLLOUT, others)
        return others

    def close(self) -> None:  # type: ignore[explicit-override]  # likewise
        """Watch nothing any more."""
        self.readers.clear()
        self._own.close()
        super().close()

    def _report(
        self, number: int, bits: int, others: list[tuple[selectors.SelectorKey, int]]
    ) -> None:
        """Note what asyncio is to do, unless a reader had this descriptor closed."""
        key = self.get_map().get(number)
        if key is not None:
            found = selectors.EVENT_READ if bits & ~select.EPOLLOUT else 0
            found |= selectors.EVENT_WRITE if bits & ~select.EPOLLIN else 0
            others.append((key, found & key.events))


class DirectLoop(asyncio.SelectorEventLoop):
    """asyncio's loop over a `DirectSelector`."""

    def __init__(self) -> None:
        """Make the selector and the loop around it."""
        self._direct = DirectSelector()
        super().__init__(self._direct)
        self._direct.on_error = self._on_error

    def add_reader(  # type: ignore[explicit-override]  # likewise
        self, fd: "FileDescriptorLike", callback: Callable[[*Ts], object], *args: *Ts
    ) -> None:
        """Call `callback` whenever `fd` has bytes, and at its end."""
        super().add_reader(fd, callback, *args)
        self._direct.readers[_number(fd)] = partial(callback, *args)

    def remove_reader(  # type: ignore[explicit-override]  # likewise
        self, fd: "FileDescriptorLike"
    ) -> bool:
        """Stop that; return whether there was a reader."""
        self._direct.readers.pop(_number(fd), None)
        return super().remove_reader(fd)

    def _on_error(self, error: Exception) -> None:
        self.call_exception_handler({"message": "a reader failed", "exception": error})


def _number(file: "FileDescriptorLike") -> int:
    """Return the descriptor of a file."""
    return file if isinstance(file, int) else file.fileno()
