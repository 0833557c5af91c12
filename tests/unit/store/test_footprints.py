"""A memory that outlives a restart, and is never trusted further than it can be read."""

import logging
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.footprint import Circumstances, Footprint
from aiosd.store.footprints import MAX_FILE_BYTES, MAX_KEPT, Footprints

FOUND = Footprint(engine="e 1", peak_bytes=10, answers=3, reload_seconds=0.5)


def under(number: int = 0) -> Circumstances:
    return Circumstances(package=f"{number:064x}", context=512, board="rpi5")


def test_what_was_kept_is_found_after_a_restart(tmp_path: Path) -> None:
    book = tmp_path / "footprints.json"
    first = Footprints(book)
    assert first.find(under()) is None
    first.keep(under(), FOUND)
    first.write()
    assert Footprints(book).find(under()) == FOUND
    assert Footprints(book).find(under(1)) is None


def test_the_oldest_are_forgotten_first(tmp_path: Path) -> None:
    book = Footprints(tmp_path / "footprints.json")
    for number in range(MAX_KEPT):
        book.keep(under(number), FOUND)
    book.keep(under(0), FOUND)
    book.keep(under(MAX_KEPT), FOUND)
    assert book.find(under(0)) == FOUND
    assert book.find(under(1)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "footprints": []}',
        b'{"version": 1, "footprints": [{"under": {}}]}',
        b"\xff\xfe",
        b" " * (MAX_FILE_BYTES + 1),
    ],
)
def test_a_foreign_book_is_ignored_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    book = tmp_path / "footprints.json"
    book.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert Footprints(book).find(under()) is None
    assert "ignored" in caplog.text


@given(st.sampled_from(["peak_bytes", "answers", "reload_seconds"]), st.sampled_from([-1, 2**60]))
def test_numbers_that_cannot_be_are_ignored(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: int
) -> None:
    book = tmp_path_factory.mktemp("state") / "footprints.json"
    line = {"under": msgspec.to_builtins(under()), "found": msgspec.to_builtins(FOUND)}
    line["found"][field] = value
    book.write_bytes(msgspec.json.encode({"version": 1, "footprints": [line]}))
    assert Footprints(book).find(under()) is None


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = Footprints(tmp_path / "none" / "footprints.json")
    book.keep(under(), FOUND)
    book.write()
    book.write()
    assert caplog.text.count("measured again") == 1
    assert book.find(under()) == FOUND
