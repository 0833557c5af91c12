"""Keeps the energy books over a restart: a small file, written rarely, because cards wear.

At most once in ten minutes, only if a request was answered since, in a thread of its own, and once
more on a clean stop. An idle daemon has no timer here.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aiosd.daemon.power.telemetry import Telemetry
from aiosd.domain.energy_record import EnergyRecord
from aiosd.store.energy_file import ForeignRecordError, read_energy, write_energy

log = logging.getLogger(__name__)

WRITE_SECONDS = 600.0

Packages = Callable[[], Mapping[str, str]]


class EnergyKeeper:
    """The one writer of the file at `path`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        telemetry: Telemetry,
        packages: Packages,
    ) -> None:
        """Read nothing yet; `packages` says which package each expert is of."""
        self._loop, self._path = loop, path
        self._telemetry, self._packages = telemetry, packages
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._failed = False
        self.since = time.time()
        telemetry.on_news = self._on_news

    def restore(self) -> None:
        """Go on from what was kept; what is foreign or broken is left out with a warning."""
        if not self._telemetry.enabled:
            return
        board, meter = self._telemetry.identity
        try:
            record = read_energy(self._path, board, meter)
        except ForeignRecordError as error:
            log.warning("energy is counted anew: %s", error)
            return
        if record is not None:
            self.since = record.since
            self._telemetry.books.restore(record, self._packages())

    def begin(self) -> None:
        """Count anew: the meter is another."""
        self.since = time.time()

    async def close(self) -> None:
        """Write what is not written yet, if anything is."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        # Reads once more, so that the last requests are settled.
        self._telemetry.totals()
        self._write(self._record())

    def _on_news(self) -> None:
        """Take note that there is something new; write it when it is time."""
        if self._timer is None:
            self._timer = self._loop.call_later(WRITE_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._writing = self._loop.run_in_executor(None, self._write, self._record())

    def _record(self) -> EnergyRecord:
        board, meter = self._telemetry.identity
        return self._telemetry.books.record(board, meter, self.since, self._packages())

    def _write(self, record: EnergyRecord) -> None:
        """Write; a disk that says no is told of once."""
        try:
            write_energy(self._path, record)
        except OSError as error:
            if not self._failed:
                log.warning("energy is not kept over a restart: %s", error)
            self._failed = True
        else:
            self._failed = False
