"""aiosctl store, and the install of a packed release, without a daemon."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.published import layout, published

from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.store.releases import Releases

FILES = {"model.bin": b"model bytes" * 100, "notes.txt": b"notes"}
Ctl = Callable[..., int]


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(layout(tmp_path))


@pytest.fixture
def ctl(releases: Releases, tmp_path: Path) -> Ctl:
    (tmp_path / "run").mkdir()

    def run(*words: str) -> int:
        where = ["--experts-dir", str(releases.experts), "--socket-dir", str(tmp_path / "run")]
        return main(
            [*words, *where, *(["--no-reload"] if words[0] in {"install", "remove"} else [])]
        )

    return run


def pack(folder: Path, release: int = 1, **more: object) -> Path:
    """Leave a packed release as the publisher's tools do."""
    files = {**FILES, "notes.txt": f"release {release}".encode()}
    for data in files.values():
        digest = hashlib.sha256(data).hexdigest()
        place = folder / "blobs" / "sha256" / digest[:2] / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (folder / "manifest.json").write_bytes(published("one", release, files, **more))
    return folder


def test_a_packed_release_is_installed_through_the_store(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("install", str(pack(tmp_path / "packed"))) == Exit.OK
    assert "installed one release 1" in capsys.readouterr().out
    packed = pack(tmp_path / "packed", 2)
    assert ctl("install", str(packed / "manifest.json"), "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["release"] == 2
    assert (releases.active("one"), releases.previous("one")) == (2, 1)


def test_an_older_release_must_be_asked_for(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ctl("install", str(pack(tmp_path / "new", 2)))
    old = str(pack(tmp_path / "old", 1))
    assert ctl("install", old) == Exit.PACKAGE
    assert "older" in capsys.readouterr().err
    assert releases.installed("one") == [2]
    assert ctl("install", old, "--allow-older") == Exit.OK
    assert releases.active("one") == 1


def test_a_damaged_blob_is_not_installed(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = pack(tmp_path / "packed")
    for path in packed.rglob("blobs/*/*/*"):
        path.write_bytes(b"x" * path.stat().st_size)
    assert ctl("install", str(packed)) == Exit.PACKAGE
    assert "but the manifest says" in capsys.readouterr().err
    assert releases.active("one") is None


def test_a_model_that_its_engine_may_not_see_is_not_installed(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = {
        "name": "one",
        "release": 1,
        "summary": "no model",
        "licence": "MIT",
        "task": "text.classify",
        "engine": {"name": "litert"},
        "input": {"type": "text"},
    }
    assert ctl("install", str(pack(tmp_path / "packed", package=package))) == Exit.PACKAGE
    assert "not a TFLite file" in capsys.readouterr().err
    assert (releases.active("one"), releases.installed("one")) == (None, [])


def test_what_takes_how_much_is_shown(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        ctl("install", str(pack(tmp_path / str(number), number)))
    capsys.readouterr()
    assert ctl("store", "du", "--json") == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["total_bytes"] == 1100 + 9 + 9
    assert [(row["release"], row["state"]) for row in found["releases"]] == [
        (1, "previous"),
        (2, "active"),
    ]
    assert {row["alone_bytes"] for row in found["releases"]} == {9}
    assert ctl("store", "du") == Exit.OK
    assert "in the store" in capsys.readouterr().out


def test_gc_says_what_it_frees(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        ctl("install", str(pack(tmp_path / str(number), number)))
    capsys.readouterr()
    assert ctl("store", "gc", "--dry-run") == Exit.OK
    assert "one release 1\nwould free" in capsys.readouterr().out
    assert releases.installed("one") == [1, 2, 3]
    assert ctl("store", "gc", "--budget", "1 MiB") == Exit.OK
    assert "0 releases" in capsys.readouterr().out
    assert ctl("store", "gc", "--json", "--budget", "1") == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["releases"], found["freed_bytes"]) == (["one/1"], 9)
    assert found["over_bytes"] == found["left_bytes"] - 1
    assert releases.installed("one") == [2, 3]


def test_removing_an_expert_frees_its_files(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ctl("install", str(pack(tmp_path / "packed")))
    capsys.readouterr()
    with releases.busy():
        assert ctl("remove", "one") == Exit.OK
    assert "its files stay until: aiosctl store gc" in capsys.readouterr().out
    ctl("install", str(pack(tmp_path / "packed")))
    capsys.readouterr()
    assert ctl("remove", "one", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["freed_bytes"] == 1109
    assert releases.names() == []


def test_verify_names_what_is_damaged(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ctl("install", str(pack(tmp_path / "packed")))
    capsys.readouterr()
    assert ctl("store", "verify") == Exit.OK
    assert "1 releases, 2 files, 1 KiB read" in capsys.readouterr().out
    path = releases.folder("one", 1) / "notes.txt"
    path.chmod(0o644)
    path.write_bytes(b"release 9")
    assert ctl("store", "verify", "--json") == Exit.PACKAGE
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert Path(faults[0]["path"]).name == "notes.txt"


def test_a_damaged_file_is_taken_out_and_installed_again(
    ctl: Ctl, releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = str(pack(tmp_path / "packed"))
    ctl("install", packed)
    path = releases.folder("one", 1) / "notes.txt"
    path.chmod(0o644)
    path.write_bytes(b"release 9")
    assert ctl("install", packed) == Exit.OK  # a look at sizes finds nothing wrong
    assert ctl("store", "verify") == Exit.PACKAGE
    assert "aiosctl store verify --repair" in capsys.readouterr().out
    assert ctl("store", "verify", "--repair") == Exit.PACKAGE
    assert "1 damaged files taken out" in capsys.readouterr().out
    assert ctl("install", packed) == Exit.OK
    assert ctl("store", "verify") == Exit.OK
    assert path.read_bytes() == b"release 1"


@pytest.mark.parametrize(
    "words", [["du", "--dry-run"], ["gc", "--budget", "much"], ["gc", "--repair"]]
)
def test_a_wrong_command_line_is_said(
    ctl: Ctl, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("store", *words) == Exit.USAGE
    assert "aiosctl: usage:" in capsys.readouterr().err
