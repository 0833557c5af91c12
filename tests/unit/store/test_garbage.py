import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.published import fill, layout, published
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.store.garbage import (
    FRESH_SECONDS,
    Held,
    Inventory,
    Loose,
    collect,
    expel,
    plan_collection,
    take_inventory,
)
from aiosd.store.install import install
from aiosd.store.releases import Releases

PackageMaker = Callable[..., Path]
LATER = 4e9  # everything made by a test is old by then

blob_names = st.sampled_from([f"{number:064x}" for number in range(8)])
helds = st.builds(
    Held,
    name=st.sampled_from(["one", "two"]),
    release=st.integers(1, 50),
    blobs=st.dictionaries(blob_names, st.just(10), max_size=4),
    own_bytes=st.sampled_from([0, 7]),
    since=st.floats(0, 100),
    wanted=st.sampled_from(["", "", "active", "previous", "update"]),
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    releases = draw(st.lists(helds, max_size=6, unique_by=lambda held: held.key))
    used = {sha256 for held in releases for sha256 in held.blobs}
    loose = draw(st.sets(blob_names, max_size=4)) - used
    times = st.sampled_from([0.0, FRESH_SECONDS])
    return Inventory(
        releases=tuple(releases),
        blobs=dict.fromkeys(used | loose, 10),
        orphans=tuple(Loose(name, 10, draw(times)) for name in sorted(loose)),
        parts=tuple(Loose(f"{i}.part", 5, draw(times)) for i in range(draw(st.integers(0, 2)))),
    )


@given(inventories(), st.none() | st.integers(0, 80))
def test_what_is_wanted_stays_and_the_budget_is_kept_where_it_can_be(
    inventory: Inventory, budget: int | None
) -> None:
    found = plan_collection(inventory, now=FRESH_SECONDS + 1, budget_bytes=budget)
    staying = [held for held in inventory.releases if held.key not in found.releases]
    assert all(held in staying for held in inventory.releases if held.wanted)
    needed = {sha256 for held in staying for sha256 in held.blobs}
    assert not needed & set(found.blobs)
    own = sum(held.own_bytes for held in staying)
    parts = 5 * (len(inventory.parts) - len(found.parts))
    left = 10 * (len(inventory.blobs) - len(found.blobs)) + own + parts
    assert found.left_bytes == left
    assert found.freed_bytes == inventory.total_bytes - left
    if budget is None:
        assert all(held.wanted for held in staying)
    elif left > budget:
        assert found.over_bytes == left - budget
        assert all(held.wanted for held in staying)
        assert left == 10 * len(needed) + own
    else:
        assert found.over_bytes == 0


def test_the_oldest_goes_first_and_no_more_than_needed() -> None:
    made = [Held("one", number, {f"{number:064x}": 10}, 0, float(number)) for number in (3, 1, 2)]
    inventory = Inventory(tuple(made), {f"{n:064x}": 10 for n in (1, 2, 3)}, (), ())
    found = plan_collection(inventory, now=100.0, budget_bytes=20)
    assert found.releases == (("one", 1),)
    assert (found.freed_bytes, found.left_bytes) == (10, 20)


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(layout(tmp_path))


def stage(releases: Releases, name: str, release: int) -> None:
    files = {"model.bin": b"m" * 1000, "notes.txt": f"{name} {release}".encode()}
    fill(releases.blobs, files)
    releases.stage(published(name, release, files))


def test_the_active_release_and_the_one_before_stay(releases: Releases) -> None:
    for number in (1, 2, 3):
        stage(releases, "one", number)
        releases.activate("one", number)
    found = collect(releases, now=LATER)
    assert found.releases == (("one", 1),)
    assert releases.installed("one") == [2, 3]
    assert len(list(releases.blobs.held())) == 3  # the model, which all have, and two notes
    assert releases.open("one", 2).manifest.release == 2


def test_what_an_update_has_in_hand_stays(releases: Releases) -> None:
    stage(releases, "one", 1)
    releases.activate("one", 1)
    stage(releases, "one", 2)
    now = (releases.folder("one", 2)).stat().st_ctime
    assert collect(releases, now=now).releases == ()  # staged just now
    assert collect(releases, now=LATER, keep=[("one", 2)]).releases == ()
    assert collect(releases, now=LATER, dry_run=True).releases == (("one", 2),)
    assert releases.installed("one") == [1, 2]
    assert collect(releases, now=LATER).releases == (("one", 2),)
    assert releases.installed("one") == [1]


def test_a_removed_expert_leaves_nothing(releases: Releases) -> None:
    stage(releases, "one", 1)
    releases.activate("one", 1)
    releases.deactivate("one")
    collect(releases, now=LATER)
    assert list(releases.blobs.held()) == []
    assert [path.name for path in releases.root.iterdir()] == [".lock"]
    assert list((releases.blobs.root / "sha256").iterdir()) == []


def test_an_expert_that_is_removed_takes_its_files_with_it(releases: Releases) -> None:
    for number in (1, 2):
        stage(releases, "one", number)
        releases.activate("one", number)
    stage(releases, "two", 1)
    releases.activate("two", 1)
    with pytest.raises(PackageError, match="active"):
        expel(releases, "one")
    releases.deactivate("one")
    assert expel(releases, "one") == len("one 1") + len("one 2")
    assert releases.names() == ["two"]
    assert releases.open("two", 1).manifest.name == "two"
    releases.deactivate("two")
    assert expel(releases, "two") == 1000 + len("two 1")
    assert list(releases.blobs.held()) == []


def test_downloads_that_nobody_goes_on_with_are_deleted(releases: Releases) -> None:
    part = releases.blobs.part("0" * 64)
    part.write_bytes(b"half")
    now = part.stat().st_mtime
    assert collect(releases, now=now).parts == ()
    assert collect(releases, now=now, budget_bytes=3).parts == (str(part),)
    assert not part.exists()
    again = releases.blobs.part("0" * 64)
    again.write_bytes(b"half")
    os.utime(again, (0, 0))
    assert collect(releases, now=now).parts == (str(again),)


def test_nothing_is_collected_while_an_update_is_at_work(releases: Releases) -> None:
    with releases.busy(), pytest.raises(PackageError, match="at work"):
        collect(releases, now=LATER)


def test_a_package_installed_by_hand_counts_with_its_own_files(
    releases: Releases, tmp_path: Path, make_package: PackageMaker
) -> None:
    install(make_package(tmp_path / "source", "one", release=1), releases.experts)
    stage(releases, "one", 2)
    releases.activate("one", 2)
    held = {each.release: each for each in take_inventory(releases, now=LATER).releases}
    assert (held[1].own_bytes, held[1].wanted) == (len(b"model bytes"), "previous")
    assert (held[2].own_bytes, held[2].wanted) == (0, "active")
