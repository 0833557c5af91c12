"""What the owner may set."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.daemon.settings import Settings, read_settings
from aiosd.domain.errors import ConfigError
from aiosd.domain.sizes import parse_size


def write(folder: Path, text: str) -> Path:
    path = folder / "aiosd.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_sample_holds_every_setting_with_its_default_and_nothing_else(repo: Path) -> None:
    text = (repo / "docs" / "aiosd.sample.toml").read_text(encoding="utf-8")
    bare = re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)
    assert tomllib.loads(bare) == msgspec.to_builtins(Settings())


def test_every_setting_of_the_sample_has_a_line_of_meaning(repo: Path) -> None:
    lines = (repo / "docs" / "aiosd.sample.toml").read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"#\w", line):
            assert before.startswith("# "), line


def test_the_sample_as_it_is_means_all_defaults(repo: Path) -> None:
    assert read_settings(repo / "docs" / "aiosd.sample.toml", must_exist=True) == Settings()


def test_a_missing_file_means_all_defaults_unless_it_was_named(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none", must_exist=False) == Settings()
    with pytest.raises(ConfigError, match="no such file"):
        read_settings(tmp_path / "none", must_exist=True)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("[queue]\n\nper_clent = 3\n", 3, "per_clent"),
        ("[quue]\nper_client = 3\n", 1, "quue"),
        ("[queue]\nper_client = 0\n", 2, ">= 1"),
        ("[queue]\nper_client = 'many'\n", 2, "str"),
        ("[stop]\ndrain_seconds = 5\n[engines]\nhosts = 'maybe'\n", 4, "maybe"),
        ("[ram]\n# a comment\ncap = 'much'\n", 3, "much"),
        ("[ram.needs]\none = '1 MiB'\ntwo = 'much'\n", 3, "much"),
        ("[wire]\nmax_attachment = '-1'\n", 2, "-1"),
        ("[queue]\nmax_bytes = 'auto'\n", 2, "auto"),
        ("[sockets]\nmode = '0999'\n", 2, "regex"),
        ("[ram]\ncap = '" + "9" * 400 + "'\n", 2, "no size"),
        ("[experts]\nkeep_alive_seconds = nan\n", 2, ">="),
        ("[stop]\ndrain_seconds = nan\n", 2, ">="),
        ("[log\nlevel = 'info'\n", 1, ""),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, word: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(write(tmp_path, text), must_exist=True)
    assert caught.value.line == line
    assert word in str(caught.value)
    assert f"aiosd.toml:{line}:" in str(caught.value)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "aiosd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "aiosd.toml", must_exist=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path, must_exist=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000000", 1_000_000),
        ("512 MiB", 512 * 2**20),
        ("1.5G", 1_500_000_000),
        ("2GiB", 2**31),
        ("3 K", 3000),
        (" 4 KB ", 4000),
    ],
)
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.text(max_size=12))
def test_what_is_no_size_is_refused_and_never_misread(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError as error:
        assert "no size" in str(error)  # noqa: PT017 - most of the texts end here
    else:
        assert size >= 0
        assert text.strip()[0].isdigit()


def test_the_owners_paths_go_before_the_built_in_ones(tmp_path: Path) -> None:
    made = read_settings(
        write(tmp_path, "[paths]\nexperts = ['/a', '/b']\nsockets = '/c'\n"), must_exist=True
    ).layout()
    assert made.experts == (Path("/a"), Path("/b"))
    assert made.api_socket == Path("/c/api.sock")
    assert made.state == Settings().layout().state
