"""How far every release has come, in one SQLite file that a power cut leaves whole.

WAL and synchronous=FULL: what a method wrote is durable when it returns (of 80 power cuts none
lost a row that was acknowledged; with synchronous=NORMAL 67 did). The updater and the daemon share
the file, one connection each. A ledger that is damaged is not made anew: it holds the floors that
keep old releases out.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from aiosd.domain.rollout import Rollout, State
from aiosd.store.durable import sync_folder
from aiosd.store.failpoint import reach

VERSION: Final = 1
# How long to wait for the other process to end its transaction.
BUSY_SECONDS = 10.0
# Of each expert so many changes of state are remembered.
MAX_HISTORY = 100
# The log is folded into the file when it holds so much.
CHECKPOINT_BYTES = 262_144
# A row changes a page in each of three trees, and each page is written anew: with SQLite's usual
# 4096 the dozen changes of a release cost a card 280 KB, with this 98 (`tools.bench.delta`).
PAGE_BYTES = 512
# A release passes one of these between any two of its changes that may come again without end.
# Forgetting old changes with each new one would write as much again.
_FORGETTING: Final = frozenset({State.PLANNED, State.STAGED, State.HELD})

_SCHEMA = """
CREATE TABLE rollouts(name TEXT PRIMARY KEY, row BLOB NOT NULL);
CREATE TABLE history(
  id INTEGER PRIMARY KEY, at REAL NOT NULL, name TEXT NOT NULL, row BLOB NOT NULL
);
CREATE INDEX history_name ON history(name, id);
CREATE TABLE floors(name TEXT PRIMARY KEY, release INTEGER NOT NULL);
CREATE TABLE quarantine(
  name TEXT NOT NULL, release INTEGER NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY(name, release)
);
CREATE TABLE holds(name TEXT PRIMARY KEY);
CREATE TABLE marks(key TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE progress(sha256 TEXT PRIMARY KEY, bytes INTEGER NOT NULL, tag TEXT NOT NULL);
"""


class LedgerError(Exception):
    """The ledger cannot be read or written; no release goes on until it can."""

    def __init__(self, path: Path, reason: str) -> None:
        """Take the file, and what is wrong with it."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of state, and when it was written down."""

    at: float
    row: Rollout


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a blob is durable in its `.part` file, and the server's tag of its version."""

    bytes: int = 0
    tag: str = ""


class Ledger:
    """The rows of all experts; any thread may call, one at a time gets through."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if there is none.

        Raises:
            LedgerError: it cannot be opened, is damaged, or is of a newer aiosd.
        """
        self.path = path
        self._lock = threading.Lock()
        new = not path.exists()
        reach("ledger.open")
        try:
            self._database = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise LedgerError(path, str(error)) from error
        with ExitStack() as undo:
            undo.callback(self._database.close)
            with self._guarded():
                self._prepare()
                if new:
                    sync_folder(path.parent)
                reach("ledger.opened")
            undo.pop_all()

    def _prepare(self) -> None:
        """Set the connection up, and make the tables if there are none."""
        execute = self._database.execute
        execute(f"PRAGMA page_size={PAGE_BYTES}")  # of a new file; another keeps what it has
        mode = execute("PRAGMA journal_mode=WAL").fetchone()[0]
        # Without a log (a file system that has no shared memory) FULL loses the last commit.
        execute(f"PRAGMA synchronous={'FULL' if mode == 'wal' else 'EXTRA'}")
        page = execute("PRAGMA page_size").fetchone()[0]
        execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page}")
        execute("PRAGMA cache_size=-256")
        found = execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise LedgerError(
                self.path, f"version {found} is of a newer aiosd; this knows {VERSION}"
            )
        if found == VERSION:
            return
        execute("BEGIN IMMEDIATE")
        # The other process may have made them while this one waited.
        if execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    execute(statement)
            reach("ledger.schema")
            execute(f"PRAGMA user_version={VERSION}")
        execute("COMMIT")

    def close(self) -> None:
        """Let go of the file; what was written is durable already."""
        with self._lock:
            self._database.close()

    # ── releases ──────────────────────────────────────────────────────────────────────────────

    def row(self, name: str) -> Rollout | None:
        """Return the release of an expert that is on its way or came last.

        Raises:
            LedgerError: the ledger cannot be read; so do all methods below.
        """
        with self._reading() as database:
            return _row(database, name)

    def rows(self) -> list[Rollout]:
        """Return the rows of all experts, by name."""
        with self._reading() as database:
            found = database.execute("SELECT row FROM rollouts ORDER BY name").fetchall()
            return [_decoded(data) for (data,) in found]

    def put(self, row: Rollout) -> None:
        """Write a row down, with what follows from it in the same transaction.

        A new state or reason enters the history; a committed release raises the version floor; a
        quarantined one is remembered as such.

        Raises:
            LedgerError: a newer release is on its way already.
        """
        data = _encoded(row)
        with self._writing("put") as database:
            before = _row(database, row.name)
            if before is not None and before.release > row.release:
                raise LedgerError(self.path, f"release {before.release} is on its way already")
            if before is None:
                database.execute("INSERT INTO rollouts VALUES(?, ?)", (row.name, data))
            else:  # REPLACE would write the tree of names, too
                database.execute("UPDATE rollouts SET row=? WHERE name=?", (data, row.name))
            if before is None or _key(before) != _key(row):
                _remember(database, row, data)
            if row.state is State.COMMITTED:
                _raise_floor(database, row.name, row.release)
            if row.state is State.QUARANTINED:
                database.execute(
                    "INSERT OR IGNORE INTO quarantine VALUES(?, ?, ?, ?)",
                    (row.name, row.release, row.reason, row.since),
                )

    def history(self, name: str | None = None) -> list[Change]:
        """Return the changes of state of an expert, or of all, the newest first."""
        where, values = ("WHERE name=?", (name,)) if name is not None else ("", ())
        with self._reading() as database:
            found = database.execute(
                f"SELECT at, row FROM history {where} ORDER BY id DESC",  # noqa: S608 - our own words
                values,
            ).fetchall()
            return [Change(at=at, row=_decoded(data)) for at, data in found]

    def forget(self, name: str) -> None:
        """Forget the row of an expert that was removed; floor, quarantine and history stay."""
        with self._writing("forget") as database:
            database.execute("DELETE FROM rollouts WHERE name=?", (name,))

    # ── what keeps releases out ───────────────────────────────────────────────────────────────

    def floor(self, name: str) -> int:
        """Return the release below which none of this expert's is taken any more; 0: any."""
        with self._reading() as database:
            found = database.execute("SELECT release FROM floors WHERE name=?", (name,)).fetchone()
            return int(found[0]) if found else 0

    def raise_floor(self, name: str, release: int) -> None:
        """Raise the version floor; it is never lowered."""
        with self._writing("floor") as database:
            _raise_floor(database, name, release)

    def quarantined(self, name: str, release: int) -> str | None:
        """Return why a release is never to be tried again, or None if it may be."""
        with self._reading() as database:
            found = database.execute(
                "SELECT reason FROM quarantine WHERE name=? AND release=?", (name, release)
            ).fetchone()
            return str(found[0]) if found else None

    def hold(self, name: str, *, on: bool) -> None:
        """Keep an expert at the release that serves, or let updates come again."""
        with self._writing("hold") as database:
            if on:
                database.execute("INSERT OR IGNORE INTO holds VALUES(?)", (name,))
            else:
                database.execute("DELETE FROM holds WHERE name=?", (name,))

    def held(self, name: str) -> bool:
        """Tell whether an expert is kept at the release that serves."""
        with self._reading() as database:
            found = database.execute("SELECT 1 FROM holds WHERE name=?", (name,)).fetchone()
            return found is not None

    def holds(self) -> list[str]:
        """Return the experts that are kept at their release, by name."""
        with self._reading() as database:
            found = database.execute("SELECT name FROM holds ORDER BY name").fetchall()
            return [str(name) for (name,) in found]

    # ── the updater's memory ──────────────────────────────────────────────────────────────────

    def time_floor(self) -> float:
        """Return the latest time of the wall clock that is known to have been; 0 if none is."""
        return self._mark("time_floor")

    def raise_time_floor(self, seconds: float) -> None:
        """Raise the time floor; it is never lowered."""
        self._raise_marks({"time_floor": seconds})

    def metadata_version(self, role: str) -> int:
        """Return the highest version of a metadata role that was accepted; 0 if none was."""
        return int(self._mark(f"metadata:{role}"))

    def raise_metadata_versions(self, versions: Mapping[str, int]) -> None:
        """Raise the versions of metadata roles, all at once; none is ever lowered."""
        self._raise_marks({f"metadata:{role}": version for role, version in versions.items()})

    def progress(self, sha256: str) -> Progress:
        """Return how much of a blob is durable already."""
        with self._reading() as database:
            found = database.execute(
                "SELECT bytes, tag FROM progress WHERE sha256=?", (sha256,)
            ).fetchone()
            return Progress(bytes=found[0], tag=found[1]) if found else Progress()

    def set_progress(self, sha256: str, progress: Progress | None) -> None:
        """Remember how much of a blob is durable; None forgets it: it is whole, or given up."""
        with self._writing("progress") as database:
            if progress is None:
                database.execute("DELETE FROM progress WHERE sha256=?", (sha256,))
            else:
                values = (sha256, progress.bytes, progress.tag)
                database.execute("REPLACE INTO progress VALUES(?, ?, ?)", values)

    def _mark(self, key: str) -> float:
        with self._reading() as database:
            found = database.execute("SELECT value FROM marks WHERE key=?", (key,)).fetchone()
            return float(found[0]) if found else 0.0

    def _raise_marks(self, marks: Mapping[str, float]) -> None:
        """Raise what is lower; where nothing is, nothing is written, as nobody lowers a mark."""
        news = [(key, value) for key, value in marks.items() if self._mark(key) < value]
        if not news:
            return
        with self._writing("mark") as database:
            database.executemany(
                "INSERT INTO marks VALUES(?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value=max(value, excluded.value)",
                news,
            )

    # ── transactions ──────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what SQLite says into a LedgerError.

        Raises:
            LedgerError: as it says.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(self.path, str(error)) from error
        except OSError as error:
            raise LedgerError(self.path, error.strerror or str(error)) from error
        except msgspec.DecodeError as error:
            raise LedgerError(self.path, f"a row is not of this aiosd: {error}") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read alone."""
        with self._lock, self._guarded():
            yield self._database

    @contextmanager
    def _writing(self, what: str) -> Iterator[sqlite3.Connection]:
        """Write alone, in one transaction that is durable at the end or was never begun."""
        database = self._database
        with self._lock, self._guarded():
            reach(f"ledger.{what}.begin")
            with database:  # commits, or rolls back if anything is raised
                database.execute("BEGIN IMMEDIATE")
                yield database
                reach(f"ledger.{what}.commit")
            reach(f"ledger.{what}.committed")


def _encoded(row: Rollout) -> bytes:
    """Return a row without what is as it is in every new one: half as many bytes."""
    return msgspec.json.encode(
        {
            field.name: value
            for field in msgspec.structs.fields(Rollout)
            if (value := getattr(row, field.name)) != field.default
        }
    )


def _decoded(data: bytes) -> Rollout:
    return msgspec.json.decode(data, type=Rollout)


def _row(database: sqlite3.Connection, name: str) -> Rollout | None:
    found = database.execute("SELECT row FROM rollouts WHERE name=?", (name,)).fetchone()
    return _decoded(found[0]) if found else None


def _key(row: Rollout) -> tuple[int, State, str]:
    """Return what makes a change worth remembering."""
    return row.release, row.state, row.reason


def _remember(database: sqlite3.Connection, row: Rollout, data: bytes) -> None:
    """Enter a change into the history, and now and then forget what is too old."""
    database.execute(
        "INSERT INTO history(at, name, row) VALUES(?, ?, ?)", (row.since, row.name, data)
    )
    if row.state not in _FORGETTING:
        return
    database.execute(
        "DELETE FROM history WHERE name=? AND id <= "
        "(SELECT id FROM history WHERE name=? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (row.name, row.name, MAX_HISTORY),
    )


def _raise_floor(database: sqlite3.Connection, name: str, release: int) -> None:
    database.execute(
        "INSERT INTO floors VALUES(?, ?) "
        "ON CONFLICT(name) DO UPDATE SET release=max(release, excluded.release)",
        (name, release),
    )
