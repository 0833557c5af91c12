"""Every named point of the store, dying or failing there: nothing damaged, an expert serves."""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.published import layout, published

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import plan
from aiosd.store import failpoint
from aiosd.store.assembly import copy_chunks
from aiosd.store.audit import audit
from aiosd.store.catalogue import scan
from aiosd.store.garbage import collect
from aiosd.store.install import install, recover
from aiosd.store.releases import Releases

ROOT = Path(__file__).resolve().parents[3]
MINE = ("active_links", "assembly", "blobs", "durable", "garbage", "releases")
POINTS = sorted(
    {
        point
        for name in MINE
        for point in re.findall(
            r'reach\("([a-z.]+)"\)', (ROOT / "aiosd" / "store" / f"{name}.py").read_text()
        )
    }
)
LATER = 4e9
PackageMaker = Callable[..., Path]


class DiedError(BaseException):
    """The process ends here: nothing of it runs any more, no `finally` matters."""


def die(_: str) -> None:
    raise DiedError


def fail_with(number: int) -> Callable[[str], None]:
    def fail(name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    return fail


ENDS = {"die": die, "eio": fail_with(errno.EIO), "enospc": fail_with(errno.ENOSPC)}


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    failpoint.act_by(None)


def index(data: bytes) -> ChunkIndex:
    hashes = [
        hashlib.sha256(data[at : at + 1024]).digest()[:16] for at in range(0, len(data), 1024)
    ]
    return ChunkIndex(size=1024, spans=(len(data),), hashes=b"".join(hashes))


def model(release: int) -> bytes:
    return b"model" * 1000 + f"release {release}".encode()


def fetch(releases: Releases, release: int) -> bytes:
    """Fetch as a downloader does: what is here is copied, the rest comes from elsewhere."""
    data, blobs = model(release), releases.blobs
    digest = hashlib.sha256(data).hexdigest()
    if not blobs.has(digest, len(data)):
        old = {hashlib.sha256(model(each)).hexdigest(): index(model(each)) for each in range(1, 5)}
        old = {each: found for each, found in old.items() if blobs.path(each).exists()}
        found = plan(old, index(data))
        handle = os.open(blobs.part(digest), os.O_RDWR | os.O_CREAT)
        try:
            copied = copy_chunks(blobs, found.copies, index(data), handle)
            for each in [*found.ranges, *copied.missing]:
                os.pwrite(handle, data[each.offset : each.offset + each.size], each.offset)
        finally:
            os.close(handle)
        blobs.adopt(digest, len(data))
    files = {"model.bin": data}
    return published("one", release, files, rollout={"percent": 50})


def live(releases: Releases, tmp_path: Path) -> None:
    """Do everything that is ever done to a store, from a plain package to a collection."""
    for release in (2, 3, 4):
        with releases.busy():
            manifest = fetch(releases, release)
            releases.stage(manifest)
        releases.stage(manifest.replace(b'"percent":50', b'"percent":99'))
        releases.activate("one", release)
    releases.blobs.delete(hashlib.sha256(model(3)).hexdigest())
    releases.stage(fetch(releases, 3))  # another file with the same bytes: the release takes it
    (tmp_path / "extra").write_bytes(b"extra")
    digest = hashlib.sha256(b"extra").hexdigest()
    releases.blobs.put(tmp_path / "extra", digest, 5)
    releases.blobs.part("0" * 64).write_bytes(b"half")
    os.utime(releases.blobs.part("0" * 64), (0, 0))
    collect(releases, now=LATER)
    releases.activate("one", 3)
    fetch(releases, 1)
    releases.stage(published("two", 1, {"model.bin": model(1)}))
    releases.activate("two", 1)
    releases.deactivate("two")


@pytest.fixture
def releases(tmp_path: Path, make_package: PackageMaker) -> Releases:
    made = Releases(layout(tmp_path))
    install(make_package(tmp_path / "source", "one", release=1), made.experts)
    return made


def test_there_are_many_points_and_one_life_reaches_all(releases: Releases, tmp_path: Path) -> None:
    reached: set[str] = set()
    failpoint.act_by(reached.add)
    live(releases, tmp_path)
    assert [point for point in POINTS if point not in reached] == []
    assert len(POINTS) >= 25


# The two errors take the same way; every point fails with one of them.
CASES = [
    (point, end) for at, point in enumerate(POINTS) for end in ("die", ["eio", "enospc"][at % 2])
]


@pytest.mark.parametrize(("point", "end"), CASES)
def test_whatever_happens_at_a_point_nothing_is_damaged_and_the_next_life_is_whole(
    point: str, end: str, releases: Releases, tmp_path: Path
) -> None:
    hits: list[str] = []

    def act(name: str) -> None:
        if name == point:
            hits.append(name)
            if len(hits) in {1, 3}:  # the first time, and once when there is more to lose
                ENDS[end](name)

    failpoint.act_by(act)
    for _ in range(3):
        try:
            live(releases, tmp_path)
        except (DiedError, OSError):
            served = scan([releases.experts])
            assert served.experts["one"].manifest.release in {1, 2, 3, 4}
            assert served.refused == ()
            releases.recover()
            recover(releases.experts)
            assert audit(releases).faults == []
        else:
            break
    assert hits
    failpoint.act_by(None)
    live(releases, tmp_path)
    assert (releases.active("one"), audit(releases).faults) == (3, [])
    collect(releases, now=LATER)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".staging", ".gone"))]
    assert not [path for path in releases.experts.iterdir() if path.name.startswith(".link")]
    held = {sha256 for sha256, _ in releases.blobs.held()}
    used = {
        file.sha256
        for name in releases.names()
        for number in releases.installed(name)
        if (found := releases.release(name, number))
        for file in found.files
    }
    assert held == used
