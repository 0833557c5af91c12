"""A TUF repository on disk, to be served by any web server or from a USB stick.

    metadata/   N.root.json  N.targets.json  N.publisher-NAME.json  N.snapshot.json  timestamp.json
    targets/    experts/<name>/<release>/<sha256>.manifest.json
    blobs/      sha256/ab/<sha256>
    drafts/     roots that still lack signatures; not to be served

Every file is written under a name of its own before the one that points to it, and `timestamp.json`
last, so that a client sees the repository as it was or as it is.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from aiosd.protocol.release_json import NAME
from aiosd.store.blobs import Blobs
from aiosd.store.durable import make_folders, replace_file
from tools.expert.faults import PublisherError

PREFIX = "publisher-"


@dataclass(frozen=True)
class Days:
    """For how many days each role's word is good; a short one must be renewed by a machine."""

    root: int = 365
    targets: int = 90
    publisher: int = 90
    snapshot: int = 7
    timestamp: int = 1


class Repository:
    """The files below one folder."""

    def __init__(self, folder: Path, days: Days | None = None) -> None:
        """Take the folder, which `Ceremony.begin` fills first."""
        self.folder = folder
        self.days = days or Days()
        self.metadata = folder / "metadata"
        self.drafts = folder / "drafts"
        self.blobs = Blobs(folder / "blobs")

    def version(self, role: str) -> int:
        """Return the newest version of a role that is here, 0 if there is none."""
        found = [int(path.name.partition(".")[0]) for path in self._versions(role)]
        return max(found, default=0)

    def _versions(self, role: str) -> list[Path]:
        paths = self.metadata.glob(f"*.{role}.json")
        return [path for path in paths if path.name.partition(".")[0].isdecimal()]

    def read(self, role: str) -> Metadata[Any]:
        """Return the newest metadata of a role.

        Raises:
            PublisherError: there is none, or it is damaged.
        """
        name = "timestamp.json" if role == "timestamp" else f"{self.version(role)}.{role}.json"
        try:
            return Metadata.from_bytes((self.metadata / name).read_bytes())
        except OSError as error:
            raise PublisherError(f"{self.folder}: no {role} here yet; see: keys init") from error
        except RepositoryError as error:
            raise PublisherError(f"{self.metadata / name}: {error}") from error

    def root(self) -> Root:
        """Return the newest root.

        Raises:
            PublisherError: there is none, or it is damaged.
        """
        found: Root = self.read("root").signed
        return found

    def targets(self) -> Targets:
        """Return the top targets, with the delegations.

        Raises:
            PublisherError: as `root`.
        """
        found: Targets = self.read("targets").signed
        return found

    def publishers(self) -> dict[str, list[str]]:
        """Return the delegated roles and the experts of each."""
        delegations = self.targets().delegations
        roles = (delegations.roles or {}) if delegations else {}
        return {
            name: sorted({path.split("/")[1] for path in role.paths or []})
            for name, role in roles.items()
        }

    def publisher_of(self, expert: str) -> str:
        """Return the role that speaks for an expert.

        Raises:
            PublisherError: none does.
        """
        for role, experts in self.publishers().items():
            if expert in experts:
                return role
        raise PublisherError(f"no publisher speaks for {expert!r}; see: keys delegate")

    def sign(
        self, role: str, signed: Root | Targets | Snapshot | Timestamp, signers: list[Signer]
    ) -> None:
        """Give a role its next version and write it, signed by enough of the keys that may.

        Raises:
            PublisherError: the keys are not this role's, or too few.
        """
        made = Metadata(signed)
        for signer in signers:
            made.sign(signer, append=True)
        root = self.root()
        try:
            above = self.targets() if role.startswith(PREFIX) else root
            above.verify_delegate(role, made.signed_bytes, made.signatures)
        except UnsignedMetadataError as error:
            raise PublisherError(
                f"{role}: {error}; sign with the keys that `keys show` lists for it"
            ) from error
        except ValueError as error:
            raise PublisherError(f"{role}: no such role; see: keys delegate") from error
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        self.write(self.metadata / name, made.to_bytes())

    def refresh(self, online: Signer, now: datetime) -> int:
        """Renew snapshot and timestamp over what is here; return the snapshot's version.

        Raises:
            PublisherError: a role's metadata is not signed as it must be, or the key is wrong.
        """
        meta: dict[str, MetaFile] = {}
        top = self.targets()
        for role in ["targets", *self.publishers()]:
            if not self.version(role):
                continue  # a publisher that has published nothing yet
            held = self.read(role)
            above = self.root() if role == "targets" else top
            try:
                above.verify_delegate(role, held.signed_bytes, held.signatures)
            except UnsignedMetadataError as error:
                raise PublisherError(f"{role}: {error}; nothing was renewed") from error
            if held.signed.expires <= now:
                raise PublisherError(
                    f"{role} expired on {held.signed.expires:%Y-%m-%d}; its keeper renews it with: "
                    "keys renew"
                )
            meta[f"{role}.json"] = MetaFile(version=held.signed.version)
        snapshot = Snapshot(
            version=self.version("snapshot") + 1,
            expires=self.late(now, self.days.snapshot),
            meta=meta,
        )
        self.sign("snapshot", snapshot, [online])
        number = 1
        if (self.metadata / "timestamp.json").exists():
            number = self.read("timestamp").signed.version + 1
        timestamp = Timestamp(
            version=number,
            expires=self.late(now, self.days.timestamp),
            snapshot_meta=MetaFile(version=snapshot.version),
        )
        self.sign("timestamp", timestamp, [online])
        return snapshot.version

    def put_manifest(self, data: bytes, name: str, release: int, custom: object) -> TargetFile:
        """Write a manifest where a client looks for it; return its entry.

        Raises:
            OSError: the disk says no.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = target_path(name, release)
        place = self.folder / "targets" / Path(path).with_name(f"{digest}.{NAME}")
        self.write(place, data)
        return TargetFile(len(data), {"sha256": digest}, path, {"custom": custom})

    def manifest(self, target: TargetFile) -> bytes:
        """Return the manifest of an entry.

        Raises:
            PublisherError: it is not here.
        """
        digest = target.hashes["sha256"]
        place = self.folder / "targets" / Path(target.path).with_name(f"{digest}.{NAME}")
        try:
            return place.read_bytes()
        except OSError as error:
            raise PublisherError(f"{place}: {error.strerror}; the repository is damaged") from error

    def late(self, now: datetime, days: int) -> datetime:
        """Return when something that is signed now expires."""
        return now.astimezone(UTC).replace(microsecond=0) + timedelta(days=days)

    def write(self, path: Path, data: bytes) -> None:
        """Write a file that a web server may read, wholly or not at all.

        Raises:
            OSError: the disk says no.
        """
        make_folders(path.parent)
        replace_file(path, data)
        path.chmod(0o644)


def target_path(name: str, release: int) -> str:
    """Return the path of a release's manifest as TUF names it."""
    return f"experts/{name}/{release}/{NAME}"
