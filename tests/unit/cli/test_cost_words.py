"""What an update cost, as people read it."""

import pytest

from aiosd.cli.render import cost_words

MIB = 1 << 20


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (None, ""),
        ({}, ""),
        ({"fetched": 0, "written": 0, "shared": 0}, ""),
        ({"fetched": 3 * MIB, "written": 3 * MIB, "shared": 0}, "3.0 MiB fetched"),
        (
            {"fetched": MIB, "written": 40 * MIB, "shared": 0},
            "1.0 MiB fetched, 40.0 MiB written",
        ),
        (
            {"fetched": MIB, "written": MIB, "shared": 39 * MIB},
            "1.0 MiB fetched, 39.0 MiB shared with older files",
        ),
    ],
)
def test_what_is_the_same_is_not_said_twice(cost: object, words: str) -> None:
    assert cost_words(cost) == words
