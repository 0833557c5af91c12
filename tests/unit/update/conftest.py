"""What the tests of the updater share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.updating import Board, updating


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board whose release 1 of `one` serves."""
    with updating(tmp_path) as made:
        yield made
