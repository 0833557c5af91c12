"""The attack list on updates: one test each, the word for it, and the old release serves on.

The names are those of the TUF specification 1.0.34 and of Uptane, then our own. Attacks on single
blobs and connections that need no repository are in `test_download.py` and `net/test_blob.py`.
"""

import errno
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.mirror import Handler, on
from fakes.repository import Repository, signer
from fakes.updating import Board, digest, updating
from tuf.api.metadata import DelegatedRole, MetaFile, Root
from tuf.ngclient._internal import trusted_metadata_set

from aiosd.domain.errors import PackageError
from aiosd.domain.rollout import State
from aiosd.domain.update import Fault
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.store import failpoint
from aiosd.store.digests import Digests
from aiosd.update import trust
from aiosd.update import updater as updater_module

MODEL = bytes(range(256)) * 400
DAY = 86_400.0
STOLEN = "stolen"


@pytest.fixture
def attacked(board: Board) -> Iterator[Board]:
    """A board that has once heard of release 2 and not taken it, and is attacked from then on.

    Whatever a test does to it, release 1 must serve when it is over.
    """
    board.repository.publish("one", 2, {"model.bin": MODEL}, rollout={"percent": 0})
    assert board.one().result == "waiting"
    yield board
    assert board.still_serves_the_old_one()


def offer(
    board: Board, release: int = 3, held: dict[str, bytes] | None = None, **more: object
) -> bytes:
    return board.repository.publish("one", release, held or {"model.bin": MODEL}, **more)


def blob_path(data: bytes) -> str:
    return f"blobs/sha256/{digest(data)[:2]}/{digest(data)}"


# ── the list of the TUF specification ────────────────────────────────────────────────────────


def test_attack_arbitrary_install_of_a_tampered_model_is_a_mismatch(attacked: Board) -> None:
    offer(attacked)
    attacked.mirror.files[blob_path(MODEL)] = MODEL[::-1]
    assert attacked.fault() is Fault.MISMATCH
    assert attacked.releases.installed("one") == [1]
    # A bad mirror must not have a good release refused for ever.
    attacked.mirror.files[blob_path(MODEL)] = MODEL
    assert attacked.one().result == "staged"


def test_attack_arbitrary_install_of_a_tampered_manifest_is_a_mismatch(attacked: Board) -> None:
    data = offer(attacked)
    (path,) = (each for each in attacked.mirror.files if digest(data) in each)
    attacked.mirror.files[path] = data.replace(b'"echo"', b'"lyre"')
    assert attacked.fault() is Fault.MISMATCH


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "publisher-a"])
def test_attack_arbitrary_install_signed_by_nobody_known_is_unsigned(
    attacked: Board, role: str
) -> None:
    attacked.repository.signers[role] = [signer(STOLEN)]
    offer(attacked)
    assert attacked.fault() is Fault.UNSIGNED


@contextmanager
def judged_then(board: Board) -> Iterator[None]:
    """Have tuf judge what is expired by the board's clock, not this machine's."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(board.wall, tz)

    then = SimpleNamespace(datetime=Then, timezone=SimpleNamespace(utc=UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trusted_metadata_set, "datetime", then)
        yield


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")


@pytest.mark.parametrize(
    "path", ["timestamp.json", ".snapshot.json", ".targets.json", ".root.json", ".manifest.json"]
)
def test_attack_endless_data_ends_at_the_limit_of_each_file(attacked: Board, path: str) -> None:
    offer(attacked)
    attacked.mirror.sent = 0
    attacked.mirror.mischief = on(path, endless)
    assert attacked.fault() is Fault.TOO_LONG
    # The kernel's buffers take some more than is read.
    assert attacked.mirror.sent < trust.SNAPSHOT_BYTES + 8_000_000


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_attack_endless_data_of_a_length_that_was_signed_for_ends_all_the_same(
    attacked: Board, role: str
) -> None:
    # Who stole the online keys can sign for any length.
    repository = attacked.repository
    offer(attacked)
    meta = MetaFile(repository.targets.version, length=10**10)
    if role == "targets":
        repository.snapshot.meta["targets.json"] = meta
        repository.put_snapshot()
    else:
        repository.timestamp.snapshot_meta = MetaFile(repository.snapshot.version, length=10**10)
        repository.put_timestamp()
    attacked.mirror.sent = 0
    attacked.mirror.mischief = on(f".{role}.json", endless)
    assert attacked.fault() is Fault.TOO_LONG
    assert attacked.mirror.sent < trust.SNAPSHOT_BYTES + 8_000_000


def test_attack_endless_data_in_a_blob_ends_at_its_signed_size(attacked: Board) -> None:
    offer(attacked)
    attacked.mirror.mischief = on(digest(MODEL), endless)
    assert attacked.fault() is Fault.TOO_LONG


def test_attack_extraneous_dependency_added_by_a_mirror_is_too_long(attacked: Board) -> None:
    data = offer(attacked)
    (path,) = (each for each in attacked.mirror.files if digest(data) in each)
    tree = json.loads(data)
    tree["files"].append({"path": "more.bin", "size": 1, "sha256": "0" * 64, "role": ""})
    attacked.mirror.files[path] = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    assert attacked.fault() is Fault.TOO_LONG


def test_attack_fast_forward_is_overcome_by_new_keys(attacked: Board) -> None:
    repository = attacked.repository
    before = repository.timestamp.version, repository.snapshot.version
    # Who stole the online keys sets versions so high that no honest one can follow.
    repository.timestamp.version = repository.snapshot.version = 2**31
    repository.put_snapshot()
    assert attacked.one().result == "waiting"
    repository.timestamp.version, repository.snapshot.version = before
    offer(attacked)
    assert attacked.fault() is Fault.ROLLBACK

    def new_keys(root: Root) -> None:
        for role in ("timestamp", "snapshot"):
            root.revoke_key(signer(role).public_key.keyid, role)
            root.add_key(signer(f"new-{role}").public_key, role)
            repository.signers[role] = [signer(f"new-{role}")]

    repository.rotate(new_keys)
    repository.put()
    assert attacked.one().result == "staged"


def test_attack_indefinite_freeze_is_found_out_when_the_timestamp_expires(attacked: Board) -> None:
    attacked.repository.now += timedelta(days=2)
    attacked.wall += 2 * DAY
    with judged_then(attacked):
        assert attacked.fault() is Fault.EXPIRED


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "publisher-a"])
def test_attack_indefinite_freeze_of_any_role_is_expired(attacked: Board, role: str) -> None:
    repository = attacked.repository
    past = repository.now - timedelta(days=1)
    if role == "root":
        repository.rotate(lambda root: setattr(root, "expires", past))
    else:
        signed = {
            "timestamp": repository.timestamp,
            "snapshot": repository.snapshot,
            "targets": repository.targets,
            **repository.roles,
        }[role]
        signed.expires = past
    offer(attacked)
    assert attacked.fault() is Fault.EXPIRED


def test_attack_mix_and_match_of_snapshots_is_a_rollback(attacked: Board) -> None:
    repository = attacked.repository
    older = repository.files[f"metadata/{repository.snapshot.version}.snapshot.json"]
    offer(attacked)
    attacked.mirror.files[f"metadata/{repository.snapshot.version}.snapshot.json"] = older
    assert attacked.fault() is Fault.ROLLBACK


@pytest.mark.parametrize("role", ["targets", "publisher-a"])
def test_attack_mix_and_match_of_targets_is_a_rollback(attacked: Board, role: str) -> None:
    repository = attacked.repository
    signed = repository.targets if role == "targets" else repository.roles[role]
    older = repository.files[f"metadata/{signed.version}.{role}.json"]
    offer(attacked)
    attacked.mirror.files[f"metadata/{signed.version}.{role}.json"] = older
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_mix_and_match_is_a_mismatch_where_hashes_are_signed(attacked: Board) -> None:
    repository = attacked.repository
    offer(attacked)
    data = repository.files[f"metadata/{repository.targets.version}.targets.json"]
    repository.snapshot.meta["targets.json"] = MetaFile.from_data(
        repository.targets.version, data, ["sha256"]
    )
    repository.put_snapshot()
    repository.targets.expires += timedelta(days=1)
    path = f"metadata/{repository.targets.version}.targets.json"
    attacked.mirror.files[path] = repository.sign("targets", repository.targets)
    assert attacked.fault() is Fault.MISMATCH


def test_attack_rollback_of_the_timestamp_is_refused(attacked: Board) -> None:
    older = dict(attacked.repository.files)
    offer(attacked)
    attacked.repository.roles["publisher-a"].targets.clear()
    attacked.repository.next()
    assert attacked.one().result == "current"
    attacked.mirror.files = older
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_rollback_of_the_snapshot_by_a_stolen_timestamp_key_is_refused(
    attacked: Board,
) -> None:
    repository = attacked.repository
    repository.timestamp.version += 1
    repository.timestamp.snapshot_meta = MetaFile(repository.snapshot.version - 1)
    repository.put_timestamp()
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_rollback_of_targets_by_stolen_online_keys_is_refused(attacked: Board) -> None:
    repository = attacked.repository
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.snapshot.meta["targets.json"] = MetaFile(repository.targets.version - 1)
    repository.put_snapshot()
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_rollback_to_a_release_below_the_floor_is_refused(attacked: Board) -> None:
    attacked.ledger.raise_floor("one", 5)
    offer(attacked, 4)
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_slow_retrieval_of_metadata_is_given_up(
    attacked: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(attacked)

    def trickle(handler: Handler) -> None:
        data = attacked.mirror.files[handler.path.lstrip("/")]
        handler.answer(200, b"", {"Content-Length": str(len(data))})
        for byte in data:
            attacked.tick += 20.0
            handler.send(bytes([byte]))

    attacked.mirror.mischief = on("timestamp.json", trickle)
    monkeypatch.setattr(updater_module, "PaceRules", lambda cap, least: PaceRules(cap, least, 30.0))
    assert attacked.fault() is Fault.TOO_SLOW


def test_attack_wrong_software_of_another_name_is_refused(attacked: Board) -> None:
    other = attacked.repository.publish("one", 9, {"model.bin": MODEL})
    attacked.repository.roles["publisher-a"].targets.pop("experts/one/9/manifest.json")
    attacked.repository.add("experts/one/3/manifest.json", other)
    assert attacked.fault() is Fault.WRONG_RELEASE
    assert attacked.row_state() is None


def test_attack_wrong_software_for_other_hardware_is_never_fetched(attacked: Board) -> None:
    offer(attacked, requires={"arch": ["armv6l"]})
    assert "armv6l" in attacked.one().reason
    assert not any(path == blob_path(MODEL) for path in attacked.mirror.paths)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[" * 100_000, b'{"a":1,"a":1}', b"\xff\xfe", b"1" * 5000]
)
def test_attack_wrong_software_that_is_no_manifest_is_refused(attacked: Board, data: bytes) -> None:
    attacked.repository.add("experts/one/3/manifest.json", data)
    assert attacked.fault() is Fault.WRONG_RELEASE


def test_attack_a_manifest_larger_than_any_may_be_is_not_fetched(attacked: Board) -> None:
    attacked.repository.add("experts/one/3/manifest.json", bytes(256 * 1024 + 1))
    assert attacked.fault() is Fault.TOO_LONG


def test_attack_key_compromise_below_the_threshold_of_root_is_unsigned(attacked: Board) -> None:
    repository = attacked.repository
    repository.signers["root"] = [signer("root-1")]
    repository.rotate(lambda root: root.add_key(signer(STOLEN).public_key, "targets"))
    assert attacked.fault() is Fault.UNSIGNED


def test_attack_the_same_root_key_twice_is_still_one_signature(attacked: Board) -> None:
    repository = attacked.repository
    repository.signers["root"] = [signer("root-1"), signer("root-1")]
    repository.rotate()
    assert attacked.fault() is Fault.UNSIGNED


def test_attack_a_stolen_publisher_key_reaches_no_other_publishers_expert(tmp_path: Path) -> None:
    repository = Repository(publishers={"publisher-a": ["one"], "publisher-b": ["two"]})
    with updating(tmp_path, repository) as board:
        board.repository.publish("one", 9, {"model.bin": MODEL}, publisher="publisher-b")
        assert board.one().result == "current"
        assert board.still_serves_the_old_one()


# ── Uptane's ─────────────────────────────────────────────────────────────────────────────────


def test_attack_drop_request_leaves_all_as_it_is(attacked: Board) -> None:
    offer(attacked)
    attacked.mirror.mischief = lambda handler, _path: handler.hang_up() is None
    assert attacked.fault() is Fault.BROKEN_OFF


def test_attack_partial_bundle_without_a_role_is_bad_metadata(attacked: Board) -> None:
    repository = attacked.repository
    offer(attacked)
    del repository.snapshot.meta["publisher-a.json"]
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.put_snapshot()
    assert attacked.fault() is Fault.BAD_METADATA


def test_attack_partial_bundle_without_a_blob_is_not_staged(attacked: Board) -> None:
    attacked.repository.publish("one", 3, {"model.bin": MODEL, "words.txt": b"words"})
    del attacked.mirror.files[blob_path(b"words")]
    assert attacked.fault() is Fault.NOT_FOUND
    assert attacked.releases.installed("one") == [1]
    assert attacked.row_state() is State.PLANNED


def test_attack_replay_of_an_earlier_day_is_refused(attacked: Board) -> None:
    earlier = dict(attacked.repository.files)
    offer(attacked, rollout={"percent": 0})
    attacked.one()
    attacked.mirror.files = earlier
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_eavesdropper_on_plain_http_learns_nothing_of_the_board(attacked: Board) -> None:
    seen: list[str] = []

    def listen(handler: Handler, _path: str) -> bool:
        seen.append(f"{handler.requestline} {handler.headers}")
        return False

    attacked.mirror.mischief = listen
    attacked.device = "a-secret-name-of-this-board"
    offer(attacked)
    attacked.one()
    assert seen
    assert not any(attacked.device in each for each in seen)


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def test_attack_clock_set_back_is_untrusted_and_the_experts_serve_on(attacked: Board) -> None:
    offer(attacked)
    attacked.wall -= 2 * DAY
    before = len(attacked.mirror.asked)
    assert attacked.fault() is Fault.CLOCK_UNTRUSTED
    assert len(attacked.mirror.asked) == before
    attacked.wall += 2 * DAY
    assert attacked.one().result == "staged"


def test_a_clock_that_lost_less_than_an_hour_is_trusted(attacked: Board) -> None:
    attacked.wall -= 3500.0
    assert attacked.one().result == "waiting"
    attacked.wall -= 200.0
    assert attacked.fault() is Fault.CLOCK_UNTRUSTED


def test_attack_clock_set_back_before_this_code_was_written_is_untrusted(tmp_path: Path) -> None:
    with updating(tmp_path) as board:
        board.wall = trust.BUILT - 1
        assert board.fault() is Fault.CLOCK_UNTRUSTED


def test_attack_clock_set_forward_refuses_and_does_no_lasting_harm(attacked: Board) -> None:
    offer(attacked)
    attacked.wall += 400 * DAY
    with judged_then(attacked):
        assert attacked.fault() is Fault.EXPIRED
    attacked.wall -= 400 * DAY
    assert attacked.one().result == "staged"


def test_attack_all_local_metadata_zeroed_and_an_old_repository_is_a_rollback(
    attacked: Board,
) -> None:
    old = dict(attacked.repository.files)
    offer(attacked, rollout={"percent": 0})
    attacked.one()
    for path in attacked.metadata.rglob("*.json"):
        path.write_bytes(bytes(path.stat().st_size))
    attacked.mirror.files = old
    assert attacked.fault() is Fault.ROLLBACK


def test_attack_all_local_metadata_gone_and_an_old_repository_is_a_rollback(
    attacked: Board,
) -> None:
    old = dict(attacked.repository.files)
    attacked.repository.rotate()
    offer(attacked, rollout={"percent": 0})
    attacked.one()
    shutil.rmtree(attacked.metadata)
    attacked.mirror.files = old
    assert attacked.fault() is Fault.ROLLBACK
    # The same repository as it is now brings everything back.
    attacked.mirror.files = attacked.repository.files
    assert attacked.one().result == "waiting"


def test_attack_root_rotated_256_times_has_an_end(
    attacked: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trust.MOST_ROTATIONS == 256
    monkeypatch.setattr(trust, "MOST_ROTATIONS", 8)
    for _ in range(12):
        attacked.repository.rotate()
    offer(attacked)
    attacked.mirror.asked.clear()
    assert attacked.one().result == "staged"
    asked = [path for path in attacked.mirror.paths if path.endswith(".root.json")]
    assert len(asked) == 8


def test_attack_same_name_in_two_delegations_is_the_first_ones(tmp_path: Path) -> None:
    repository = Repository(publishers={"publisher-a": ["one"], "publisher-b": ["one"]})
    with updating(tmp_path, repository) as board:
        evil = repository.publish("one", 3, {"model.bin": MODEL}, publisher="publisher-b")
        assert board.one().result == "current"
        good = repository.publish("one", 3, {"model.bin": b"good"}, publisher="publisher-a")
        assert evil != good
        assert board.one().result == "staged"
        row = board.ledger.row("one")
        assert row is not None
        assert row.sha256 == digest(good)


def test_attack_delegations_without_end_are_not_followed(attacked: Board) -> None:
    repository = attacked.repository
    delegations = repository.targets.delegations
    assert delegations is not None
    names = [f"deep-{number:02}" for number in range(20)]
    for name in names:
        repository.signers[name] = [signer("deep")]
        repository.roles[name] = type(repository.targets)(
            version=1, expires=repository.targets.expires
        )
        delegations.keys[signer("deep").public_key.keyid] = signer("deep").public_key
        delegations.roles[name] = DelegatedRole(
            name,
            [signer("deep").public_key.keyid],
            1,
            False,  # noqa: FBT003 - not terminating
            ["experts/deep/*/manifest.json"],
        )
    repository.publish("deep", 1, publisher=names[-1])
    assert attacked.run(["deep"])[0].result == "unknown"
    assert len([path for path in attacked.mirror.paths if ".deep-" in path]) <= 8


@pytest.mark.parametrize("to", ["file:///etc/hostname", "http://192.0.2.1/x", "https://x.example/"])
@pytest.mark.parametrize("path", ["timestamp.json", ".manifest.json", digest(MODEL)])
def test_attack_redirect_to_a_file_or_another_host_stops_the_update(
    attacked: Board, path: str, to: str
) -> None:
    offer(attacked)
    elsewhere = on(path, lambda handler: handler.answer(302, b"", {"Location": to}), times=1)
    attacked.mirror.mischief = elsewhere
    assert attacked.fault() is Fault.REDIRECTED


@pytest.mark.parametrize("path", ["timestamp.json", ".manifest.json", digest(MODEL)])
def test_attack_gzip_bomb_stops_the_update(attacked: Board, path: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    offer(attacked)
    packed = on(path, lambda handler: handler.answer(200, bomb, {"Content-Encoding": "gzip"}))
    attacked.mirror.mischief = packed
    assert attacked.fault() is Fault.PACKED


def stopped_half_way(board: Board) -> None:
    """Have half of the model here."""

    def half(handler: Handler) -> None:
        handler.answer(200, MODEL[:50_000], {"Content-Length": str(len(MODEL)), "ETag": '"then"'})
        handler.hang_up()

    board.mirror.mischief = on(digest(MODEL), half)
    offer(board)
    assert board.fault() is Fault.BROKEN_OFF
    board.mirror.mischief = None


def test_attack_range_lies_stop_the_update_and_the_truth_goes_on(attacked: Board) -> None:
    part = on(
        digest(MODEL),
        lambda handler: handler.answer(206, MODEL[:9], {"Content-Range": "bytes 0-8/102400"}),
    )
    stopped_half_way(attacked)
    attacked.mirror.mischief = part
    assert attacked.fault() is Fault.RANGE_LIED
    attacked.mirror.mischief = None
    assert attacked.one().result == "staged"


def test_attack_200_for_206_brings_the_right_bytes_or_none(attacked: Board) -> None:
    stopped_half_way(attacked)
    attacked.mirror.ranges = False
    assert attacked.one().result == "staged"


def test_attack_etag_change_in_mid_resume_brings_the_right_bytes_or_none(attacked: Board) -> None:
    stopped_half_way(attacked)
    assert attacked.one().result == "staged"
    assert attacked.blobs.path(digest(MODEL)).read_bytes() == MODEL


def test_attack_blob_swapped_after_it_was_verified_is_found_before_it_is_loaded(
    attacked: Board,
) -> None:
    offer(attacked)
    assert attacked.one().result == "staged"
    staged = attacked.releases.open("one", 3)
    model = staged.folder / "model.bin"
    model.chmod(0o644)
    model.write_bytes(MODEL[::-1])
    with pytest.raises(PackageError, match="sha256"):
        Digests(None).verify(staged)


def test_attack_manifest_that_changes_under_the_same_release_is_refused(attacked: Board) -> None:
    offer(attacked)
    assert attacked.one().result == "staged"
    attacked.ledger.forget("one")
    attacked.repository.publish("one", 3, {"model.bin": MODEL[::-1]})
    assert attacked.fault() is Fault.WRONG_RELEASE
    assert attacked.row_state() is State.QUARANTINED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 16_000,
        b'{"signed":' * 1000,
        b'{"signatures":[],"signed":{"_type":"timestamp","version":' + b"9" * 15_000 + b"}}",
        b"\x00" * 500,
        b"<html>a captive portal</html>",
    ],
)
def test_attack_metadata_that_is_none_is_bad(attacked: Board, data: bytes) -> None:
    attacked.mirror.files["metadata/timestamp.json"] = data
    assert attacked.fault() is Fault.BAD_METADATA


def test_attack_a_root_that_is_not_the_owners_is_unsigned(tmp_path: Path) -> None:
    with updating(tmp_path) as board:
        other = Repository()
        for role in other.signers:
            other.signers[role] = [signer(f"other-{role}")]
        board.bootstrap = other.sign("root", other.root)
        assert board.fault() is Fault.UNSIGNED
        assert board.still_serves_the_old_one()


def test_attack_a_name_that_leaves_the_store_is_never_asked_for(attacked: Board) -> None:
    for path in ("experts/../one/3/manifest.json", "experts/one/../../3/manifest.json"):
        attacked.repository.add(path, b"{}", "targets")
    asked = len(attacked.mirror.asked)
    assert attacked.run(["../one"])[0].fault is Fault.UNKNOWN_TARGET
    assert not any(".." in path for path in attacked.mirror.paths[asked:])
    assert attacked.one().result == "waiting"


class Full:
    """A disk that is full at one named point, once."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.hit = False

    def __call__(self, name: str) -> None:
        if name == self.point and not self.hit:
            self.hit = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def test_attack_disk_full_at_every_write_leaves_the_old_release_and_no_wreckage(
    attacked: Board,
) -> None:
    """Each named point of a run is full once: it is said, and later runs end well."""
    seen: list[str] = []
    offer(attacked)
    failpoint.act_by(seen.append)
    try:
        assert attacked.one().result == "staged"
        points = list(dict.fromkeys(seen))
        assert len(points) > 20
        for release, point in enumerate(points, start=4):
            failpoint.act_by(None)
            attacked.ledger.forget("one")
            offer(attacked, release, {"model.bin": MODEL + point.encode()})
            full = Full(point)
            failpoint.act_by(full)
            assert attacked.fault() is (Fault.NO_ROOM if full.hit else None), point
            assert full.hit, point
            assert attacked.still_serves_the_old_one(), point
    finally:
        failpoint.act_by(None)
    assert attacked.one().result == "staged"
