"""The scoring of anomaly detectors: one way for all, by events."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.train.nab import Count, Series, crossed, episodes, folds, score, seasonal, tune, zscore
from tools.train.plant import plant
from tools.train.recurring import recurring


def series(*windows: tuple[int, int], length: int = 1000) -> Series:
    return Series("a/b", np.zeros(length), windows, np.arange(length) * 300.0, held_out=False)


def alarms(*places: int, length: int = 1000) -> NDArray[np.bool_]:
    found = np.zeros(length, dtype=bool)
    found[list(places)] = True
    return found


def test_alarms_closer_than_one_percent_are_one_episode() -> None:
    assert episodes(alarms(300, 305, 314, 330)) == [(300, 315), (330, 331)]


def test_an_episode_in_a_window_finds_it_and_one_outside_is_false() -> None:
    assert score(series((400, 450), (700, 750)), alarms(449, 600)) == Count(1, 1, 1)


def test_two_episodes_in_one_window_find_it_once() -> None:
    assert score(series((400, 450)), alarms(405, 440)) == Count(1, 0, 0)


def test_the_first_fifteen_percent_are_not_scored() -> None:
    assert score(series(), alarms(10, 149)) == Count(0, 0, 0)
    assert score(series(), alarms(150)) == Count(0, 1, 0)


def test_figures_follow_from_the_counts() -> None:
    count = Count(3, 1, 2)
    assert (count.precision, count.recall) == (0.75, 0.6)
    assert count.f1 == pytest.approx(6 / 9)
    assert Count().f1 == 1


def test_baselines_see_a_spike_and_the_tuned_threshold_finds_it() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    values[1500] = 30
    spiked = Series("a/b", values, ((1490, 1510),), np.arange(2000) * 300.0, held_out=False)
    for detector in (zscore, seasonal):
        scores = {"a/b": detector(spiked)}
        assert score(spiked, scores["a/b"] >= tune(scores, [spiked])) == Count(1, 0, 0)


def test_our_own_series_have_a_fault_in_every_other_half_and_do_not_change() -> None:
    one, two = recurring(12, seed=3), recurring(12, seed=3)
    assert [bool(each.windows) for each in one] == [False] * 6 + [True] * 6
    assert all(np.array_equal(a.values, b.values) for a, b in zip(one, two, strict=True))


def test_folds_are_families_and_a_large_family_is_two() -> None:
    members = [
        Series(f"{family}/{place}", np.zeros(10), (), np.arange(10.0), held_out=False)
        for family, count in (("a", 9), ("b", 8))
        for place in range(count)
    ]
    assert [len(fold) for fold in folds(members)] == [5, 4, 8]


def test_a_crossed_count_uses_no_threshold_tuned_on_the_series_it_judges() -> None:
    low, high = (
        Series(f"{family}/x", np.zeros(1000), ((500, 600),), np.arange(1000.0), held_out=False)
        for family in "ab"
    )
    scores = {"a/x": low.labels * 1.0, "b/x": high.labels * 5.0}
    assert tune(scores, [low, high]) == 1
    # The threshold from b misses a's window; that from a finds b's.
    assert crossed(scores, [low, high]) == Count(1, 0, 1)


def test_plant_series_hold_finite_faults_within_them_and_do_not_change() -> None:
    one, two = plant(16, seed=3), plant(16, seed=3)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(one, two, strict=True))
    assert {len(each.windows) for each in one} == {0, 1, 2}
    for each in one:
        assert np.isfinite(each.values).all()
        assert all(0 <= start < end <= len(each.values) for start, end in each.windows)
