"""A short round of what `make torture` does for hours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.torture.blows import Blows, memory_folder
from tools.torture.disk import NESTED, Disk, NoDiskError
from tools.torture.faults import Faults
from tools.torture.points import names
from tools.torture.tally import Tally

pytestmark = pytest.mark.process

QUICK = ("kill", "eio", "enospc")


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as found:
        yield found


def test_every_failpoint_is_reached_and_leaves_a_board_that_serves(folder: Path) -> None:
    tally = Tally(None)
    faults = Faults(folder, tally, None, again=False)
    assert len(names()) >= 50
    assert faults.missed == []
    # One way each; all of them, and power cuts, in `make torture`.
    faults.run(lambda number, _name: [QUICK[number % len(QUICK)]])
    assert tally.broken == []
    assert tally.total("point ") == len(names())


def test_kills_at_random_lose_nothing(folder: Path) -> None:
    tally = Tally(folder / "counts.json")
    Blows(folder, tally, seed=1).run(25)
    assert tally.broken == []
    assert Tally(folder / "counts.json").total("kill ") == 25  # a later run goes on from here


@pytest.mark.parametrize("kind", ["ext4", "xfs", NESTED])
def test_power_cuts_lose_nothing(kind: str) -> None:
    tally = Tally(None)
    try:
        disk = Disk(kind)
    except NoDiskError as error:
        pytest.skip(str(error))
    with disk:
        Blows(disk.root, tally, seed=1, disk=disk).run(10)
    assert tally.broken == []
    assert sum(tally.counts.values()) >= 10
