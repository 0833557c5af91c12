"""Two packages of series beside each other: their events, and how sure a gain in F1 is."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from fakes.bundled import LIBRARIES

from tools.train.cycling import FORMS, cycling
from tools.train.nab import Count

GOOD, FALSE, MISSED = Count(1, 0, 0), Count(1, 1, 0), Count(0, 0, 1)


@pytest.fixture
def beside() -> Any:  # noqa: ANN401 - what it needs may be absent
    return importlib.import_module("tools.distill.series_beside")


def test_a_gain_is_the_difference_of_f1_over_all_events(beside: Any) -> None:  # noqa: ANN401
    value, low, high = beside.gain_in_f1([GOOD] * 40, [GOOD, MISSED, FALSE, GOOD] * 10)
    # Three of four found and one false: 6 / 8.
    assert value == pytest.approx(1 - 6 / 8)
    assert 0 < low < value < high


def test_a_gain_of_one_series_in_forty_is_not_sure(beside: Any) -> None:  # noqa: ANN401
    value, low, _ = beside.gain_in_f1([GOOD] * 40, [GOOD] * 39 + [MISSED])
    assert value > 0
    assert low == 0


def test_where_nothing_is_to_be_found_and_nothing_said_all_is_right(beside: Any) -> None:  # noqa: ANN401
    assert beside.gain_in_f1([Count()] * 3, [Count(0, 1, 0)] * 3) == (1.0, 1.0, 1.0)


def test_a_gain_needs_the_same_series(beside: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="same series"):
        beside.gain_in_f1([GOOD], [GOOD, GOOD])


def test_a_package_beside_itself_gains_nothing(beside: Any, repo: Path) -> None:  # noqa: ANN401
    pytest.importorskip(LIBRARIES["ai-edge-litert"])
    folder = repo / "experts" / "machine-anomaly"
    head, *rows = beside.compare_series(folder, folder, sizes=0.005)
    assert head.split()[:2] == ["series", "n"]
    assert [row.split()[0] for row in rows] == ["recurring", "plant", "cycling"]
    assert all("+0.000 (+0.000 to +0.000)" in row for row in rows)


def test_a_package_that_judges_no_series_is_refused(beside: Any, repo: Path) -> None:  # noqa: ANN401
    with pytest.raises(beside.DistillError, match=r"series\.outliers"):
        beside.compare_series(repo / "experts" / "digits", repo / "experts" / "digits")


def test_cycling_series_come_again_by_their_seed_and_hold_their_faults() -> None:
    first, again = cycling(2 * len(FORMS), seed=4), cycling(2 * len(FORMS), seed=4)
    assert all((a.values == b.values).all() for a, b in zip(first, again, strict=True))
    assert {each.name.split("/")[1].split("-")[0] for each in first} == set(FORMS)
    assert any(each.windows for each in first)
    for each in first:
        assert all(0 <= start < end <= len(each.values) for start, end in each.windows)
