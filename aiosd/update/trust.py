"""What a repository says, believed only as far as its signatures, its age and our own memory go.

python-tuf checks signatures, versions and expiry; it works in a scratch folder, because it writes
without fsync. What it has verified is taken over file by file, durably. Against metadata lost or
zeroed by a power cut stands the ledger's memory: no role may come back in an older version than
was ever seen, and no time before one that has been.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import TargetFile, Updater, UpdaterConfig

from aiosd.domain.update import CLOCK_SLACK_SECONDS, Fault, UpdateError
from aiosd.store.durable import replace_file, sync_folder
from aiosd.update.fetcher import Fetcher, Reader

TIMESTAMP_BYTES = 16_384
ROOT_BYTES = 512_000
SNAPSHOT_BYTES = 2_000_000
TARGETS_BYTES = 1_000_000
MOST_ROTATIONS = 256
MOST_DELEGATIONS = 8
# All metadata of one run together.
TOTAL_BYTES = 64_000_000
# No clock of a board that runs this code is before this: 2026-11-01T00:00:00Z.
BUILT = 1_793_491_200.0

_HISTORY = "root_history"
_TOP = ("timestamp.json", "snapshot.json", "targets.json")
# The first that fits; the classes are each other's children.
_FAULTS: tuple[tuple[type[Exception], Fault], ...] = (
    (ExpiredMetadataError, Fault.EXPIRED),
    (UnsignedMetadataError, Fault.UNSIGNED),
    (BadVersionNumberError, Fault.ROLLBACK),
    (LengthOrHashMismatchError, Fault.MISMATCH),
    (DownloadLengthMismatchError, Fault.TOO_LONG),
    (DownloadHTTPError, Fault.NOT_FOUND),
    (DownloadError, Fault.UNREACHABLE),
)


class Memory(Protocol):
    """What the ledger remembers, durably."""

    def time_floor(self) -> float:
        """Return a time that has been, in seconds since 1970; 0 if none is known."""
        ...

    def raise_time_floor(self, at: float) -> None:
        """Remember a time that has been, if it is later than what is known."""
        ...

    def metadata_version(self, role: str) -> int:
        """Return the highest version of a role that was ever believed; 0 if none was."""
        ...

    def raise_metadata_versions(self, versions: Mapping[str, int]) -> None:
        """Remember versions of roles, each if it is higher than what is known."""
        ...


@dataclass(frozen=True)
class Offer:
    """A target that somebody who may vouches for; `custom` is what he says beside."""

    path: str
    target: TargetFile

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.target.length

    @property
    def sha256(self) -> str:
        """Its digest, empty if he gives none."""
        return self.target.hashes.get("sha256", "")

    @property
    def channels(self) -> list[str]:
        """The channels that it is for; empty: all."""
        custom = self.target.custom
        named = custom.get("channels") if isinstance(custom, dict) else None
        return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []

    def check(self, data: bytes) -> None:
        """Refuse other bytes than were signed for.

        Raises:
            UpdateError: they are others.
        """
        with _in_our_words():
            self.target.verify_length_and_hashes(data)

    def fits(self, data: bytes) -> bool:
        """Tell whether these are the bytes."""
        try:
            self.check(data)
        except UpdateError:
            return False
        return True


class Trust:
    """The durable metadata in one folder, and how it becomes newer."""

    def __init__(
        self, folder: Path, memory: Memory, *, now: Callable[[], float], built: float = BUILT
    ) -> None:
        """Keep metadata in `folder`; `built` is a time that this code knows to have been."""
        self._folder = folder
        self._memory = memory
        self._now = now
        self._built = built

    @contextmanager
    def open(self, reader: Reader, base: str, bootstrap: bytes) -> Iterator["Session"]:
        """Refresh from the folder `base` of a repository, and give what may be asked then.

        `bootstrap` is the owner's own copy of a root: everything is checked from there on.

        Raises:
            UpdateError: what comes is not believed; what was believed before stays.
        """
        self._check_clock()
        with tempfile.TemporaryDirectory(prefix="aiosd-metadata-") as name:
            scratch = Path(name)
            self._copy_out(scratch)
            session = Session(scratch, reader, base, bootstrap, self._commit)
            session.refresh()
            self._memory.raise_time_floor(min(self._now(), session.expires()))
            yield session

    def _check_clock(self) -> None:
        """Refuse to judge what is expired by a clock that is wrong for certain.

        Raises:
            UpdateError: it is before a time that has been.
        """
        now = self._now()
        floor = max(self._memory.time_floor() - CLOCK_SLACK_SECONDS, self._built)
        if now < floor:
            raise UpdateError(
                Fault.CLOCK_UNTRUSTED,
                f"the clock says {_date(now)}, but {_date(floor)} has been: set it; "
                "the experts go on serving",
            )

    def _copy_out(self, scratch: Path) -> None:
        """Give tuf a copy of what is believed."""
        history = self._folder / _HISTORY
        (scratch / _HISTORY).mkdir()
        for path in (*self._folder.glob("*.json"), *history.glob("*.root.json")):
            if path.name != "root.json":
                shutil.copyfile(path, scratch / path.relative_to(self._folder))

    def _commit(self, scratch: Path) -> None:
        """Take over what tuf has verified, durably, unless it is older than what was known.

        Raises:
            UpdateError: it is; nothing is taken over.
        """
        roots = sorted(scratch.glob(f"{_HISTORY}/*.root.json"), key=_number)
        root = Metadata[Root].from_bytes((scratch / "root.json").read_bytes())
        # Roles whose keys a new root has changed begin again: recovery from a fast-forward.
        era = _era(root.signed)
        others = [scratch / name for name in _TOP if (scratch / name).exists()]
        others += sorted(set(scratch.glob("*.json")) - set(others) - {scratch / "root.json"})
        versions = {"root": root.signed.version}
        for path in others:
            data = path.read_bytes()
            if self._unchanged(path, data):
                continue  # what is on the disk already was judged when it came
            versions[f"{path.stem}@{era}"] = Metadata.from_bytes(data).signed.version
        for role, version in versions.items():
            floor = self._memory.metadata_version(role)
            if version < floor:
                raise UpdateError(
                    Fault.ROLLBACK,
                    f"{role.partition('@')[0]} comes in version {version}, "
                    f"but version {floor} was seen before",
                )
        self._write(roots, root.signed.version, others)
        self._memory.raise_metadata_versions(versions)

    def _write(self, roots: list[Path], current: int, others: list[Path]) -> None:
        """Write what is new, in the order in which it is read."""
        history = self._folder / _HISTORY
        if not history.is_dir():
            history.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder)
        for path in roots:
            if _number(path) <= current:
                self._keep(path, history / path.name)
        newest = history / f"{current}.root.json"
        self._keep(newest, self._folder / "root.json")
        for path in others:
            self._keep(path, self._folder / path.name)

    def _keep(self, source: Path, place: Path) -> None:
        data = source.read_bytes()
        if not place.exists() or place.read_bytes() != data:
            replace_file(place, data)

    def _unchanged(self, path: Path, data: bytes) -> bool:
        kept = self._folder / path.name
        return kept.exists() and kept.read_bytes() == data


class Session:
    """A refreshed repository; it can be asked for targets."""

    def __init__(
        self,
        scratch: Path,
        reader: Reader,
        base: str,
        bootstrap: bytes,
        commit: Callable[[Path], None],
    ) -> None:
        """Do nothing yet; made by `Trust.open`."""
        self._scratch = scratch
        self._reader = reader
        self._commit = commit
        with _in_our_words():
            self._updater = Updater(
                str(scratch),
                base,
                fetcher=Fetcher(reader, SNAPSHOT_BYTES, TOTAL_BYTES),
                config=UpdaterConfig(
                    max_root_rotations=MOST_ROTATIONS,
                    max_delegations=MOST_DELEGATIONS,
                    root_max_length=ROOT_BYTES,
                    timestamp_max_length=TIMESTAMP_BYTES,
                    snapshot_max_length=SNAPSHOT_BYTES,
                    targets_max_length=TARGETS_BYTES,
                ),
                bootstrap=bootstrap,
            )

    def refresh(self) -> None:
        """Bring root, timestamp, snapshot and targets up to date.

        Raises:
            UpdateError: something is not believed. What was verified before it is kept, so that
                it need not be believed again.
        """
        try:
            with _in_our_words():
                self._updater.refresh()
        finally:
            self._commit(self._scratch)

    def expires(self) -> float:
        """Return until when the timestamp is good, in seconds since 1970."""
        data = (self._scratch / "timestamp.json").read_bytes()
        return Metadata[Timestamp].from_bytes(data).signed.expires.timestamp()

    @property
    def consistent(self) -> bool:
        """Whether targets have their digest in their file's name."""
        root = Metadata[Root].from_bytes((self._scratch / "root.json").read_bytes())
        return bool(root.signed.consistent_snapshot)

    def find(self, path: str) -> Offer | None:
        """Return the target of that path, from the first who may vouch for it; None: nobody does.

        Raises:
            UpdateError: metadata on the way there is not believed.
        """
        try:
            with _in_our_words():
                target = self._updater.get_targetinfo(path)
        finally:
            self._commit(self._scratch)
        return None if target is None else Offer(path, target)

    def named(self) -> set[str]:
        """Return the paths of targets that any role looked at so far has listed.

        Whether the role may is not said here: ask `find` for each.
        """
        found: set[str] = set()
        for path in self._scratch.glob("*.json"):
            role = Metadata[Targets].from_bytes(path.read_bytes())
            if role.signed.type == Targets.type:
                found.update(role.signed.targets)
        return found

    def fetch(self, offer: Offer, base: str, limit: int) -> bytes:
        """Return a target's bytes, at most `limit`, as they were signed for.

        Raises:
            UpdateError: they are not, or do not come.
        """
        if offer.size > limit:
            raise UpdateError(Fault.TOO_LONG, f"{offer.path}: {offer.size} bytes, {limit} may be")
        data = self._reader.read(f"{base}/{self.address(offer)}", offer.size)
        offer.check(data)
        return data

    def address(self, offer: Offer) -> str:
        """Return where a target lies below its folder: with its digest, if snapshots are so."""
        folder, slash, name = offer.path.rpartition("/")
        prefix = f"{next(iter(offer.target.hashes.values()))}." if self.consistent else ""
        return f"{folder}{slash}{prefix}{name}"


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn the errors of tuf into ours.

    Raises:
        UpdateError: instead of tuf's.
    """
    try:
        yield
    except (DownloadError, RepositoryError, DeserializationError) as error:
        cause = error.__cause__
        if isinstance(cause, UpdateError):
            raise cause from None
        raise UpdateError(_fault(error), str(error) or type(error).__name__) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UpdateError(Fault.BAD_METADATA, f"{type(error).__name__}: {error}") from error


def _fault(error: Exception) -> Fault:
    """Return our word for an error of tuf's."""
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), Fault.BAD_METADATA)


def _era(root: Root) -> str:
    """Return a name for the keys that sign timestamps and snapshots."""
    parts = []
    for name in ("timestamp", "snapshot"):
        role = root.roles[name]
        parts.append(f"{name} {role.threshold} {' '.join(sorted(role.keyids))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _number(path: Path) -> int:
    number = path.name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
