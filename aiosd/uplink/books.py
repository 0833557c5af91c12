"""The day's budget on the disk: written before it is spent, whole or not at all."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiosd.policy.outbound.allowance import Allowance, Amount, Mark

DAY_SECONDS = 86_400


class OverBudgetError(Exception):
    """Nothing more may go up today; `budget` is the setting that is used up."""

    def __init__(self, budget: str) -> None:
        """Take the setting's name."""
        super().__init__(f"{budget} is used up for today")
        self.budget = budget


class Books:
    """What went up today; any thread may ask."""

    def __init__(self, path: Path, per_day: Amount, clock: Callable[[], float]) -> None:
        """Go on from the file; `clock` tells seconds since 1970."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self.damaged = False
        self._allowance = Allowance(per_day, self._read(per_day))

    @property
    def today(self) -> int:
        """The number of the day, counted from 1970 in UTC."""
        return int(self._clock() // DAY_SECONDS)

    def take(self, want: Amount) -> int:
        """Take the most that a request can cost; return the day that it counts on.

        Raises:
            OverBudgetError: that is not left.
            OSError: it cannot be written down, so it must not be spent.
        """
        with self._lock:
            short = self._allowance.take(want, self.today)
            if short:
                raise OverBudgetError(short)
            day, mark = self._allowance.day, self._allowance.mark()
            if mark is not None:
                try:
                    self._write(mark)
                except OSError:
                    self._allowance.settle(want, Amount(), day)
                    raise
                self._allowance.written(mark)
            return day

    def settle(self, taken: Amount, real: Amount, day: int) -> None:
        """Put what a request did cost in the place of what it took."""
        with self._lock:
            self._allowance.settle(taken, real, day)

    def spent(self) -> tuple[Amount, Amount]:
        """Return what was spent today, and what may be."""
        with self._lock:
            return self._allowance.look(self.today), self._allowance.per_day

    def close(self) -> None:
        """Write down exactly what was spent, if anything ever was.

        Raises:
            OSError: it cannot be written; the mark that lies there covers it.
        """
        with self._lock:
            if self._path.exists():
                self._write(self._allowance.exact())

    def _read(self, per_day: Amount) -> Mark:
        """Return what is written down; a file that says nothing means that today is used up."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Mark)
        except FileNotFoundError:
            return Mark(self.today, Amount())
        except (msgspec.DecodeError, UnicodeDecodeError, OSError):
            self.damaged = True
            return Mark(self.today, per_day)

    def _write(self, mark: Mark) -> None:
        """Replace the file, so that a power cut leaves the old one or the new one."""
        beside = self._path.with_name(self._path.name + ".new")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, msgspec.json.encode(mark))
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
