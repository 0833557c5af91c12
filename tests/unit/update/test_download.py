"""One blob on its way to the disk: what is gone on with, and what is never adopted."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.downloads import DATA, DIGEST, WANTED, Rig
from fakes.mirror import Handler, on, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiosd.domain.update import Fault, UpdateError
from aiosd.policy.rollout.delta import Range
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.store.assembly import Copied
from aiosd.store.blobs import Blobs
from aiosd.store.ledger import Progress
from aiosd.update import download
from aiosd.update.download import check_room

OTHER = os.urandom(len(DATA))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with serving({WANTED.address: DATA}) as mirror:
        yield Rig(mirror, Blobs(tmp_path / "blobs"))


def fault(act: Callable[[], object]) -> Fault:
    with pytest.raises(UpdateError) as caught:
        act()
    return caught.value.fault


def test_a_blob_is_fetched_once_and_adopted(rig: Rig) -> None:
    rig.fetch()
    assert rig.is_here()
    assert not rig.part.exists()
    assert sum(rig.came) == len(DATA)
    assert rig.kept.progress(DIGEST).bytes == 0


def test_a_broken_connection_is_gone_on_with_by_range_and_if_range(rig: Rig) -> None:
    etag = f'"{hashlib.sha256(DATA).hexdigest()[:16]}"'

    def begin(handler: Handler) -> None:
        handler.answer(200, DATA[:1000], {"Content-Length": str(len(DATA)), "ETag": etag})
        handler.hang_up()

    rig.mirror.mischief = on(DIGEST, begin, times=1)
    rig.fetch()
    assert rig.is_here()
    assert [each.range for each in rig.mirror.asked] == ["", "bytes=1000-299999"]
    assert rig.mirror.asked[1].if_range == etag
    assert sum(rig.came) == len(DATA)


def test_what_a_killed_run_left_is_hashed_again_and_gone_on_with(rig: Rig) -> None:
    rig.left(DATA[:200_000])
    rig.fetch()
    assert rig.is_here()
    assert [each.range for each in rig.mirror.asked] == ["bytes=200000-299999"]


def test_bytes_beyond_what_is_known_to_be_durable_are_not_gone_on_with(rig: Rig) -> None:
    rig.left(DATA[:100_000] + bytes(100_000), kept=100_000)
    rig.fetch()
    assert rig.is_here()


def test_a_part_that_a_power_cut_zeroed_is_found_out_and_fetched_whole_next_time(rig: Rig) -> None:
    rig.left(bytes(200_000))
    assert fault(rig.fetch) is Fault.MISMATCH
    assert not rig.part.exists()
    rig.fetch()
    assert rig.is_here()


def test_a_part_that_is_whole_already_is_adopted_without_a_request(rig: Rig) -> None:
    rig.left(DATA)
    rig.fetch()
    assert rig.is_here()
    assert not rig.mirror.asked


def test_what_came_before_a_stop_is_durable(rig: Rig) -> None:
    rig.stop_after = 150_000
    assert fault(rig.fetch) is Fault.CANCELLED
    kept = rig.kept.progress(DIGEST).bytes
    assert 0 < kept <= 150_000
    assert rig.part.read_bytes()[:kept] == DATA[:kept]
    assert not rig.blobs.has(DIGEST, len(DATA))


def test_progress_is_kept_every_so_many_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SYNC_BYTES", 50_000)
    marks: list[int] = []

    def note(_sha256: str, progress: Progress | None) -> None:
        marks.append(progress.bytes if progress else 0)

    rig.kept.set_progress = note  # type: ignore[method-assign]
    rig.fetch()
    assert marks[-1] == 0
    steps = [after - before for before, after in pairwise([0, *marks[:-1]])]
    assert len(steps) >= 2
    assert all(50_000 <= step < 50_000 + 65_536 for step in steps)


def test_attack_tampered_blob_is_never_adopted(rig: Rig) -> None:
    rig.mirror.files[WANTED.address] = DATA[:-1] + bytes([DATA[-1] ^ 1])
    assert fault(rig.fetch) is Fault.MISMATCH
    assert not rig.blobs.has(DIGEST, len(DATA))
    assert not rig.part.exists()


def test_attack_etag_change_in_mid_resume_starts_over_with_the_new_file(rig: Rig) -> None:
    def other(handler: Handler) -> None:
        handler.answer(200, OTHER[:1000], {"Content-Length": "300000", "ETag": '"old"'})
        handler.hang_up()

    rig.mirror.mischief = on(DIGEST, other, times=1)
    rig.fetch()
    assert rig.is_here()


def test_attack_etag_changes_for_ever_ends(rig: Rig) -> None:
    count = [0]

    def other(handler: Handler) -> None:
        count[0] += 1
        handler.answer(200, OTHER[:1000], {"Content-Length": "300000", "ETag": f'"{count[0]}"'})
        handler.hang_up()

    rig.mirror.mischief = on(DIGEST, other)
    assert fault(rig.fetch) in (Fault.CHANGED, Fault.BROKEN_OFF)
    assert count[0] < 10


def test_attack_200_for_206_continues_only_over_the_same_beginning(rig: Rig) -> None:
    rig.mirror.ranges = False
    rig.left(DATA[:200_000])
    rig.fetch()
    assert rig.is_here()
    assert len(rig.mirror.asked) == 1


def test_attack_200_for_206_over_another_beginning_starts_over(rig: Rig) -> None:
    rig.mirror.ranges = False
    rig.left(OTHER[:200_000])
    rig.fetch()
    assert rig.is_here()
    assert len(rig.mirror.asked) == 2


def test_attack_wrong_content_range_writes_nothing(rig: Rig) -> None:
    rig.left(DATA[:100])
    lie = on(DIGEST, lambda h: h.answer(206, DATA[:50], {"Content-Range": "bytes 0-49/300000"}))
    rig.mirror.mischief = lie
    assert fault(rig.fetch) is Fault.RANGE_LIED
    assert rig.part.read_bytes() == DATA[:100]


def test_attack_slow_retrieval_of_a_blob_is_given_up(rig: Rig) -> None:
    rig.rules = PaceRules(least=1_000_000.0, window_seconds=10.0)
    seen = rig.tick

    def slow() -> float:
        rig.now += 4.0
        return seen()

    rig.tick = slow  # type: ignore[method-assign]
    assert fault(rig.fetch) is Fault.TOO_SLOW
    assert not rig.blobs.has(DIGEST, len(DATA))
    assert rig.kept.progress(DIGEST).bytes > 0


def test_attack_a_connection_for_each_byte_ends_as_too_slow(rig: Rig) -> None:
    def one_byte(handler: Handler) -> None:
        rig.now += 1.0
        first = int(
            handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        )
        headers = {"Content-Length": str(len(DATA) - first)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
        handler.answer(206 if first else 200, DATA[first : first + 1], headers)
        handler.hang_up()

    rig.rules = PaceRules(least=1024.0, window_seconds=30.0)
    rig.mirror.mischief = on(DIGEST, one_byte)
    assert fault(rig.fetch) is Fault.TOO_SLOW
    assert len(rig.mirror.asked) <= 40


def test_the_rate_cap_holds_over_the_whole_blob(rig: Rig) -> None:
    rig.rules = PaceRules(cap=100_000.0)
    rig.fetch()
    assert rig.is_here()
    assert sum(rig.rests) == pytest.approx(3.0, abs=0.01)


def test_attack_blob_swapped_before_it_is_adopted_is_found_out(rig: Rig) -> None:
    def swap(count: int) -> None:
        rig.came.append(count)
        if sum(rig.came) == len(DATA):
            other = rig.part.with_suffix(".evil")
            other.write_bytes(OTHER)
            other.replace(rig.part)

    rig.count = swap  # type: ignore[method-assign]
    assert fault(rig.fetch) is Fault.SWAPPED
    assert not rig.blobs.has(DIGEST, len(DATA))


def test_attack_a_link_in_place_of_the_part_is_not_followed(rig: Rig, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    rig.part.symlink_to(victim)
    assert fault(rig.fetch) is Fault.DISK
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EIO", "EROFS"])
@pytest.mark.parametrize(
    "point",
    [
        "fetch.open",
        "fetch.truncate",
        "fetch.write",
        "fetch.sync",
        "fetch.verified",
        "fetch.adopted",
    ],
)
def test_attack_disk_full_or_broken_at_every_step_adopts_nothing_half(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, point: str, number: str
) -> None:
    code = int(getattr(errno, number))

    def reach(name: str) -> None:
        if name == point:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(download, "SYNC_BYTES", 100_000)
    monkeypatch.setattr(download, "reach", reach)
    full = number in ("ENOSPC", "EDQUOT")
    assert fault(rig.fetch) is (Fault.NO_ROOM if full else Fault.DISK)
    assert rig.is_here() == (point == "fetch.adopted")
    # Nothing that is left behind keeps the next run from finishing.
    monkeypatch.setattr(download, "reach", lambda _name: None)
    rig.fetch()
    assert rig.is_here()


def test_a_fill_fetches_only_what_is_missing(rig: Rig) -> None:
    def fill_in(handle: int) -> Copied:
        os.pwrite(handle, DATA[:100_000], 0)
        os.pwrite(handle, DATA[150_000:290_000], 150_000)
        return Copied([Range(100_000, 50_000), Range(290_000, 10_000)])

    rig.fill(fill_in)
    assert rig.is_here()
    assert [each.range for each in rig.mirror.asked] == [
        "bytes=100000-149999",
        "bytes=290000-299999",
    ]
    assert sum(rig.came) == 60_000


def test_a_fill_from_wrong_chunks_is_found_out(rig: Rig) -> None:
    def fill_in(handle: int) -> Copied:
        os.pwrite(handle, OTHER[:100_000], 0)
        return Copied([Range(100_000, 200_000)])

    assert fault(lambda: rig.fill(fill_in)) is Fault.MISMATCH
    rig.fetch()
    assert rig.is_here()


def test_a_fill_from_a_server_without_parts_says_so(rig: Rig) -> None:
    rig.mirror.ranges = False
    assert fault(lambda: rig.fill(lambda _handle: Copied([Range(100, 10)]))) is Fault.RANGE_LIED


def test_room_is_asked_for_with_a_tenth_more_and_a_reserve(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "there", 1000, 1000)
    check_room(tmp_path, 0, 2**62)  # nothing to fetch needs no room
    assert fault(lambda: check_room(tmp_path, 1000, 2**62)) is Fault.NO_ROOM


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 299_999), max_size=3), garbage=st.booleans())
def test_any_series_of_cuts_ends_with_the_right_blob(
    rig: Rig, cuts: list[int], *, garbage: bool
) -> None:
    rig.blobs.path(DIGEST).unlink(missing_ok=True)
    for cut in cuts:
        rig.came.clear()
        rig.stop_after = cut
        with contextlib.suppress(UpdateError):
            rig.fetch()
        assert rig.is_here() or not rig.blobs.has(DIGEST, len(DATA))
        if garbage and rig.part.exists():
            with rig.part.open("ab") as file:
                file.write(b"written, and never synced")
    rig.came.clear()
    rig.stop_after = -1
    rig.fetch()
    assert rig.is_here()
