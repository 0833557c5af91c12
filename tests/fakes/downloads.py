"""A board that fetches one blob from a mirror, with a clock of its own."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fakes.mirror import Mirror

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import origin_of
from aiosd.policy.rollout.delta import Range
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.store.blobs import Blobs
from aiosd.store.ledger import Progress
from aiosd.update.download import Clockwork, Download, Wanted, addressed

DATA = hashlib.shake_128(b"a blob").digest(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
WANTED = Wanted(DIGEST, len(DATA), addressed(DIGEST))


@dataclass
class Kept:
    """Progress as a ledger keeps it."""

    rows: dict[str, Progress] = field(default_factory=dict)

    def progress(self, sha256: str) -> Progress:
        return self.rows.get(sha256, Progress())

    def set_progress(self, sha256: str, progress: Progress | None) -> None:
        self.rows[sha256] = progress or Progress()


@dataclass
class Rig:
    """A board's blobs, and a mirror."""

    mirror: Mirror
    blobs: Blobs
    kept: Kept = field(default_factory=Kept)
    now: float = 0.0
    rests: list[float] = field(default_factory=list)
    came: list[int] = field(default_factory=list)
    rules: PaceRules = field(default_factory=PaceRules)
    stop_after: int = -1

    def tick(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def count(self, count: int) -> None:
        self.came.append(count)
        if 0 <= self.stop_after < sum(self.came):
            raise UpdateError(Fault.CANCELLED, "enough")

    def download(self) -> Download:
        origin = origin_of(self.mirror.url, stall_seconds=2.0)
        clockwork = Clockwork(self.tick, self.rest)
        return Download(origin, self.blobs, self.kept, self.rules, clockwork, self.count)

    def fetch(self) -> None:
        one = self.download()
        try:
            one.fetch(WANTED)
        finally:
            one._origin.close()

    def fill(self, fill_in: Callable[[int], Sequence[Range]]) -> None:
        one = self.download()
        try:
            one.fill(WANTED, fill_in)
        finally:
            one._origin.close()

    @property
    def part(self) -> Path:
        return self.blobs.part(DIGEST)

    def is_here(self) -> bool:
        return self.blobs.has(DIGEST, len(DATA)) and self.blobs.path(DIGEST).read_bytes() == DATA

    def left(self, data: bytes, kept: int | None = None) -> None:
        """Leave a part behind, as a run that was killed does."""
        self.part.write_bytes(data)
        self.kept.rows[DIGEST] = Progress(bytes=len(data) if kept is None else kept)
