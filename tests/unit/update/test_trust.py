"""The client workflow of the TUF specification 1.0.34 (section 5), and what is kept on the disk.

The same cases as the conformance suite's, made anew from the specification.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.mirror import Mirror, on
from fakes.repository import Repository, signer
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, Root, Targets

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import origin_of
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.update.conformance import main as conformance
from aiosd.update.download import Clockwork
from aiosd.update.fetcher import Reader
from aiosd.update.trust import Offer, Session, Trust


@dataclass
class Remembered:
    """The ledger's memory."""

    marks: dict[str, float] = field(default_factory=dict)

    def time_floor(self) -> float:
        return self.marks.get("time", 0.0)

    def raise_time_floor(self, at: float) -> None:
        self.marks["time"] = max(at, self.time_floor())

    def metadata_version(self, role: str) -> int:
        return int(self.marks.get(role, 0))

    def raise_metadata_versions(self, versions: Mapping[str, int]) -> None:
        for role, version in versions.items():
            self.marks[role] = max(version, self.metadata_version(role))


@dataclass
class Client:
    """A client of one repository."""

    repository: Repository
    mirror: Mirror
    folder: Path
    memory: Remembered = field(default_factory=Remembered)
    bootstrap: bytes = b""

    def __post_init__(self) -> None:
        self.bootstrap = self.repository.bootstrap
        self.wall = self.repository.now.timestamp()

    def find(self, *paths: str) -> list[Offer | None]:
        """Refresh, and ask for targets."""
        origin = origin_of(self.mirror.url, stall_seconds=2.0)
        trust = Trust(self.folder, self.memory, now=lambda: self.wall)
        reader = Reader(origin, PaceRules(), Clockwork(lambda: 0.0, lambda _seconds: None))
        try:
            with trust.open(reader, "metadata/", self.bootstrap) as session:
                self.session: Session = session
                return [session.find(path) for path in paths]
        finally:
            origin.close()

    def fault(self) -> Fault | None:
        try:
            self.find()
        except UpdateError as error:
            return error.fault
        return None

    def version(self, role: str) -> int:
        """Return the version that is kept, 0 if none is."""
        try:
            data = (self.folder / f"{role}.json").read_bytes()
        except FileNotFoundError:
            return 0
        return int(json.loads(data)["signed"]["version"])

    @property
    def asked(self) -> list[str]:
        return [path.removeprefix("metadata/") for path in self.mirror.paths]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    repository = Repository()
    with Mirror(repository.files) as mirror:
        yield Client(repository, mirror, tmp_path / "metadata")


def test_a_refresh_asks_in_the_order_of_the_specification_and_keeps_all(client: Client) -> None:
    assert client.fault() is None
    assert client.asked == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert [client.version(role) for role in ("root", "timestamp", "snapshot", "targets")] == [
        1
    ] * 4
    kept = (client.folder / "timestamp.json").read_bytes()
    assert kept == client.repository.files["metadata/timestamp.json"]


def test_a_second_refresh_asks_for_root_and_timestamp_only(client: Client) -> None:
    client.find()
    client.mirror.asked.clear()
    client.find()
    assert client.asked == ["2.root.json", "timestamp.json"]


def test_roots_are_followed_one_by_one_and_kept_with_their_history(client: Client) -> None:
    for _ in range(3):
        client.repository.rotate()
    client.find()
    assert client.asked[:4] == [f"{number}.root.json" for number in (2, 3, 4, 5)]
    assert client.version("root") == 4
    kept = sorted(path.name for path in (client.folder / "root_history").iterdir())
    assert kept == [f"{number}.root.json" for number in (1, 2, 3, 4)]
    client.mirror.asked.clear()
    client.find()
    assert client.asked[0] == "5.root.json", "history is not fetched again"


def test_a_root_must_be_signed_by_the_old_keys(client: Client) -> None:
    repository = client.repository

    def other(root: Root) -> None:
        for number in (1, 2, 3):
            root.revoke_key(signer(f"root-{number}").public_key.keyid, "root")
        for number in (7, 8):
            root.add_key(signer(f"root-{number}").public_key, "root")
        repository.signers["root"] = [signer("root-7"), signer("root-8")]

    repository.rotate(other)
    assert client.fault() is Fault.UNSIGNED
    assert client.version("root") == 1


def test_a_root_must_be_signed_by_the_new_keys_too(client: Client) -> None:
    def other(root: Root) -> None:
        for number in (1, 2):
            root.revoke_key(signer(f"root-{number}").public_key.keyid, "root")
        root.add_key(signer("root-7").public_key, "root")

    client.repository.rotate(other)
    assert client.fault() is Fault.UNSIGNED


def test_a_root_signed_by_both_changes_the_keys(client: Client) -> None:
    repository = client.repository

    def other(root: Root) -> None:
        root.revoke_key(signer("root-1").public_key.keyid, "root")
        root.add_key(signer("root-7").public_key, "root")

    repository.signers["root"] = [signer("root-1"), signer("root-2"), signer("root-7")]
    repository.rotate(other)
    repository.signers["root"] = [signer("root-2"), signer("root-7")]
    repository.rotate()
    assert client.fault() is None
    assert client.version("root") == 3


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_root_is_of_the_version_that_its_name_says(client: Client, version: int) -> None:
    client.repository.root.version = version
    data = client.repository.sign("root", client.repository.root)
    client.mirror.files["metadata/2.root.json"] = data
    assert client.fault() is Fault.ROLLBACK
    assert client.version("root") == 1


def test_an_expired_root_on_the_way_is_no_harm(client: Client) -> None:
    repository = client.repository
    late = repository.root.expires
    repository.rotate(lambda root: setattr(root, "expires", repository.now - timedelta(days=1)))
    repository.rotate(lambda root: setattr(root, "expires", late))
    assert client.fault() is None
    assert client.version("root") == 3


def test_an_expired_last_root_is_kept_and_refused(client: Client) -> None:
    repository = client.repository
    repository.rotate(lambda root: setattr(root, "expires", repository.now - timedelta(days=1)))
    assert client.fault() is Fault.EXPIRED
    assert client.version("root") == 2
    assert client.version("timestamp") == 0


def test_a_timestamp_of_the_same_version_is_not_taken_again(client: Client) -> None:
    client.find()
    kept = (client.folder / "timestamp.json").read_bytes()
    client.repository.timestamp.expires += timedelta(hours=1)
    client.repository.put_timestamp()
    client.find()
    assert (client.folder / "timestamp.json").read_bytes() == kept


def test_what_came_before_a_bad_snapshot_is_kept(client: Client) -> None:
    client.find()
    client.repository.next()
    path = f"metadata/{client.repository.snapshot.version}.snapshot.json"
    client.mirror.files[path] = b"{}"
    assert client.fault() is Fault.BAD_METADATA
    assert (client.version("timestamp"), client.version("snapshot")) == (2, 1)


def test_a_snapshot_may_not_lower_a_roles_version(client: Client) -> None:
    client.repository.next()
    client.find()
    client.repository.snapshot.version += 1
    client.repository.timestamp.version += 1
    client.repository.snapshot.meta["targets.json"] = MetaFile(1)
    client.repository.put_snapshot()
    assert client.fault() is Fault.ROLLBACK


def test_a_snapshot_may_not_drop_a_role(client: Client) -> None:
    client.find()
    client.repository.snapshot.version += 1
    client.repository.timestamp.version += 1
    del client.repository.snapshot.meta["publisher-a.json"]
    client.repository.put_snapshot()
    assert client.fault() is Fault.BAD_METADATA


def test_a_snapshots_hash_is_checked_where_the_timestamp_has_one(client: Client) -> None:
    data = client.repository.files["metadata/1.snapshot.json"]
    client.repository.timestamp.snapshot_meta = MetaFile.from_data(1, data, ["sha256"])
    client.repository.put_timestamp()
    assert client.fault() is None
    client.repository.next()
    path = f"metadata/{client.repository.snapshot.version}.snapshot.json"
    data = client.repository.files[path]
    client.repository.timestamp.snapshot_meta = MetaFile.from_data(2, data + b" ", ["sha256"])
    client.repository.timestamp.version += 1
    client.repository.put_timestamp()
    assert client.fault() is Fault.MISMATCH


def delegate(
    repository: Repository, parent: Targets, name: str, paths: list[str], *, terminating: bool
) -> Targets:
    """Let a role speak for paths."""
    if parent.delegations is None:
        parent.delegations = Delegations({}, {})
    key = signer(name).public_key
    parent.delegations.keys[key.keyid] = key
    assert parent.delegations.roles is not None
    parent.delegations.roles[name] = DelegatedRole(name, [key.keyid], 1, terminating, paths)
    repository.signers[name] = [signer(name)]
    repository.roles[name] = Targets(version=1, expires=repository.targets.expires)
    return repository.roles[name]


def test_delegations_are_searched_in_order_and_in_depth_first(client: Client) -> None:
    repository = client.repository
    first = delegate(repository, repository.targets, "first", ["x/*"], terminating=False)
    delegate(repository, repository.targets, "second", ["x/*"], terminating=False)
    delegate(repository, first, "child", ["x/*"], terminating=False)
    repository.add("x/a", b"of the second", "second")
    (found,) = client.find("x/a")
    assert found is not None
    assert found.size == len(b"of the second")
    roles = [path.split(".")[1] for path in client.asked[-3:]]
    assert roles == ["first", "child", "second"]
    repository.add("x/a", b"of the child!", "child")
    (found,) = client.find("x/a")
    assert found is not None
    assert found.sha256 == Offer("x/a", repository.roles["child"].targets["x/a"]).sha256


def test_nobody_is_asked_after_a_terminating_delegation(client: Client) -> None:
    repository = client.repository
    delegate(repository, repository.targets, "first", ["x/*"], terminating=True)
    delegate(repository, repository.targets, "second", ["x/*"], terminating=False)
    repository.add("x/a", b"of the second", "second")
    assert client.find("x/a") == [None]
    assert not any(".second." in path for path in client.asked)


def test_a_role_speaks_for_its_paths_only(client: Client) -> None:
    repository = client.repository
    delegate(repository, repository.targets, "first", ["x/*"], terminating=False)
    for path in ("y/a", "x/deep/a", "a"):
        repository.add(path, b"not its own", "first")
    assert client.find("y/a", "x/deep/a", "a") == [None, None, None]


def test_delegations_in_a_circle_end(client: Client) -> None:
    repository = client.repository
    first = delegate(repository, repository.targets, "first", ["x/*"], terminating=False)
    second = delegate(repository, first, "second", ["x/*"], terminating=False)
    delegate(repository, second, "first", ["x/*"], terminating=False)
    repository.roles["first"] = first
    repository.next()
    assert client.find("x/a") == [None]


def test_a_cached_role_is_checked_against_whoever_delegates_to_it_now(client: Client) -> None:
    repository = client.repository
    delegate(repository, repository.targets, "first", ["x/*"], terminating=False)
    repository.add("x/a", b"was vouched for", "first")
    assert client.find("x/a")[0] is not None
    delegations = repository.targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    other = signer("another")
    delegations.keys[other.public_key.keyid] = other.public_key
    delegations.roles["first"].keyids = [other.public_key.keyid]
    repository.targets.version += 1
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.put()
    with pytest.raises(UpdateError) as caught:
        client.find("x/a")
    assert caught.value.fault is Fault.UNSIGNED


def test_the_time_that_has_been_is_never_beyond_what_the_repository_vouches_for(
    client: Client,
) -> None:
    client.wall += 0.5 * 86_400
    client.find()
    assert client.memory.time_floor() == client.wall
    client.wall += 300 * 86_400
    client.find()
    assert client.memory.time_floor() == client.repository.timestamp.expires.timestamp()


def test_floors_begin_again_with_new_online_keys_but_never_for_root(client: Client) -> None:
    client.repository.rotate()
    client.find()
    eras = {key.partition("@")[2] for key in client.memory.marks if "@" in key}
    assert client.memory.metadata_version("root") == 2

    def other(root: Root) -> None:
        root.revoke_key(signer("timestamp").public_key.keyid, "timestamp")
        root.add_key(signer("timestamp-2").public_key, "timestamp")
        client.repository.signers["timestamp"] = [signer("timestamp-2")]

    client.repository.rotate(other)
    client.repository.put()
    client.find()
    assert {key.partition("@")[2] for key in client.memory.marks if "@" in key} > eras
    assert client.memory.metadata_version("root") == 3


def test_a_cut_at_any_moment_leaves_metadata_that_the_next_run_goes_on_from(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutError(BaseException):
        pass

    client.find()
    for cut in range(6):
        client.repository.rotate()
        client.repository.next()
        left = [cut]

        def replace(path: Path, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise CutError
            left[0] -= 1
            path.write_bytes(data)

        monkeypatch.setattr("aiosd.update.trust.replace_file", replace)
        with contextlib.suppress(CutError):
            client.find("experts/one/0/manifest.json")
        monkeypatch.undo()
        assert client.fault() is None
        assert client.version("timestamp") == client.repository.timestamp.version


def test_metadata_is_not_asked_for_where_the_clock_is_wrong(client: Client) -> None:
    client.find()
    client.mirror.asked.clear()
    client.wall -= 86_400.0
    assert client.fault() is Fault.CLOCK_UNTRUSTED
    assert client.asked == []


# ── the command line of the conformance suite ────────────────────────────────────────────────


def words(client: Client, *more: str) -> list[str]:
    return [
        "--metadata-dir",
        str(client.folder),
        "--metadata-url",
        f"{client.mirror.url}/metadata",
        *more,
    ]


def test_the_conformance_client_keeps_to_its_contract(client: Client, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(client.bootstrap)
    base = ["--target-base-url", f"{client.mirror.url}/targets", "--target-dir", str(tmp_path)]
    assert conformance(["--metadata-dir", str(client.folder), "init", str(root)]) == 0
    assert client.mirror.asked == [], "init asks nobody"
    assert conformance(words(client, "refresh")) == 0
    assert client.version("targets") == 1
    client.repository.add("a/b c.txt", b"the target", "targets")
    assert conformance(words(client, *base, "--target-name", "a/b c.txt", "download")) == 0
    assert (tmp_path / "a%2Fb c.txt").read_bytes() == b"the target"
    before = len(client.mirror.asked)
    assert conformance(words(client, *base, "--target-name", "a/b c.txt", "download")) == 0
    assert not any(path.startswith("targets/") for path in client.mirror.paths[before:])
    assert conformance(words(client, *base, "--target-name", "none", "download")) == 1
    client.mirror.mischief = on("timestamp.json", lambda handler: handler.answer(500, b""))
    assert conformance(words(client, "refresh")) == 1
