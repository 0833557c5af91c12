from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.pipelines.files import MAX_BYTES, read_labels, read_text


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("0 cat\n1  dog\n", ("cat", "dog")),
        ("0: cat\n1: sea: dog\n", ("cat", "sea: dog")),
        ("1 cat\n2 dog\n", ("1 cat", "2 dog")),
        ("0 cat\ndog", ("0 cat", "dog")),
        ("\ncat\n\n\n", ("", "cat")),
        ("tench, Tinca tinca\r\nhen\r\n", ("tench, Tinca tinca", "hen")),
    ],
)
def test_labels_are_lines_with_or_without_their_numbers(
    tmp_path: Path, text: str, labels: tuple[str, ...]
) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_labels(tmp_path, "labels.txt") == labels


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc/passwd", "a/b"])
def test_no_name_leads_out_of_the_package(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageError, match="not the name of a file"):
        read_text(tmp_path, name)


def test_a_missing_an_empty_a_huge_and_a_binary_file_are_package_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name, words in (
        ("missing.txt", "cannot be read"),
        ("empty.txt", "holds no labels"),
        ("binary.txt", "not UTF-8"),
        ("huge.txt", "at most"),
    ):
        with pytest.raises(PackageError, match=words) as caught:
            read_labels(tmp_path, name)
        assert name in caught.value.path
