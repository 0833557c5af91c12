from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.store.catalogue import open_package
from aiosd.store.packages import MissingFileError, decode_manifest, read_manifest

PackageMaker = Callable[..., Path]

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 749728\n"
)


def test_a_whole_package_opens_with_its_paths_by_role(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "whole")
    installed = open_package(folder)
    assert installed.manifest.name == "whole"
    assert installed.role_paths == {"model": folder / "model.bin"}


def test_an_unknown_key_is_refused_with_file_and_line(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "typo", model=None, extra="colour = 1\n")
    with pytest.raises(PackageError, match=r"expert\.toml:12: .*unknown field `colour`") as caught:
        read_manifest(folder)
    assert caught.value.path == str(folder / "expert.toml")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="No such file"):
        read_manifest(tmp_path)


def test_a_manifest_over_one_mebibyte_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "expert.toml").write_bytes(b"#" * 1_048_577)
    with pytest.raises(PackageError, match="limit of 1048576 bytes"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "expert.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(PackageError, match=r"not UTF-8 text \(byte 8\)"):
        read_manifest(tmp_path)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_manifest_or_a_package_error(data: bytes) -> None:
    with pytest.raises(PackageError):
        decode_manifest(data, Path("x"))


def test_a_folder_with_another_name_than_the_expert_is_refused(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "right").rename(tmp_path / "wrong")
    with pytest.raises(PackageError, match="name is 'right' but the folder is 'wrong'"):
        open_package(folder)


def test_a_missing_model_is_not_installed_rather_than_broken(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "bare", keep_model=False)
    with pytest.raises(MissingFileError, match="not installed: model file missing"):
        open_package(folder)


def test_a_truncated_model_is_refused_with_both_sizes(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "short", model=b"0123456789")
    (folder / "model.bin").write_bytes(b"0123")
    with pytest.raises(PackageError, match="4 bytes, but the manifest says 10"):
        open_package(folder)


def test_a_git_lfs_pointer_is_named_for_what_it_is(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "pointer", model=b"x" * 749_728)
    (folder / "model.bin").write_bytes(POINTER)
    with pytest.raises(PackageError, match="a git-lfs pointer"):
        open_package(folder)


def test_a_pointer_is_refused_even_if_the_manifest_was_made_from_it(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = make_package(tmp_path, "fooled", model=POINTER)
    with pytest.raises(PackageError, match="a git-lfs pointer"):
        open_package(folder)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, make_package: PackageMaker) -> None:
    folder = make_package(tmp_path, "odd", keep_model=False)
    (folder / "model.bin").mkdir()
    with pytest.raises(PackageError, match="not a regular file"):
        open_package(folder)


def test_a_linked_model_is_followed(tmp_path: Path, make_package: PackageMaker) -> None:
    folder = make_package(tmp_path, "linked", keep_model=False)
    (tmp_path / "elsewhere").write_bytes(b"model bytes")
    (folder / "model.bin").symlink_to(tmp_path / "elsewhere")
    assert open_package(folder).manifest.name == "linked"


TABLE = '\n[[files]]\npath = "{}"\nsize = 1\nsha256 = "' + "0" * 64 + '"\nrole = "{}"\n'


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        (TABLE.format("a", "") + TABLE.format("a", ""), "'a' is listed 2 times"),
        (TABLE.format("a", "model") + TABLE.format("b", "model"), "2 files have the role 'model'"),
        (TABLE.format("m-1", "part") + TABLE.format("m-2", "part"), "takes no model in parts"),
        (TABLE.format("expert.toml", ""), "cannot hold its own digest"),
        ('[prompt]\ngrammar = "g.gbnf"\n', r"prompt\.grammar: 'g.gbnf' is not among the files"),
        (
            '[[self_test.cases]]\nfile = "cat.png"\nexpect = {}\n',
            r"self_test\.cases\[0\]\.file: 'cat.png' is not among the files",
        ),
        (
            '[[post]]\nstep = "scores.top_k"\nfile = "labels.txt"\n',
            r"post\[0\]\.file: 'labels.txt' is not among the files",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    tmp_path: Path, make_package: PackageMaker, extra: str, fault: str
) -> None:
    folder = make_package(tmp_path, "torn", model=None, extra=extra)
    with pytest.raises(PackageError, match=fault):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_file_name_that_leaves_the_folder_is_refused(
    tmp_path: Path, make_package: PackageMaker, name: str
) -> None:
    folder = make_package(tmp_path, "escape", model=None, extra=TABLE.format(name, ""))
    with pytest.raises(PackageError, match="files"):
        read_manifest(folder)


PARTS = [f"m-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]


def in_parts(folder: Path, names: list[str]) -> Path:
    """Have a package say that its model is in these files."""
    path = folder / "expert.toml"
    text = path.read_text(encoding="utf-8").replace('name = "echo"', 'name = "llama"')
    tables = [TABLE.format(name, "part" if each else "model") for each, name in enumerate(names)]
    path.write_text(text + "".join(tables), encoding="utf-8")
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_an_engine_is_given_the_first_of_a_model_s_parts(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    installed = open_package(in_parts(make_package(tmp_path, "cut", model=None), PARTS))
    assert installed.role_paths == {"model": tmp_path / "cut" / PARTS[0]}
    assert [file.path for file in installed.manifest.model_files] == PARTS


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (PARTS[:2], r"'m-00003-of-00003\.gguf' of the model is missing"),
        ([*PARTS, "other.gguf"], r"'other\.gguf' is no part of the model"),
        (["m.gguf", PARTS[1]], "is no first of at most 200 parts"),
    ],
)
def test_a_model_with_a_part_too_few_or_a_foreign_one_is_refused(
    tmp_path: Path, make_package: PackageMaker, names: list[str], fault: str
) -> None:
    folder = in_parts(make_package(tmp_path, "cut", model=None), names)
    with pytest.raises(PackageError, match=fault):
        open_package(folder)


def test_a_part_that_is_not_on_the_disk_is_missed_as_the_model(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    folder = in_parts(make_package(tmp_path, "cut", model=None), PARTS)
    (folder / PARTS[2]).unlink()
    with pytest.raises(MissingFileError, match="model file missing"):
        open_package(folder)
