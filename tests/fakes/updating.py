"""A board that takes its releases from a repository on loopback: release 1 of `one` serves."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from fakes.mirror import Mirror
from fakes.published import fill, layout, published
from fakes.repository import Repository

from aiosd.domain.rollout import State
from aiosd.domain.update import Fault, Update, UpdateError
from aiosd.net.blob import origin_of
from aiosd.store.blobs import Blobs
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases
from aiosd.update.choice import Chooser
from aiosd.update.download import Clockwork
from aiosd.update.purse import Purse
from aiosd.update.surroundings import Machine
from aiosd.update.trust import Trust
from aiosd.update.updater import Outcome, Parts, Updater
from aiosd.update.windows import Circumstances

OLD = {"model.bin": b"the model that serves"}
MACHINE = Machine("x86_64", 4096, "0.1.0")


class Silent:
    """Nobody who is shown anything."""

    def begin(self, name: str, release: int, total: int, fetched: int) -> None:
        del name, release, total, fetched

    def came(self, count: int) -> None:
        del count

    def end(self) -> None:
        return


@dataclass
class Board:
    """The board, its clocks, and what its owner set."""

    root: Path
    repository: Repository
    mirror: Mirror
    update: Update
    wall: float
    metered: bool = False
    minute: int = 12 * 60
    tick: float = 0.0
    rests: float = 0.0
    device: str = "board"
    machine: Machine = MACHINE
    runs: list[list[Outcome]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layout = layout(self.root)
        self.layout.state.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(self.layout.blobs)
        self.releases = Releases(self.layout)
        self.ledger = Ledger(self.layout.state / "releases.db")
        self.bootstrap = self.repository.bootstrap
        self.metadata = self.layout.state / "update" / "metadata"

    def install(self, name: str = "one", release: int = 1, held: Mapping[str, bytes] = OLD) -> None:
        """Have a release that serves already."""
        fill(self.blobs, held)
        self.releases.stage(published(name, release, held))
        self.releases.activate(name, release)

    @contextmanager
    def updater(self, *, anyway: bool = False) -> Iterator[Updater]:
        """A new updater, as a run of the process has it."""
        origin = origin_of(self.update.url, stall_seconds=2.0)
        purse = Purse(self.layout.state / "spent.json", "2026-11-25", metered=self.metered)
        chooser = Chooser(
            self.update.channel, self.device, self.machine, self.update.size("largest")
        )
        parts = Parts(
            origin=origin,
            trust=Trust(self.metadata, self.ledger, now=lambda: self.wall),
            ledger=self.ledger,
            releases=self.releases,
            active=lambda name: self.releases.active(name) or 0,
            blobs=self.blobs,
            chooser=chooser,
            purse=purse,
            clockwork=Clockwork(lambda: self.tick, self.rest),
            wall=lambda: self.wall,
            circumstances=lambda: Circumstances(self.minute, self.metered, purse.spent),
            show=Silent(),
            staged=lambda name, release: self.told.append((name, release)),
            bootstrap=self.bootstrap,
        )
        try:
            yield Updater(self.update, parts, anyway=anyway)
        finally:
            origin.close()
            purse.close()

    def rest(self, seconds: float) -> None:
        self.tick += seconds
        self.rests += seconds

    def run(self, names: Iterable[str] = ("one",), *, anyway: bool = False) -> list[Outcome]:
        with self.updater(anyway=anyway) as updater:
            self.runs.append(updater.run(names))
        return self.runs[-1]

    def one(self, *, anyway: bool = False) -> Outcome:
        return self.run(anyway=anyway)[0]

    def serve(self, release: int, name: str = "one") -> None:
        """Do what the daemon does with a staged release that is good."""
        self.releases.activate(name, release)
        row = self.ledger.row(name)
        if row is not None:
            self.ledger.put(msgspec.structs.replace(row, state=State.COLLECTED))

    def fault(self) -> Fault | None:
        """Run, and return what went wrong, wherever it is said."""
        try:
            return self.one().fault
        except UpdateError as error:
            return error.fault

    def row_state(self, name: str = "one") -> State | None:
        row = self.ledger.row(name)
        return row.state if row else None

    def still_serves_the_old_one(self) -> bool:
        """Whether release 1 is active and whole, as any client would find it."""
        served = (self.layout.experts[0] / "one" / "model.bin").read_bytes()
        return self.releases.active("one") == 1 and served == OLD["model.bin"]

    def set(self, **changes: object) -> None:
        """Change what the owner set."""
        self.update = msgspec.structs.replace(self.update, **changes)


@contextmanager
def updating(root: Path, repository: Repository | None = None) -> Iterator[Board]:
    """A board with release 1 active, and a repository that offers nothing else yet."""
    made = repository or Repository()
    made.publish("one", 1, OLD)
    with Mirror(made.files) as mirror:
        update = Update(url=mirror.url, reserve="0")
        board = Board(root, made, mirror, update, made.now.timestamp())
        board.install()
        try:
            yield board
        finally:
            board.ledger.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
