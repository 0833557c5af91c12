"""Brings releases onto this board: planned, fetching, verified, staged; the daemon does the rest.

Every step is in the ledger before the next one begins, so that a run that was killed, or a board
that lost its power, goes on where it was. Nothing here touches the release that is active.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from aiosd.domain.errors import PackageError
from aiosd.domain.release import ChunkIndex, Release
from aiosd.domain.rollout import Cost, Rollout, State
from aiosd.domain.update import Fault, Update, UpdateError
from aiosd.models.check import check_files
from aiosd.net.blob import Origin
from aiosd.policy.rollout import table as rollout
from aiosd.policy.rollout.delta import plan as plan_delta
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.policy.rollout.events import (
    Cancelled,
    Event,
    Failed,
    Fetch,
    Progressed,
    Staged,
    Verified,
)
from aiosd.policy.rollout.events import Fault as Whose
from aiosd.store.blobs import Blobs
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases
from aiosd.update.choice import Chooser, Chosen, Standing
from aiosd.update.download import (
    SYNC_BYTES,
    Clockwork,
    Download,
    Wanted,
    addressed,
    check_room,
    on_disk,
)
from aiosd.update.fetcher import Reader
from aiosd.update.outcome import Outcome, Passed
from aiosd.update.patchwork import filling, worth_it
from aiosd.update.purse import Purse
from aiosd.update.trust import Session, Trust
from aiosd.update.windows import Circumstances, check_leave

# Looking whether somebody cancelled reads the ledger: not for every piece.
_LOOK_BYTES = 2 * 1_048_576
# A fetch that goes on says so this often, well within the time that the state may last.
_SIGN_SECONDS = 600.0
# A daemon that is off does not end a trial; updates do not wait for it for ever.
_TRIAL_SECONDS = 86_400.0
# Before this the updater is at work; from here on the daemon is.
OURS = (State.PLANNED, State.FETCHING, State.VERIFIED)


class Show(Protocol):
    """Who is told how it goes."""

    def begin(self, name: str, release: int, total: int, fetched: int) -> None:
        """A release of `total` bytes is fetched, of which `fetched` are here or copied."""
        ...

    def came(self, count: int) -> None:
        """More of it came from the network."""
        ...

    def end(self) -> None:
        """It is all here, or given up."""
        ...


@dataclass(frozen=True)
class Parts:
    """Everything that an updater works with."""

    origin: Origin
    trust: Trust
    ledger: Ledger
    releases: Releases
    active: Callable[[str], int]
    blobs: Blobs
    chooser: Chooser
    purse: Purse
    clockwork: Clockwork
    wall: Callable[[], float]
    circumstances: Callable[[], Circumstances]
    show: Show
    staged: Callable[[str, int], None]
    bootstrap: bytes


@dataclass
class _Errand:
    """One release on its way."""

    chosen: Chosen
    row: Rollout
    fetched: int = 0
    unlooked: int = 0
    download: Download | None = None
    told: Cost = field(default_factory=Cost)
    indexes: dict[str, ChunkIndex] = field(default_factory=dict)

    @property
    def release(self) -> Release:
        return self.chosen.release

    @property
    def cost(self) -> Cost:
        """What this run spent on it."""
        if self.download is None:
            return Cost()
        written, shared = self.download.written, self.download.shared
        return Cost(fetched=self.fetched, written=written, shared=shared)


class Updater:
    """One run over some experts."""

    def __init__(self, update: Update, parts: Parts, *, anyway: bool = False) -> None:
        """Take the owner's settings; `anyway` overrides windows and a metered connection."""
        self._update = update
        self._parts = parts
        self._anyway = anyway

    def check(self, names: Iterable[str]) -> list[Outcome]:
        """Return what is on offer for each expert, and fetch none of it.

        Raises:
            UpdateError: the repository is not believed, or does not answer.
        """
        with on_disk(), self._session() as session:
            return [self._guarded(name, session, self._offer) for name in names]

    def run(self, names: Iterable[str]) -> list[Outcome]:
        """Fetch and stage what each expert should have; one that fails does not stop the others.

        Raises:
            UpdateError: the repository is not believed, or does not answer; or it is stopped.
        """
        with on_disk(), self._session() as session:
            return [self._guarded(name, session, self._bring) for name in names]

    def _session(self) -> AbstractContextManager[Session]:
        parts = self._parts
        reader = Reader(parts.origin, self._rules(), parts.clockwork)
        return parts.trust.open(reader, "metadata/", parts.bootstrap)

    def _rules(self) -> PaceRules:
        size = self._update.size
        return PaceRules(float(size("rate")), float(size("least_rate")))

    def _guarded(
        self, name: str, session: Session, act: Callable[[str, Session], Outcome]
    ) -> Outcome:
        try:
            with on_disk():
                return act(name, session)
        except UpdateError as error:
            if error.fault is Fault.CANCELLED:
                raise
            result = "waiting" if error.passing else "failed"
            return Outcome(name, result, fault=error.fault, reason=error.message)

    def _choose(self, name: str, session: Session) -> tuple[Chosen | None, tuple[Passed, ...]]:
        parts = self._parts
        standing = Standing(
            name,
            active=parts.active(name),
            floor=parts.ledger.floor(name),
            held=parts.ledger.held(name),
            quarantined=lambda release: parts.ledger.quarantined(name, release),
        )
        chosen, passed = parts.chooser.choose(session, standing)
        return chosen, tuple(passed)

    def _offer(self, name: str, session: Session) -> Outcome:
        """Say what is on offer for one expert."""
        chosen, passed = self._choose(name, session)
        if chosen is None:
            return self._current(name, passed)
        missing = self._missing(chosen.release)
        indexes = self._parts.releases.indexes() if missing else {}
        need = self._network_bytes(chosen.release, missing, indexes)
        return Outcome(name, "offered", chosen.release.release, fetched_bytes=need, passed=passed)

    def _current(self, name: str, passed: tuple[Passed, ...]) -> Outcome:
        active = self._parts.active(name)
        result = "waiting" if passed else "current" if active else "unknown"
        return Outcome(
            name, result, active, reason=passed[0].reason if passed else "", passed=passed
        )

    def _bring(self, name: str, session: Session) -> Outcome:
        """Bring one expert's newest release as far as `staged`."""
        chosen, passed = self._choose(name, session)
        if chosen is None:
            return self._current(name, passed)
        row = self._row(chosen)
        number = chosen.release.release
        if row.release != number or row.ended:
            why = f"release {number} waits: release {row.release} is {row.state}"
            return Outcome(name, "waiting", number, reason=why, passed=passed)
        if row.state not in OURS:
            return Outcome(name, "staged", number, reason=f"already {row.state}", passed=passed)
        errand = _Errand(chosen, row)
        try:
            self._fetch(errand)
            self._stage(errand)
        except UpdateError as error:
            self._parts.show.end()
            self._failed(errand, error)
            raise UpdateError(error.fault, f"release {number}: {error.message}") from error
        return Outcome(
            name,
            "staged",
            number,
            fetched_bytes=errand.fetched,
            written_bytes=errand.cost.written,
            shared_bytes=errand.cost.shared,
            passed=passed,
        )

    def _row(self, chosen: Chosen) -> Rollout:
        """Return the ledger's row of a release, a new one if it comes for the first time.

        Or the row of another release, which the daemon has in its hands and must end first.
        """
        ledger, now = self._parts.ledger, self._parts.wall()
        release = chosen.release
        row = ledger.row(release.name)
        if row is not None and row.ended and row.trial and now - row.since < _TRIAL_SECONDS:
            return row  # what was committed last is not to be disturbed yet
        if row is not None and not row.ended:
            same = (row.release, row.sha256) == (release.release, chosen.sha256)
            if same or row.state not in OURS:
                return row
            row, _ = rollout.advance(row, Cancelled(f"release {release.release} came"), now)
            ledger.put(row)
        active = self._parts.active(release.name)
        row = rollout.plan(release.name, release.release, chosen.sha256, active, now)
        ledger.put(row)
        return row

    def _advance(self, errand: _Errand, event: Event) -> None:
        errand.row, _ = rollout.advance(errand.row, event, self._parts.wall())
        self._parts.ledger.put(errand.row)

    def _progressed(self, errand: _Errand) -> None:
        """Write down that it goes on, and what it cost since that was written down last."""
        cost = errand.cost
        self._advance(errand, Progressed(cost.less(errand.told)))
        errand.told = cost

    def _missing(self, release: Release) -> dict[str, int]:
        """Return the blobs of a release that are not here, with their sizes."""
        blobs = self._parts.blobs
        return {
            sha256: size for sha256, size in release.blobs.items() if not blobs.has(sha256, size)
        }

    def _fetch(self, errand: _Errand) -> None:
        """Fetch what is missing of a release.

        Raises:
            UpdateError: there is no leave, no room, or it does not come.
        """
        parts, missing = self._parts, self._missing(errand.release)
        if errand.row.state is State.VERIFIED and not missing:
            return
        errand.indexes = parts.releases.indexes() if missing else {}
        check_room(parts.blobs.root, sum(missing.values()), self._update.size("reserve"))
        need = self._network_bytes(errand.release, missing, errand.indexes)
        check_leave(self._update, parts.circumstances(), count=need, anyway=self._anyway)
        self._advance(errand, Fetch())
        total = errand.release.size_bytes
        parts.show.begin(errand.release.name, errand.release.release, total, total - need)
        download = errand.download = self._download(errand)
        for sha256, size in missing.items():
            self._blob(errand, download, Wanted(sha256, size, addressed(sha256)))
            if errand.cost.fetched - errand.told.fetched >= SYNC_BYTES:
                self._progressed(errand)
        parts.show.end()
        self._check_models(errand.release)
        self._advance(errand, Verified(errand.cost.less(errand.told)))

    def _check_models(self, release: Release) -> None:
        """Refuse a model that no native library should be shown.

        Raises:
            UpdateError: there is one.
        """
        blobs = self._parts.blobs
        try:
            check_files(release.manifest, lambda file: blobs.path(file.sha256))
        except PackageError as error:
            raise UpdateError(Fault.WRONG_RELEASE, error.message) from error

    def _download(self, errand: _Errand) -> Download:
        parts = self._parts

        def came(count: int) -> None:
            errand.fetched += count
            errand.unlooked += count
            parts.purse.came(count)
            parts.show.came(count)
            if errand.unlooked >= _LOOK_BYTES:
                self._look(errand)

        return Download(
            parts.origin, parts.blobs, parts.ledger, self._rules(), parts.clockwork, came
        )

    def _look(self, errand: _Errand) -> None:
        """Stop if somebody has cancelled or held it, or the owner's hours are over.

        Raises:
            UpdateError: so it is.
        """
        errand.unlooked = 0
        row = self._parts.ledger.row(errand.row.name)
        if row is None or row.release != errand.row.release or row.state is not State.FETCHING:
            errand.row = row or errand.row
            raise UpdateError(Fault.CANCELLED, row.reason if row and row.reason else "cancelled")
        if self._parts.wall() - errand.row.since > _SIGN_SECONDS:
            self._progressed(errand)
        check_leave(self._update, self._parts.circumstances(), count=1, anyway=self._anyway)

    def _blob(self, errand: _Errand, download: Download, wanted: Wanted) -> None:
        """Fetch one blob, by its difference to those here where that saves much."""
        index = _index_of(errand.release, wanted.sha256)
        if index is not None:
            plan = plan_delta(errand.indexes, index)
            if worth_it(plan, index) and not self._parts.ledger.progress(wanted.sha256).bytes:
                try:
                    download.fill(wanted, filling(self._parts.blobs, plan, index))
                except UpdateError as error:
                    # A server without parts, or an index that lied: the whole will do.
                    if error.fault not in (Fault.RANGE_LIED, Fault.MISMATCH):
                        raise
                else:
                    return
        download.fetch(wanted)

    def _network_bytes(
        self, release: Release, missing: Mapping[str, int], indexes: Mapping[str, ChunkIndex]
    ) -> int:
        """Return how much of the blobs that are missing must come over the network."""
        return sum(
            self._blob_bytes(sha256, size, _index_of(release, sha256), indexes)
            for sha256, size in missing.items()
        )

    def _blob_bytes(
        self, sha256: str, size: int, index: ChunkIndex | None, indexes: Mapping[str, ChunkIndex]
    ) -> int:
        if index is not None:
            plan = plan_delta(indexes, index)
            if worth_it(plan, index):
                return plan.fetch_bytes
        return max(0, size - self._parts.ledger.progress(sha256).bytes)

    def _stage(self, errand: _Errand) -> None:
        """Make the folder of a release whose blobs are all here.

        Raises:
            UpdateError: it cannot be made.
        """
        try:
            with on_disk():
                self._parts.releases.stage(errand.chosen.manifest)
        except PackageError as error:
            raise UpdateError(Fault.WRONG_RELEASE, error.message) from error
        self._advance(errand, Staged())
        self._parts.staged(errand.row.name, errand.row.release)

    def _failed(self, errand: _Errand, error: UpdateError) -> None:
        """Write down why it does not go on.

        Only what the publisher signed counts against a release. Wrong bytes are a mirror's fault:
        otherwise a bad mirror could have a board refuse a good release for ever.
        """
        if error.fault is Fault.CANCELLED:
            return  # whoever did it has written it down, or it goes on at the next run
        if errand.row.state is State.FETCHING and errand.cost != errand.told:
            self._progressed(errand)
        whose = Whose.RELEASE if error.fault is Fault.WRONG_RELEASE else Whose.WORLD
        self._advance(errand, Failed(str(error), whose))


def _index_of(release: Release, sha256: str) -> ChunkIndex | None:
    return next((file.chunks for file in release.files if file.sha256 == sha256), None)
