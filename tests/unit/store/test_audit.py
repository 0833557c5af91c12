import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.published import fill, layout, published

from aiosd.protocol.release_json import package_toml
from aiosd.store.audit import audit
from aiosd.store.releases import Releases

FILES = {"model.bin": b"model bytes", "copy.bin": b"model bytes", "notes.txt": b"notes"}


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    made = Releases(layout(tmp_path))
    fill(made.blobs, FILES)
    for number in (1, 2):
        made.stage(published("one", number, FILES))
        made.activate("one", number)
    return made


def faults(releases: Releases) -> list[str]:
    found = audit(releases)
    return [f"{fault.path.name}: {fault.reason}" for fault in found.faults]


def test_a_whole_store_is_read_once_for_each_different_file(releases: Releases) -> None:
    read: list[Path] = []
    found = audit(releases, read.append)
    assert (found.releases, found.files, found.bytes) == (2, 2, 16)
    assert found.faults == []
    assert len(read) == 8  # three files of two releases, and two blobs


def test_a_flipped_bit_is_found_in_every_place_that_has_it(releases: Releases) -> None:
    path = releases.folder("one", 2) / "model.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"M")
    assert len([each for each in faults(releases) if "damaged" in each]) == 5


SPOILERS: list[tuple[str, Callable[[Path], object]]] = [
    ("notes.txt: No such file", lambda folder: (folder / "notes.txt").unlink()),
    ("2: .*canonical", lambda folder: spoil(folder / "manifest.json")),
    ("expert.toml: not what manifest.json says", lambda folder: (folder / "expert.toml").touch()),
]


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize(("why", "damage"), SPOILERS)
def test_what_is_missing_or_altered_is_named(
    releases: Releases, why: str, damage: Callable[[Path], object]
) -> None:
    damage(releases.folder("one", 2))
    (found,) = faults(releases)
    assert re.search(why, found)


def test_what_an_earlier_aiosd_made_from_the_signed_manifest_is_no_fault(
    releases: Releases,
) -> None:
    folder = releases.folder("one", 2)
    text = package_toml((folder / "manifest.json").read_bytes())
    (folder / "expert.toml").write_text(text)
    assert faults(releases) == []


def test_a_link_that_leads_nowhere_is_named(releases: Releases) -> None:
    (releases.experts / "two").symlink_to("../releases/two/1")
    assert faults(releases) == ["two: leads to ../releases/two/1, which is not there"]


def test_an_empty_board_has_no_faults(tmp_path: Path) -> None:
    found = audit(Releases(layout(tmp_path)))
    assert (found.releases, found.files, found.faults) == (0, 0, [])
