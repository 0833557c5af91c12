"""What all errands share: the owner's rules, the endpoints, the books and the log of what left."""

import fcntl
import os
import select
import threading
import time
from pathlib import Path

from aiosd.domain.errors import ConfigError
from aiosd.domain.uplink import Uplink
from aiosd.policy.outbound.allowance import Amount
from aiosd.policy.outbound.breaker import BreakerState
from aiosd.uplink.books import Books
from aiosd.uplink.doors import open_doors
from aiosd.uplink.journal import Journal
from aiosd.uplink.settings import Own
from aiosd.uplink.teaching import Teaching

MICROS = 1_000_000
LOG = "log.jsonl"
BUDGET = "budget.json"
# How an endpoint stands, for people.
_STATES = {
    BreakerState.CLOSED: "ready",
    BreakerState.OPEN: "resting",
    BreakerState.HALF_OPEN: "on trial",
}
# How long one that was told to go may take to write its books.
CLAIM_SECONDS = 5.0


class Office:
    """Made once; the lock is for whatever more than one errand changes."""

    def __init__(self, own: Own) -> None:
        """Open everything; nothing is sent.

        Raises:
            ConfigError: the folder cannot be used, or teaching material cannot be kept as asked.
        """
        self.uplink: Uplink = own.uplink
        self.redactor = own.redactor
        self.lock = threading.Lock()
        self.folder = own.folder
        self._lock_file = _claim(own.folder)
        self.doors = open_doors(own.uplink, own.credentials)
        per_day = Amount(
            own.uplink.requests_per_day,
            own.uplink.size("bytes_per_day"),
            round(own.uplink.money_per_day * MICROS),
        )
        self.books = Books(own.folder / BUDGET, per_day, time.time)
        self.max_request, self.max_answer = (
            own.uplink.size("max_request"),
            own.uplink.size("max_answer"),
        )
        self._log = Journal(own.folder / LOG, own.uplink.size("log_size"))
        self._teaching = (
            Teaching(own.folder, own.uplink.size("keep_size"), own.uplink.keep_key_file)
            if own.uplink.keep
            else None
        )

    def close(self) -> None:
        """Write down exactly what was spent, and let another one in.

        Raises:
            OSError: it cannot be written; the mark that lies there covers it.
        """
        try:
            self.books.close()
        finally:
            os.close(self._lock_file)

    def log(self, entry: dict[str, object]) -> None:
        """Add a line to the log of what left.

        Raises:
            OSError: it cannot be written, so nothing may leave.
        """
        with self.lock:
            self._log.add({"at": round(time.time(), 3), **entry})

    def keep(self, entry: dict[str, object], *names: str) -> None:
        """Keep teaching material, unless the owner does not want it of one of these names.

        Raises:
            OSError: it cannot be written.
        """
        if self._teaching is not None and not set(names) & set(self.uplink.never_keep):
            with self.lock:
                self._teaching.keep({"at": round(time.time(), 3), **entry})

    def entries(self, lines: int) -> dict[str, object]:
        """Return the last lines of the log."""
        with self.lock:
            return {"entries": self._log.last(lines), "folder": str(self.folder)}

    def status(self) -> dict[str, object]:
        """Return how things stand."""
        spent, most = self.books.spent()
        now = time.monotonic()
        endpoints = [
            {
                "name": door.name,
                "address": door.place.address,
                "model": door.endpoint.model,
                "state": "unusable" if door.problem else _STATES[door.breaker.state(now)],
                "rest_seconds": round(door.breaker.rest_seconds(now), 1),
                "problem": door.problem,
                "key": "none" if door.key is None else "given",
            }
            for door in self.doors
        ]
        teaching: object = None
        if self._teaching is not None:
            teaching = "sealed" if self._teaching.sealed else "plain, mode 0600"
        return {
            "endpoints": endpoints,
            "today": {
                "requests": spent.requests,
                "requests_per_day": most.requests,
                "bytes": spent.bytes,
                "bytes_per_day": most.bytes,
                "money": spent.micros / MICROS,
                "money_per_day": most.micros / MICROS,
                "currency": self.uplink.currency,
                "damaged": self.books.damaged,
            },
            "teaching": teaching,
            "folder": str(self.folder),
        }


def _claim(folder: Path) -> int:
    """Make the folder that holds everything, for this user only, and wait until it is ours alone.

    The books must have one writer; one that was told to go may still be writing its last mark.

    Raises:
        ConfigError: it cannot be made, or another one stays in it.
    """
    end = time.monotonic() + CLAIM_SECONDS
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot use {folder}: {error.strerror}") from error
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                select.select([], [], [], 0.05)
                continue
            os.close(handle)
            raise ConfigError(f"another uplink uses {folder}") from None
        return handle
