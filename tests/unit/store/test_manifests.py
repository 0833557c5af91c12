"""Manifests are read once, and again whenever their file may have changed."""

import time
from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.store import manifests
from aiosd.store.catalogue import scan
from aiosd.store.manifests import Manifests
from aiosd.store.packages import read_manifest

TEXT = (
    'name = "{name}"\nrelease = {release}\nsummary = "S"\nlicence = "MIT"\ntask = "echo"\n'
    '[engine]\nname = "echo"\n[input]\ntype = "text"\n'
)


@pytest.fixture
def experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(manifests, "FEWEST", 1)
    for name in ("one", "two"):
        write(tmp_path / "experts" / name, 1)
    return tmp_path / "experts"


def write(folder: Path, release: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = TEXT.format(name=folder.name, release=release)
    (folder / "expert.toml").write_text(text, encoding="utf-8")


def later() -> int:
    return time.time_ns() + 10**9


class Counted:
    """Counts what is really read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders: list[str] = []

        def read(folder: Path) -> object:
            self.folders.append(folder.name)
            return read_manifest(folder)

        monkeypatch.setattr(manifests, "read_manifest", read)

    def take(self) -> list[str]:
        found, self.folders = self.folders, []
        return found


def scanned(book: Path, experts: Path) -> dict[str, int]:
    kept = Manifests(book, now_ns=later)
    found = scan([experts], kept.read)
    kept.close()
    return {name: each.manifest.release for name, each in found.experts.items()}


def test_a_second_start_reads_nothing_and_finds_the_same(
    experts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    assert scanned(tmp_path / "book", experts) == {"one": 1, "two": 1}
    assert counted.take() == ["one", "two"]
    assert scanned(tmp_path / "book", experts) == {"one": 1, "two": 1}
    assert counted.take() == []


def test_what_changed_is_read_again_and_what_is_gone_is_forgotten(
    experts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    scanned(tmp_path / "book", experts)
    counted.take()
    write(experts / "two", 22)
    write(experts / "three", 3)
    (experts / "one" / "expert.toml").unlink()
    assert scanned(tmp_path / "book", experts) == {"two": 22, "three": 3}
    assert sorted(counted.take()) == ["three", "two"]
    assert scanned(tmp_path / "book", experts) == {"two": 22, "three": 3}
    assert counted.take() == []


def test_a_file_written_a_moment_ago_is_not_trusted_yet(experts: Path, tmp_path: Path) -> None:
    written = (experts / "one" / "expert.toml").stat().st_ctime_ns
    kept = Manifests(tmp_path / "book", now_ns=lambda: written)
    kept.read(experts / "one")
    kept.close()
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x92\x90\x80"])
def test_a_damaged_book_or_one_of_another_release_is_an_empty_one(
    experts: Path, tmp_path: Path, damage: bytes
) -> None:
    (tmp_path / "book").write_bytes(damage)
    assert scanned(tmp_path / "book", experts) == {"one": 1, "two": 1}


def test_a_bad_manifest_is_never_kept(experts: Path, tmp_path: Path) -> None:
    (experts / "one" / "expert.toml").write_text("name = 3", encoding="utf-8")
    kept = Manifests(tmp_path / "book", now_ns=later)
    for _ in range(2):
        with pytest.raises(PackageError):
            kept.read(experts / "one")
        kept.close()
