import hashlib
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.published import fill, layout, published

from aiosd.domain.errors import PackageError
from aiosd.protocol.release_json import package_toml
from aiosd.store import releases as releases_module
from aiosd.store.catalogue import scan
from aiosd.store.install import install, recover, remove
from aiosd.store.packages import read_manifest
from aiosd.store.packed import is_packed
from aiosd.store.releases import Releases

PackageMaker = Callable[..., Path]
FILES = {"model.bin": b"model bytes", "labels.txt": b"ham\nspam\n"}


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(layout(tmp_path))


def found(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stage(releases: Releases, release: int, **more: object) -> Path:
    files = {**FILES, "notes.txt": f"release {release}".encode()}
    fill(releases.blobs, files)
    return releases.stage(published("one", release, files, **more))


def test_a_staged_release_is_a_package_of_links_to_blobs(releases: Releases) -> None:
    folder = stage(releases, 7)
    assert folder == releases.root / "one" / "7"
    assert sorted(path.name for path in folder.iterdir()) == [
        "labels.txt",
        "manifest.json",
        "model.bin",
        "notes.txt",
    ]
    blob = releases.blobs.path(hashlib.sha256(b"model bytes").hexdigest())
    assert (folder / "model.bin").samefile(blob)
    assert releases.open("one", 7).manifest.release == 7
    assert (releases.active("one"), releases.installed("one")) == (None, [7])


def test_staging_twice_changes_nothing_but_new_terms(releases: Releases) -> None:
    folder = stage(releases, 7, rollout={"percent": 10})
    before = (folder / "notes.txt").stat(), (folder / "manifest.json").stat()
    assert stage(releases, 7, rollout={"percent": 10}) == folder
    assert (folder / "manifest.json").stat() == before[1]
    stage(releases, 7, rollout={"percent": 100}, security_floor=7)
    found = releases.release("one", 7)
    assert found is not None
    assert (found.rollout.percent, found.security_floor) == (100, 7)
    assert (folder / "notes.txt").stat() == before[0]


def test_a_release_staged_by_an_earlier_aiosd_is_read_as_it_was(releases: Releases) -> None:
    folder = stage(releases, 7)
    text = package_toml((folder / "manifest.json").read_bytes())
    (folder / "expert.toml").write_text(text.replace('summary = "', 'summary = "as it was, '))
    assert releases.open("one", 7).manifest.summary.startswith("as it was, ")
    assert releases.installed("one") == [7]


def test_a_damaged_signed_manifest_is_named_by_its_file(releases: Releases) -> None:
    folder = stage(releases, 7)
    releases.activate("one", 7)
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackageError, match=r"/7/manifest\.json: ") as caught:
        releases.open("one", 7)
    assert caught.value.path == str(path)
    (refused,) = scan([releases.experts]).refused
    assert str(path) in refused.reason


def test_the_folder_of_a_release_can_be_installed_as_a_plain_package(
    releases: Releases, tmp_path: Path
) -> None:
    folder = stage(releases, 7)
    assert not is_packed(folder)
    installed = install(folder, tmp_path / "other")
    assert found(installed.folder) == {"expert.toml", "labels.txt", "model.bin", "notes.txt"}
    assert read_manifest(installed.folder) == read_manifest(folder)


def test_a_release_never_changes(releases: Releases) -> None:
    folder = stage(releases, 7)
    other = {"model.bin": b"other"}
    fill(releases.blobs, other)
    with pytest.raises(PackageError, match="never changes"):
        releases.stage(published("one", 7, other))
    assert (folder / "model.bin").read_bytes() == b"model bytes"


def test_a_missing_blob_is_said_and_nothing_is_made(releases: Releases) -> None:
    with pytest.raises(PackageError, match="fetch it first"):
        releases.stage(published("one", 1, FILES))
    assert releases.names() == []


def test_a_release_becomes_active_by_a_link_and_the_catalogue_sees_it(releases: Releases) -> None:
    stage(releases, 7)
    releases.activate("one", 7)
    place = releases.experts / "one"
    assert place.readlink() == Path("../releases/one/7")
    found = scan([releases.experts]).experts["one"]
    assert (found.manifest.release, found.folder) == (7, releases.folder("one", 7))


def test_who_holds_a_package_keeps_its_release_when_the_link_moves(releases: Releases) -> None:
    stage(releases, 7)
    releases.activate("one", 7)
    held = scan([releases.experts]).experts["one"]
    stage(releases, 8)
    releases.activate("one", 8)
    assert (held.folder / "notes.txt").read_bytes() == b"release 7"
    assert scan([releases.experts]).experts["one"].manifest.release == 8


def test_the_one_before_is_kept_to_go_back_to(releases: Releases) -> None:
    for release in (5, 6, 7):
        stage(releases, release)
    releases.activate("one", 5)
    assert releases.previous("one") is None
    releases.activate("one", 7)
    assert (releases.active("one"), releases.previous("one")) == (7, 5)  # 6 never served
    releases.activate("one", 5)
    assert (releases.active("one"), releases.previous("one")) == (5, None)


def test_going_back_twice_goes_further_back(releases: Releases) -> None:
    for release in (5, 6, 7):
        stage(releases, release)
        releases.activate("one", release)
    assert releases.previous("one") == 6
    releases.activate("one", 6)
    assert releases.previous("one") == 5


def test_activating_what_is_active_changes_nothing(releases: Releases) -> None:
    for release in (5, 6):
        stage(releases, release)
        releases.activate("one", release)
    releases.activate("one", 6)
    assert (releases.active("one"), releases.previous("one")) == (6, 5)


def test_what_is_not_here_cannot_become_active(releases: Releases) -> None:
    with pytest.raises(PackageError, match="not on this board"):
        releases.activate("one", 1)


def test_a_plain_folder_becomes_a_release_to_go_back_to(
    releases: Releases, tmp_path: Path, make_package: PackageMaker
) -> None:
    install(make_package(tmp_path / "source", "one", release=3), releases.experts)
    assert releases.active("one") == 3
    stage(releases, 4)
    releases.activate("one", 4)
    assert (releases.active("one"), releases.previous("one")) == (4, 3)
    assert releases.release("one", 3) is None
    releases.activate("one", 3)
    assert scan([releases.experts]).experts["one"].manifest.release == 3


def test_a_plain_package_takes_the_place_of_a_release_and_leaves_no_rubbish(
    releases: Releases, tmp_path: Path, make_package: PackageMaker
) -> None:
    stage(releases, 4)
    releases.activate("one", 4)
    install(make_package(tmp_path / "source", "one", release=5), releases.experts)
    assert releases.active("one") == 5
    assert releases.installed("one") == [4]
    assert sorted(path.name for path in releases.experts.iterdir()) == [".lock", "one"]


def test_removing_an_expert_leaves_its_releases_to_the_collector(releases: Releases) -> None:
    stage(releases, 4)
    releases.activate("one", 4)
    remove("one", releases.experts)
    assert releases.active("one") is None
    assert releases.installed("one") == [4]
    assert sorted(path.name for path in releases.experts.iterdir()) == [".lock"]


def test_taking_the_link_away_shows_what_was_shipped(
    releases: Releases, tmp_path: Path, make_package: PackageMaker
) -> None:
    shipped = tmp_path / "shipped"
    make_package(shipped, "one", release=1)
    stage(releases, 2)
    releases.activate("one", 2)
    assert scan([releases.experts, shipped]).experts["one"].manifest.release == 2
    releases.deactivate("one")
    assert scan([releases.experts, shipped]).experts["one"].manifest.release == 1
    releases.deactivate("one")


def test_the_active_release_is_not_forgotten_and_others_are(releases: Releases) -> None:
    for release in (5, 6):
        stage(releases, release)
        releases.activate("one", release)
    with pytest.raises(PackageError, match="active"):
        releases.forget("one", 6)
    releases.forget("one", 5)
    releases.forget("one", 5)
    assert (releases.installed("one"), releases.previous("one")) == ([6], None)


def test_the_blobs_of_all_releases_tell_their_chunks(releases: Releases) -> None:
    fill(releases.blobs, FILES)
    data = published("one", 1, FILES)
    releases.stage(data)
    assert releases.indexes() == {}


class DiedError(BaseException):
    pass


def dying_at(point: str) -> Callable[[str], None]:
    def die(name: str) -> None:
        if name == point:
            raise DiedError

    return die


@pytest.mark.parametrize(
    "point",
    [
        "stage.link",
        "stage.manifest",
        "stage.sync",
        "stage.rename",
        "stage.renamed",
        "stage.durable",
        "activate.begin",
        "activate.exchange",
        "activate.exchanged",
        "activate.adopt",
        "activate.done",
        "link.rename",
        "link.renamed",
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_a_death_at_any_point_is_mended_by_doing_it_again(
    point: str,
    plain: bool,  # noqa: FBT001
    releases: Releases,
    tmp_path: Path,
    make_package: PackageMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain:
        install(make_package(tmp_path / "source", "one", release=3), releases.experts)
    else:
        stage(releases, 3)
        releases.activate("one", 3)
    fill(releases.blobs, {**FILES, "notes.txt": b"release 4"})
    die = dying_at(point)
    monkeypatch.setattr(releases_module, "reach", die)
    for module in ("active_links", "durable"):
        monkeypatch.setattr(f"aiosd.store.{module}.reach", die)
    try:
        stage(releases, 4)
        releases.activate("one", 4)
    except DiedError:
        pass
    else:
        assert not plain
        assert point in {"activate.exchange", "activate.exchanged", "activate.adopt"}
    monkeypatch.undo()
    # Whatever happened, an expert serves.
    assert scan([releases.experts]).experts["one"].manifest.release in {3, 4}
    releases.recover()
    recover(releases.experts)
    stage(releases, 4)
    releases.activate("one", 4)
    assert (releases.active("one"), releases.previous("one")) == (4, 3)
    assert releases.installed("one") == [3, 4]
    assert found(releases.experts) - {".lock"} == {"one"}
    assert found(releases.root / "one") == {"3", "4", ".previous"}


def test_an_experts_folder_that_is_a_link_itself_leads_to_the_release(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "experts").symlink_to("elsewhere/deep")
    releases = Releases(layout(tmp_path))
    stage(releases, 1)
    releases.activate("one", 1)
    assert scan([releases.experts]).experts["one"].manifest.release == 1
    assert releases.active("one") == 1


def test_two_may_fetch_and_none_may_collect_meanwhile(releases: Releases) -> None:
    with (
        releases.busy(),
        releases.busy(),
        pytest.raises(PackageError, match="at work"),
        releases.alone(),
    ):
        pass
    with releases.alone(), pytest.raises(PackageError, match="at work"), releases.busy():
        pass


def test_a_store_that_may_not_be_written_can_be_read(releases: Releases) -> None:
    stage(releases, 1)
    releases.activate("one", 1)
    for path in [releases.root.parent, *releases.root.parent.rglob("*")]:
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    try:
        assert releases.active("one") == 1
        assert releases.open("one", 1).manifest.name == "one"
    finally:
        for path in [releases.root.parent, *releases.root.parent.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(releases.root)


def test_texts_of_a_package_survive_the_way_through_json_and_toml(releases: Releases) -> None:
    strange = 'quotes " and \\ and \n lines, \x01, \x7f, \N{GRINNING FACE}, [[files]]'
    fill(releases.blobs, FILES)
    package = {
        "name": "one",
        "release": 1,
        "summary": strange,
        "licence": "MIT",
        "task": "echo",
        "engine": {"name": "echo"},
        "input": {"type": "text"},
        "self_test": {
            "pass_mark": 0.5,
            "cases": [{"text": strange, "expect": {"a.b c": [1, 2.5, {"x": True}], "": strange}}],
        },
        "card": {"figures": [{"name": "accuracy", "value": 0.1, "data": "d"}]},
    }
    releases.stage(published("one", 1, FILES, package=package))
    manifest = releases.open("one", 1).manifest
    assert manifest.summary == strange
    assert manifest.self_test.cases[0].expect == {"a.b c": [1, 2.5, {"x": True}], "": strange}
    assert manifest.card.figures[0].value == 0.1
