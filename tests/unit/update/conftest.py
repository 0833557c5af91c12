"""What the tests of the updater share."""

import os
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fakes.updating import Board, updating


class Hasty(sqlite3.Connection):
    """A database that does not wait for the disk."""

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        asked = "PRAGMA synchronous=OFF" if sql.startswith("PRAGMA synchronous") else sql
        return super().execute(asked, *values)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """What is durable when is the matter of tools/torture and the process tests, not of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _handle: None)
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Hasty))
        yield


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board whose release 1 of `one` serves."""
    with updating(tmp_path) as made:
        yield made
