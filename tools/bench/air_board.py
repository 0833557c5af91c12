"""A publisher and a board, and one update the whole way, with what it costs the disk.

Everything is what boards run: signed metadata, the updater, the ledger, the store, and the rows
that the daemon writes of a release that is tried out and kept. Only the daemon's workers are left
out, which write nothing. The repository is a stick's, whose files are read as from a server.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from aiosd.domain.rollout import Report, Rollout
from aiosd.domain.update import Update
from aiosd.net.blob import Body, Origin, Part, origin_of
from aiosd.policy.rollout.events import (
    Answered,
    Checked,
    Collected,
    Diverted,
    Drained,
    Event,
    Lived,
    Probed,
    Probing,
)
from aiosd.policy.rollout.table import advance
from aiosd.store import garbage
from aiosd.store.layout import Layout
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases
from aiosd.update.choice import Chooser
from aiosd.update.download import Clockwork
from aiosd.update.purse import Purse
from aiosd.update.surroundings import this_machine
from aiosd.update.trust import Trust
from aiosd.update.updater import Parts, Updater
from aiosd.update.windows import Circumstances
from tools.expert import ceremony
from tools.expert.publish import Shelf, publish
from tools.expert.repository import Repository

NAME = "bench"
CANARY_REQUESTS = 20
MEMORY = Path("/dev/shm")  # noqa: S108 -- where a board has its /tmp


class Publisher:
    """A repository of one expert's releases, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        """Hold the ceremony."""
        self.repository = Repository(folder)
        self._now = datetime.now(UTC).replace(microsecond=0)
        root, targets, self._acme, self._online = (
            CryptoSigner.generate_ed25519() for _ in range(4)
        )
        keys = {
            "root": [root.public_key],
            "targets": [targets.public_key],
            "online": [self._online.public_key],
        }
        ceremony.begin(self.repository, keys, 1, self._now)
        ceremony.sign_draft(self.repository, root)
        ceremony.renew_targets(self.repository, [targets], self._now)
        grant = ceremony.Grant("acme", [NAME], [self._acme.public_key])
        ceremony.delegate(self.repository, grant, [targets], self._now)
        self.repository.refresh(self._online, self._now)

    def publish(self, packed: Path) -> None:
        """Put a packed release up for all boards."""
        shelf = Shelf(self.repository, NAME, self._now)
        publish(shelf, packed, channel="stable")
        shelf.sign([self._acme], self._online)


@dataclass(frozen=True)
class Cost:
    """Bytes of one update: `fetched` in so many requests, and of these `blobs`.

    `written` are bytes that the kernel counts for this process, of these `ledger` for rows and
    marks, and `device` those that the disk below was given; `copied` and `shared` are parts of
    blobs that older ones had.
    """

    fetched: int
    blobs: int
    requests: int
    written: int
    ledger: int
    device: int
    copied: int
    shared: int


class AirBoard:
    """A board without an expert, whose updates come from a publisher's folder."""

    def __init__(self, root: Path, publisher: Publisher, device: Callable[[], int]) -> None:
        """Make the folders and the ledger; `device` tells what the disk was given to write."""
        layout = Layout(experts=(root / "experts",), state=root / "state", sockets=root)
        layout.state.mkdir(parents=True)
        self.releases = Releases(layout)
        self._layout = layout
        self._repository = publisher.repository
        self._device = device
        self._ledger = _Weighed(layout.ledger)  # the daemon's, which it keeps open

    def bring(self) -> Cost:
        """Bring the newest release the whole way, and count.

        Raises:
            RuntimeError: it did not come.
        """
        os.sync()
        written, device = written_bytes(), self._device()
        self._ledger.weight = 0
        origin = _Counted(origin_of(self._repository.folder.as_uri()))
        with closing(_Weighed(self._layout.ledger)) as ledger:
            copied, shared, fetched = self._update(ledger, origin)
        self._keep(self._ledger)
        written = written_bytes() - written
        os.sync()
        return Cost(
            fetched=origin.bytes,
            blobs=fetched,
            requests=origin.requests,
            written=written,
            ledger=ledger.weight + self._ledger.weight,
            device=self._device() - device,
            copied=copied,
            shared=shared,
        )

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def _update(self, ledger: Ledger, origin: Origin) -> tuple[int, int, int]:
        """Do what `aiosd-update` does; return what was copied, shared and fetched of blobs."""
        update = Update(url=self._repository.folder.as_uri(), reserve="0")
        folder = self._layout.state / "update"
        folder.mkdir(exist_ok=True)
        with (
            self.releases.busy(),
            closing(Purse(folder / "spent.json", "", metered=False, kept=False)) as purse,
        ):
            parts = Parts(
                origin=origin,
                trust=Trust(folder / "metadata", ledger, now=time.time),
                ledger=ledger,
                releases=self.releases,
                active=lambda name: self.releases.active(name) or 0,
                blobs=self.releases.blobs,
                chooser=Chooser("stable", "board", this_machine(), update.size("largest")),
                purse=purse,
                clockwork=Clockwork(time.monotonic, lambda _: None),
                wall=time.time,
                circumstances=lambda: Circumstances(720, metered=False, spent=purse.spent),
                show=_Nobody(),
                staged=lambda _name, _release: None,
                bootstrap=(self._repository.metadata / "1.root.json").read_bytes(),
            )
            (outcome,) = Updater(update, parts).run([NAME])
        if outcome.result != "staged":
            raise RuntimeError(f"{outcome.result}: {outcome.reason}")
        copied = outcome.written_bytes - outcome.fetched_bytes
        return copied, outcome.shared_bytes, outcome.fetched_bytes

    def _keep(self, ledger: Ledger) -> None:
        """Do to the disk what the daemon does with a release that is good."""
        row = ledger.row(NAME)
        if row is None:
            raise RuntimeError("nothing was staged")
        tried: list[Event] = [Probing(), Probed(Report(passed=1, cases=1))]
        if row.old_release:
            answers = [Answered(good=True) for _ in range(CANARY_REQUESTS)]
            tried += [Diverted(), *answers]
        for event in [*tried, Checked()]:
            row = _noted(ledger, row, event)
        self.releases.activate(row.name, row.release)
        row = _noted(ledger, row, Drained(0.0))
        keep = {(row.name, row.old_release)}
        garbage.collect(self.releases, now=time.time(), keep=keep)
        row = _noted(ledger, row, Collected())
        _noted(ledger, row, Lived())


def _noted(ledger: Ledger, row: Rollout, event: Event) -> Rollout:
    """Write down what an event makes of a row, as a journey does: answers alone are not."""
    after, _ = advance(row, event, time.time())
    if after != row and not (isinstance(event, Answered) and after.state is row.state):
        ledger.put(after)
    return after


class _Weighed(Ledger):
    """A ledger that knows how many bytes its opening and writing have sent to the disk."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        before = written_bytes()
        super().__init__(path)
        self.weight = written_bytes() - before

    @contextmanager
    def _writing(self, what: str) -> Iterator[sqlite3.Connection]:
        before = written_bytes()
        with super()._writing(what) as database:
            yield database
        self.weight += written_bytes() - before


class _Counted:
    """An origin, with the bytes and the files that were asked of it."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.bytes = self.requests = 0

    def open(self, path: str, limit: int, part: Part | None = None, etag: str = "") -> Body:
        """Return (part of) a file."""
        body = self._origin.open(path, limit, part, etag)
        self.requests += 1

        def read(_most: int) -> bytes:
            piece = body.read()
            self.bytes += len(piece)
            return piece

        return Body(body.first, limit, read, length=body.length, etag=body.etag)

    def close(self) -> None:
        """Let go of it."""
        self._origin.close()


class _Nobody:
    """Nobody who is shown anything."""

    def begin(self, name: str, release: int, total: int, fetched: int) -> None:
        """A release is about to be fetched."""

    def came(self, count: int) -> None:
        """More of it came."""

    def end(self) -> None:
        """It is all here."""


def written_bytes() -> int:
    """Return the bytes that this process has sent to disks."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == "write_bytes":
            return int(value)
    return 0


def scratch_in_memory() -> None:
    """Have temporary files in memory, as a board has its /tmp: they are not the card's."""
    if MEMORY.is_dir():
        tempfile.tempdir = os.fspath(MEMORY)
