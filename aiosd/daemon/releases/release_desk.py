"""The ledger and the releases on the disk, reached from the loop: all that blocks, in one thread.

SQLite is imported when the ledger is first opened, so that a board without updates never does.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from aiosd.store.layout import Layout
from aiosd.store.releases import Releases

if TYPE_CHECKING:
    from aiosd.domain.rollout import Rollout
    from aiosd.store.ledger import Ledger

Found = TypeVar("Found")


class ReleaseDesk:
    """One thread for what is to be done in order, another for what takes long.

    `budget_bytes` is what the owner lets releases take on the disk; None keeps only what is needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, layout: Layout) -> None:
        """Open nothing yet."""
        self._loop = loop
        self._path = layout.ledger
        self._ledger: Ledger | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._slow: ThreadPoolExecutor | None = None
        self.releases = Releases(layout)
        self.budget_bytes: int | None = None

    @property
    def ledger(self) -> "Ledger":
        """The ledger, opened when it is first asked for.

        Raises:
            LedgerError: it cannot be opened.
        """
        if self._ledger is None:
            from aiosd.store.ledger import Ledger  # noqa: PLC0415 - see above

            self._ledger = Ledger(self._path)
        return self._ledger

    async def do(self, work: Callable[[], Found]) -> Found:
        """Have something done that blocks, in the order in which it is asked for.

        What was begun is done to its end, though nobody may wait for it any more.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "releases")
        return await self._loop.run_in_executor(self._thread, work)

    async def aside(self, work: Callable[[], Found]) -> Found:
        """Have something done that takes seconds, without anybody else waiting for it."""
        if self._slow is None:
            self._slow = ThreadPoolExecutor(1, "foresight")
        return await self._loop.run_in_executor(self._slow, work)

    async def put(self, row: "Rollout") -> None:
        """Write a row down; it is durable then.

        Raises:
            LedgerError: it cannot be written.
        """
        await self.do(lambda: self.ledger.put(row))

    def rest(self) -> None:
        """Let go of threads and ledger once what was asked for is done; they come back in need."""
        ledger, self._ledger = self._ledger, None
        thread, self._thread = self._thread, None
        if thread is not None:
            if ledger is not None:
                thread.submit(ledger.close)
            thread.shutdown(wait=False)
        if self._slow is not None:
            self._slow.shutdown(wait=False)
            self._slow = None

    def close(self) -> None:
        """Wait for what is being done, and let go of everything."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._slow is not None:
            self._slow.shutdown(wait=False, cancel_futures=True)
        if self._ledger is not None:
            self._ledger.close()
        self._thread = self._slow = self._ledger = None
