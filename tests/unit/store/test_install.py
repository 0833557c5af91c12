import fcntl
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.store.catalogue import scan
from aiosd.store.digests import Digests
from aiosd.store.install import NoRoomError, install, recover, remove

PackageMaker = Callable[..., Path]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_an_installed_package_is_in_the_catalogue(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    source = make_package(tmp_path / "source", "one")
    experts = tmp_path / "experts"
    installed = install(source, experts)
    assert installed.folder == experts / "one"
    assert scan([experts]).experts["one"] == installed
    assert names(experts) == ["one"]


def test_the_manifest_alone_may_be_named(tmp_path: Path, make_package: PackageMaker) -> None:
    source = make_package(tmp_path / "source", "one")
    install(source / "expert.toml", tmp_path / "experts")
    assert (tmp_path / "experts" / "one" / "model.bin").read_bytes() == b"model bytes"


def test_a_model_elsewhere_may_have_any_name(tmp_path: Path, make_package: PackageMaker) -> None:
    source = make_package(tmp_path / "upstream", "one", keep_model=False)
    (tmp_path / "downloaded.gguf").write_bytes(b"model bytes")
    install(source, tmp_path / "experts", models=[tmp_path / "downloaded.gguf"])
    assert list(scan([tmp_path / "experts"]).experts) == ["one"]


def test_a_folder_of_files_is_searched_by_the_names_of_the_manifest(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    source = make_package(tmp_path / "upstream", "one", keep_model=False)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "model.bin").write_bytes(b"model bytes")
    install(source, tmp_path / "experts", models=[downloads])
    assert list(scan([tmp_path / "experts"]).experts) == ["one"]


def test_a_pointer_in_the_folder_gives_way_to_the_file_elsewhere(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    source = make_package(tmp_path / "upstream", "one", keep_model=False)
    (source / "model.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n")
    (tmp_path / "real").write_bytes(b"model bytes")
    install(source, tmp_path / "experts", models=[tmp_path / "real"])
    assert list(scan([tmp_path / "experts"]).experts) == ["one"]


def test_a_model_that_is_nowhere_is_said_and_nothing_is_made(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    source = make_package(tmp_path / "upstream", "one", keep_model=False)
    with pytest.raises(PackageError, match="model file missing"):
        install(source, tmp_path / "experts")
    assert not (tmp_path / "experts").exists()


def test_another_file_of_the_right_size_is_refused_and_the_old_release_stays(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "first", "one"), experts)
    source = make_package(tmp_path / "second", "one", release=2, model=b"BETTER")
    (source / "model.bin").write_bytes(b"WORSE!")
    with pytest.raises(PackageError, match="but the manifest says"):
        install(source, experts)
    assert scan([experts]).experts["one"].manifest.release == 1
    assert names(experts) == ["one"]


def test_a_newer_release_replaces_the_old_one_whole(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "first", "one"), experts)
    (experts / "one" / "stray").write_text("left by hand", encoding="utf-8")
    install(make_package(tmp_path / "second", "one", release=2, model=b"better"), experts)
    assert scan([experts]).experts["one"].manifest.release == 2
    assert names(experts / "one") == ["expert.toml", "model.bin"]
    assert names(experts) == ["one"]


def test_an_open_model_of_the_old_release_can_still_be_read(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "first", "one"), experts)
    with (experts / "one" / "model.bin").open("rb") as running:
        install(make_package(tmp_path / "second", "one", release=2, model=b"better"), experts)
        assert running.read() == b"model bytes"


def test_an_older_release_needs_an_explicit_word(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "new", "one", release=2), experts)
    old = make_package(tmp_path / "old", "one", release=1)
    with pytest.raises(PackageError, match="release 2 is installed, and 1 is older"):
        install(old, experts)
    install(old, experts, allow_older=True)
    assert scan([experts]).experts["one"].manifest.release == 1


def test_a_broken_package_is_replaced_whatever_its_release(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    make_package(experts, "one", release=9, extra="colour = 1\n")
    install(make_package(tmp_path / "source", "one"), experts)
    assert scan([experts]).experts["one"].manifest.release == 1


def test_an_installed_package_is_readable_by_all_and_writable_by_one(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    before = os.umask(0o022)
    try:
        folder = install(make_package(tmp_path / "source", "one"), tmp_path / "experts").folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "model.bin").stat().st_mode & 0o777 == 0o644


def test_a_folder_shared_by_operators_makes_packages_they_may_all_replace(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    experts = tmp_path / "experts"
    experts.mkdir()
    experts.chmod(0o2775)
    folder = install(make_package(tmp_path / "source", "one"), experts).folder
    assert folder.stat().st_mode & 0o7777 == 0o2775


def test_two_installers_do_not_work_at_once(tmp_path: Path, make_package: PackageMaker) -> None:
    experts = tmp_path / "experts"
    experts.mkdir()
    handle = os.open(experts / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(PackageError, match="another installer is at work"):
            install(make_package(tmp_path / "source", "one"), experts)
    finally:
        os.close(handle)


def test_a_release_set_aside_by_an_installer_that_died_comes_back(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path, "one").rename(tmp_path / ".aside-one")
    make_package(tmp_path, ".staging-one-abc", extra="half")
    recover(tmp_path)
    assert list(scan([tmp_path]).experts) == ["one"]
    assert names(tmp_path) == ["one"]


def test_a_release_set_aside_is_dropped_once_the_new_one_is_in_place(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path, "one", release=1).rename(tmp_path / ".aside-one")
    make_package(tmp_path, "one", release=2)
    recover(tmp_path)
    assert scan([tmp_path]).experts["one"].manifest.release == 2
    assert names(tmp_path) == ["one"]


def test_a_file_in_place_of_the_experts_folder_is_a_clean_error(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    (tmp_path / "experts").write_text("x", encoding="utf-8")
    with pytest.raises(PackageError, match="cannot write here"):
        install(make_package(tmp_path / "source", "one"), tmp_path / "experts")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_without_room_is_told_before_a_byte_is_written(
    tmp_path: Path, small: Path, make_package: PackageMaker
) -> None:
    experts = small / "experts"
    install(make_package(tmp_path / "first", "one", model=b"x" * 1000), experts)
    source = make_package(tmp_path / "second", "one", release=2, model=b"y" * 2_000_000)
    with pytest.raises(NoRoomError, match="the package needs") as caught:
        install(source, experts)
    assert caught.value.need_bytes > 2_000_000
    assert 0 < caught.value.have_bytes < 1_048_576
    assert scan([experts]).experts["one"].manifest.release == 1
    assert names(experts) == ["one"]


def test_a_disk_that_fills_up_meanwhile_leaves_the_old_release(
    tmp_path: Path, small: Path, make_package: PackageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    experts = small / "experts"
    install(make_package(tmp_path / "first", "one", model=b"x" * 1000), experts)
    source = make_package(tmp_path / "second", "one", release=2, model=b"y" * 2_000_000)
    # The free space was there when it was looked up, and another program took it.
    monkeypatch.setattr("aiosd.store.install._check_room", lambda *_, **__: None)
    with pytest.raises(NoRoomError):
        install(source, experts)
    assert scan([experts]).experts["one"].manifest.release == 1
    assert names(experts) == ["one"]


def test_a_swap_works_where_two_names_cannot_be_exchanged(
    tmp_path: Path, make_package: PackageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiosd.store.install.exchange", lambda *_: False)
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "first", "one"), experts)
    install(make_package(tmp_path / "second", "one", release=2, model=b"better"), experts)
    assert scan([experts]).experts["one"].manifest.release == 2
    assert names(experts) == ["one"]


def crash_before(step: int, source: Path, experts: Path) -> bool:
    """Install in a child process that dies before its `step`-th act; True if it got through."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0
    acts = itertools.count()

    def die(event: str, _: object) -> None:
        # Every act on the file system is announced by one of these before it happens.
        if event.startswith(("os.", "open", "fcntl", "shutil", "ctypes")) and next(acts) == step:
            os._exit(9)

    code = 1
    try:
        sys.addaudithook(die)
        install(source, experts)
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_installer_that_dies_anywhere_leaves_one_whole_release(
    tmp_path: Path, make_package: PackageMaker, monkeypatch: pytest.MonkeyPatch, *, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr("aiosd.store.install.exchange", lambda *_: False)
    old = make_package(tmp_path / "old", "one", model=b"old" * 100)
    new = make_package(tmp_path / "new", "one", release=2, model=b"new!" * 100)
    experts = tmp_path / "experts"
    seen = set()
    for step in itertools.count():
        shutil.rmtree(experts, ignore_errors=True)
        install(old, experts)
        through = crash_before(step, new, experts)
        if not exchanges:
            recover(experts)
        catalogue = scan([experts])
        assert not catalogue.refused
        Digests(None).verify(catalogue.experts["one"])
        seen.add(catalogue.experts["one"].manifest.release)
        install(new, experts)
        assert names(experts) == ["one"]
        if through:
            break
    assert step > 20
    assert seen == {1, 2}


def test_a_removed_expert_is_gone_whole(tmp_path: Path, make_package: PackageMaker) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "source", "one"), experts)
    remove("one", experts)
    assert names(experts) == []


@pytest.mark.parametrize("name", ["absent", "", "..", "../source/one", "."])
def test_only_an_installed_name_can_be_removed(
    tmp_path: Path, make_package: PackageMaker, name: str
) -> None:
    experts = tmp_path / "experts"
    install(make_package(tmp_path / "source", "one"), experts)
    with pytest.raises(PackageError, match="is installed here"):
        remove(name, experts)
    assert names(experts) == ["one"]
    assert (tmp_path / "source" / "one").is_dir()


def test_the_source_is_left_as_it_was(tmp_path: Path, make_package: PackageMaker) -> None:
    source = make_package(tmp_path / "source", "one")
    install(source, tmp_path / "experts")
    shutil.rmtree(tmp_path / "experts")
    assert names(source) == ["expert.toml", "model.bin"]
