"""A publisher's repository made on the spot: keys, roles, targets and blobs, as files by path.

It can be made wrong in every way that a thief of some keys, a mirror or a careless publisher could.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fakes.published import published
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP = ("root", "timestamp", "snapshot", "targets")
# Making a key takes longer than all the rest.
_POOL: dict[str, CryptoSigner] = {}


def signer(name: str) -> CryptoSigner:
    """A key that is the same in all tests."""
    if name not in _POOL:
        _POOL[name] = CryptoSigner.generate_ed25519()
    return _POOL[name]


@dataclass
class Repository:
    """What is served; `publish` changes it, and `put` writes what the roles say now."""

    publishers: dict[str, list[str]] = field(default_factory=lambda: {"publisher-a": ["one"]})
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signers: dict[str, list[CryptoSigner]] = {
            "root": [signer("root-1"), signer("root-2")],
            **{role: [signer(role)] for role in TOP[1:]},
            **{name: [signer(name)] for name in self.publishers},
        }
        late = self.now + timedelta(days=365)
        root = Root(version=1, expires=late, consistent_snapshot=True)
        for role in TOP:
            for each in self.signers[role]:
                root.add_key(each.public_key, role)
        root.add_key(signer("root-3").public_key, "root")
        root.roles["root"].threshold = 2
        self.root = root
        self.targets = Targets(version=1, expires=self.now + timedelta(days=90))
        self.targets.delegations = Delegations(
            {signer(name).public_key.keyid: signer(name).public_key for name in self.publishers},
            {
                name: DelegatedRole(
                    name,
                    [signer(name).public_key.keyid],
                    1,
                    True,  # noqa: FBT003 - terminating, as tuf has it
                    [f"experts/{expert}/*/manifest.json" for expert in experts],
                )
                for name, experts in self.publishers.items()
            },
        )
        self.roles = {
            name: Targets(version=1, expires=self.now + timedelta(days=90))
            for name in self.publishers
        }
        self.snapshot = Snapshot(version=1, expires=self.now + timedelta(days=7))
        self.timestamp = Timestamp(version=1, expires=self.now + timedelta(days=1))
        self.put()

    @property
    def bootstrap(self) -> bytes:
        """The first root, as an owner has it in a file."""
        return self.files["metadata/1.root.json"]

    def publish(
        self,
        name: str = "one",
        release: int = 1,
        held: Mapping[str, bytes] | None = None,
        *,
        publisher: str = "publisher-a",
        channels: list[str] | None = None,
        **more: object,
    ) -> bytes:
        """Publish a release of an expert; return its manifest."""
        content = {"model.bin": f"model {name} {release}".encode()} if held is None else held
        data = published(name, release, content, **more)
        for blob in content.values():
            digest = hashlib.sha256(blob).hexdigest()
            self.files[f"blobs/sha256/{digest[:2]}/{digest}"] = blob
        self.add(f"experts/{name}/{release}/manifest.json", data, publisher, channels)
        return data

    def add(
        self, path: str, data: bytes, role: str = "publisher-a", channels: list[str] | None = None
    ) -> None:
        """Add a target to a role, and write everything anew."""
        target = TargetFile.from_data(path, data, ["sha256"])
        if channels is not None:
            target.unrecognized_fields["custom"] = {"channels": channels}
        (self.targets if role == "targets" else self.roles[role]).targets[path] = target
        folder, _, name = path.rpartition("/")
        self.files[f"targets/{folder}/{hashlib.sha256(data).hexdigest()}.{name}"] = data
        self.next()

    def next(self) -> None:
        """Let every role below root have a next version, and write them."""
        for each in (*self.roles.values(), self.targets, self.snapshot, self.timestamp):
            each.version += 1
        self.put()

    def put(self) -> None:
        """Write root, if it is new, and all below it."""
        path = f"metadata/{self.root.version}.root.json"
        if path not in self.files:
            self.files[path] = self.sign("root", self.root)
        metas = {}
        for name, role in (("targets", self.targets), *self.roles.items()):
            self.files[f"metadata/{role.version}.{name}.json"] = self.sign(name, role)
            metas[f"{name}.json"] = MetaFile(role.version)
        self.snapshot.meta = metas
        self.put_snapshot()

    def put_snapshot(self) -> None:
        """Write snapshot and timestamp as they are."""
        data = self.sign("snapshot", self.snapshot)
        self.files[f"metadata/{self.snapshot.version}.snapshot.json"] = data
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.put_timestamp()

    def put_timestamp(self) -> None:
        """Write the timestamp as it is."""
        self.files["metadata/timestamp.json"] = self.sign("timestamp", self.timestamp)

    def rotate(self, change: Callable[[Root], None] = lambda _root: None) -> None:
        """Publish a next root with some change; the same keys vouch for it."""
        self.root.version += 1
        change(self.root)
        self.files[f"metadata/{self.root.version}.root.json"] = self.sign("root", self.root)

    def sign(self, name: str, signed: Root | Timestamp | Snapshot | Targets) -> bytes:
        """Return signed metadata, by whoever holds the keys of that role now."""
        metadata = Metadata(signed)
        for number, each in enumerate(self.signers[name]):
            metadata.sign(each, append=number > 0)
        return metadata.to_bytes(JSONSerializer(compact=True))
