"""What the tests of the tools share."""

from collections.abc import Iterator

import pytest
from fakes.simulated import Simulated


@pytest.fixture(autouse=True)
def _simulated_boards_are_closed() -> Iterator[None]:
    yield
    Simulated.close_all()
