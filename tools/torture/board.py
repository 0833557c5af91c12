"""A board's disk with an expert that is updated for ever, driven by the code that boards run.

There is no daemon and no model: each step on the disk, and each row of the ledger, is the real one,
in the order in which updater and daemon take them. What a release holds follows from its number,
so that a run which was cut off can be taken up by anybody.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from aiosd.daemon.releases.resumption import resume, take_back, tidy
from aiosd.domain.errors import PackageError
from aiosd.domain.model_parts import PART, part_name, part_names
from aiosd.domain.rollout import Report, Rollout, State
from aiosd.domain.update import UpdateError
from aiosd.policy.rollout.events import (
    Answered,
    Checked,
    Collected,
    Diverted,
    Drained,
    Event,
    Failed,
    Fetch,
    Lived,
    Probed,
    Probing,
    Progressed,
    Resumed,
    RolledBack,
    Staged,
    Verified,
)
from aiosd.policy.rollout.rules import Rules
from aiosd.policy.rollout.table import advance, plan
from aiosd.protocol.release_json import encode_release
from aiosd.store import garbage
from aiosd.store.install import install, remove
from aiosd.store.layout import Layout
from aiosd.store.ledger import Ledger, LedgerError, Progress
from aiosd.store.releases import Releases
from tools.torture.bringing import CHUNK_BYTES, bring

RULES = Rules(canary_requests=2)
# Of releases whose number this divides the self-tests fail.
BAD = 5
AIR, HAND, GUEST = "air", "hand", "guest"
CREATED = "2026-01-01T00:00:00Z"
MANIFEST = """\
name = "{name}"
release = {release}
summary = "A package of the torture"
licence = "MIT"
task = "echo"

[engine]
name = "echo"

[input]
type = "text"

[[files]]
path = "model.bin"
size = {size}
sha256 = "{digest}"
role = "model"
"""

# The parts of a published model, of which the second is another in each release.
FIRST, CHANGED, LAST = part_names(part_name("model", 1, 3))
ROLES = {FIRST: "model", CHANGED: PART, LAST: PART, "labels.txt": ""}

Say = Callable[[str], None]


@lru_cache(maxsize=16)
def data_of(name: str, release: int) -> bytes:
    """Return the model of a release: some kilobytes; an even one differs little from the last."""
    chance = random.Random(f"{name} {release}")
    if not by_difference(release):
        return chance.randbytes(chance.randint(2_000, 24_000))
    data = data_of(name, release - 1)
    at = chance.randrange(len(data) // CHUNK_BYTES) * CHUNK_BYTES
    return data[:at] + chance.randbytes(CHUNK_BYTES) + data[at + CHUNK_BYTES :]


def by_difference(release: int) -> bool:
    """Tell whether a release is fetched by its difference to the one before."""
    return release % 2 == 0


def files_of(name: str, release: int) -> dict[str, bytes]:
    """Return the files of a release; some parts of its model are the same in others."""
    return {
        FIRST: data_of(f"head of {name}", 1),
        CHANGED: data_of(name, release),
        LAST: data_of(f"tail of {name}", 1 + 2 * (release // 3)),
        "labels.txt": b"yes\nno\n" * 100,
    }


@lru_cache(maxsize=16)
def published(name: str, release: int) -> bytes:
    """Return the `manifest.json` of a release."""
    files = [
        {
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "role": ROLES[path],
        }
        for path, data in files_of(name, release).items()
    ]
    return encode_release(
        {
            "format": 1,
            "name": name,
            "release": release,
            "created": CREATED,
            "licence": "MIT",
            "package": {
                "name": name,
                "release": release,
                "summary": "A package of the torture",
                "licence": "MIT",
                "task": "text.generate",
                "engine": {"name": "llama"},
                "input": {"type": "text"},
            },
            "files": files,
        }
    )


class Board:
    """The folders of one board; `say` hears of every row before and after it is written."""

    def __init__(self, root: Path, say: Say = lambda _: None) -> None:
        """Take the paths; `begin` makes what a new board has."""
        self.root = root
        self.layout = Layout(experts=(root / "experts",), state=root / "state", sockets=root)
        self.releases = Releases(self.layout)
        self.say = say
        self._clock = 1.0

    def begin(self) -> None:
        """Make the folders, and install by hand what is there from the start."""
        self.layout.state.mkdir(parents=True, exist_ok=True)
        for name in (AIR, HAND):
            self.install(name, 1)
        Ledger(self.layout.ledger).close()

    # ── what an owner and an updater do ───────────────────────────────────────────────────────

    def install(self, name: str, release: int) -> None:
        """Install a package by hand, as `aiosctl install` does."""
        source = self.root / "source" / name
        source.mkdir(parents=True, exist_ok=True)
        data = data_of(name, release)
        (source / "model.bin").write_bytes(data)
        text = MANIFEST.format(
            name=name,
            release=release,
            size=len(data),
            digest=hashlib.sha256(data).hexdigest(),
        )
        (source / "expert.toml").write_text(text)
        self.say(f"will {name} {release}")
        install(source, self.layout.experts[0])
        self.say(f"did {name} {release}")

    def install_next(self) -> None:
        """Install the next release of the expert that is kept by hand."""
        self.install(HAND, (self.releases.active(HAND) or 0) + 1)

    def visit(self) -> None:
        """Install an expert, and remove it again."""
        if self.releases.active(GUEST) is None:
            self.install(GUEST, 1)
        remove(GUEST, self.layout.experts[0])

    def update(self) -> None:
        """Bring the next release the whole way."""
        with_ledger(self.layout, self._update)

    def _update(self, ledger: Ledger) -> None:
        active = self.releases.active(AIR) or 0
        row = ledger.row(AIR)
        if row is not None and not row.ended:
            self.drive(ledger, row)
            return
        release = max(active, ledger.floor(AIR), row.release if row else 0) + 1
        digest = hashlib.sha256(published(AIR, release)).hexdigest()
        new = plan(AIR, release, digest, active, self._clock)
        self._put(ledger, new)
        self.drive(ledger, new)

    def rollback(self) -> None:
        """Go back to the release before, if there is one."""
        with_ledger(self.layout, self._rollback)

    def _rollback(self, ledger: Ledger) -> None:
        row = ledger.row(AIR)
        if row is None or row.state is not State.COLLECTED:
            return
        if row.old_release not in self.releases.installed(AIR):
            return
        self.drive(ledger, self._note(ledger, row, RolledBack("torture")))

    def collect(self) -> None:
        """Collect what nobody needs, within no budget at all."""
        with_ledger(self.layout, self._collect)

    def _collect(self, ledger: Ledger) -> None:
        keep = {(row.name, row.old_release) for row in ledger.rows()}
        keep |= {(row.name, row.release) for row in ledger.rows() if not row.ended}
        garbage.collect(self.releases, now=10 * garbage.FRESH_SECONDS + time.time(), keep=keep)

    def hold(self) -> None:
        """Hold an expert, let it go, and write down what an updater does besides."""

        def all_of_it(ledger: Ledger) -> None:
            ledger.hold(AIR, on=True)
            ledger.raise_time_floor(self._clock)
            ledger.raise_metadata_versions({"snapshot": 1})
            ledger.raise_floor(GUEST, 1)
            ledger.forget(GUEST)
            ledger.hold(AIR, on=False)

        with_ledger(self.layout, all_of_it)

    # ── what the daemon does ──────────────────────────────────────────────────────────────────

    def recover(self) -> None:
        """Do what the daemon does when it starts again, to the end; the updater comes later."""
        with_ledger(self.layout, self._recover)

    def _recover(self, ledger: Ledger) -> None:
        for row, _ in resume(_Said(ledger, self.say), self.releases, self._clock, RULES):
            self.drive(ledger, row)
        tidy(self.releases)

    def drive(self, ledger: Ledger, row: Rollout) -> None:
        """Bring a release to its end, as updater and daemon do step by step."""
        while True:
            event = self._step(ledger, row)
            if event is None:
                return
            row = self._note(ledger, row, event)

    def _step(self, ledger: Ledger, row: Rollout) -> Event | None:
        """Take one step; return what came of it, None at the end."""
        match row.state:
            case State.PLANNED:
                return Fetch()
            case State.FETCHING:
                self._fetch(ledger, row)
                return Verified()
            case State.VERIFIED:
                self._fetch(ledger, row)  # a collection may have come between
                with self.releases.busy():
                    self.releases.stage(published(row.name, row.release))
                return Staged()
            case State.STAGED | State.PROBED | State.CANARY:
                return self._try_out(row)
            case _:
                return self._end(ledger, row)

    def _try_out(self, row: Rollout) -> Event:
        """Take a step of probe and canary."""
        if row.state is State.CANARY:
            return Checked() if row.checking else Answered(good=True)
        if row.state is State.PROBED:
            return Diverted() if row.old_release else Checked()
        if not row.trying:
            return Probing()
        self.releases.open(row.name, row.release)
        good = row.release % BAD
        return Probed(Report(passed=1, cases=1)) if good else Failed("a self-test failed")

    def _end(self, ledger: Ledger, row: Rollout) -> Event | None:
        """Take a step after the decision."""
        match row.state:
            case State.COMMITTED:
                self.releases.activate(row.name, row.release)
                return Drained(0.0)
            case State.DRAINED:
                self._collect(ledger)
                return Collected()
            case State.COLLECTED:
                return Lived() if row.trial else None
            case State.QUARANTINED | State.CANCELLED:
                take_back(self.releases, row)
                if self.releases.active(row.name) != row.release:
                    self.releases.forget(row.name, row.release)
                return None
            case _:
                return Resumed()

    def _fetch(self, ledger: Ledger, row: Rollout) -> None:
        """Fetch what is missing, going on from half a blob."""
        blobs = self.releases.blobs
        with self.releases.busy():
            for path, data in files_of(row.name, row.release).items():
                digest = hashlib.sha256(data).hexdigest()
                if blobs.has(digest, len(data)):
                    continue
                if by_difference(row.release) and path == CHANGED:
                    bring(blobs, ledger, data, data_of(row.name, row.release - 1))
                    continue
                half = len(data) // 2
                with blobs.part(digest).open("wb") as part:
                    part.write(data[:half])
                    part.flush()
                    os.fsync(part.fileno())
                ledger.set_progress(digest, Progress(bytes=half))
                self._note(ledger, row, Progressed())
                bring(blobs, ledger, data, None)

    def _note(self, ledger: Ledger, row: Rollout, event: Event) -> Rollout:
        """Write down what an event makes of a row."""
        after, _ = advance(row, event, self._clock, RULES)
        if after != row:
            self._put(ledger, after)
        return after

    def _put(self, ledger: Ledger, row: Rollout) -> None:
        self.say(f"will {row.name} {row.release} {row.state}")
        ledger.put(row)
        self.say(f"did {row.name} {row.release} {row.state}")


class _Said(Ledger):
    """The same ledger, which says what it writes."""

    def __init__(self, ledger: Ledger, say: Say) -> None:
        """Stand before `ledger`."""
        self.__dict__.update(ledger.__dict__)
        self._said = say

    def put(self, row: Rollout) -> None:
        """Say it before and after."""
        self._said(f"will {row.name} {row.release} {row.state}")
        super().put(row)
        self._said(f"did {row.name} {row.release} {row.state}")


def with_ledger(layout: Layout, work: Callable[[Ledger], None]) -> None:
    """Open the ledger for some work."""
    ledger = Ledger(layout.ledger)
    try:
        work(ledger)
    finally:
        ledger.close()


OPERATIONS: dict[str, Callable[[Board], None]] = {
    "update": Board.update,
    "rollback": Board.rollback,
    "gc": Board.collect,
    "install": Board.install_next,
    "remove": Board.visit,
    "hold": Board.hold,
}


def operate(board: Board, name: str) -> bool:
    """Do one thing; False if the board said no, as it may when its disk fails."""
    try:
        OPERATIONS[name](board)
    except (OSError, PackageError, LedgerError, UpdateError):
        return False
    return True
