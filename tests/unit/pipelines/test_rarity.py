"""How rare a sample's value is in its series: what is rare once, and what came before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiosd.domain.errors import ExpertFailedError
from aiosd.domain.post_steps import SeriesOutliers
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.rarity import rarity
from tests.unit.pipelines.test_surprise import made

Values = NDArray[np.float64]


def by_all_pairs(values: Values, rank: int, apart: int) -> Values:
    places = np.arange(len(values))
    distance = np.abs(values[:, np.newaxis] - values)
    distance[np.abs(places[:, np.newaxis] - places) < apart] = np.inf
    found: Values = np.sort(distance, axis=1)[:, rank - 1]
    return found


def windows_of(series: Values, length: int = 8, hop: int = 4) -> NDArray[np.float32]:
    starts = range(0, len(series) - length + 1, hop)
    return np.array([series[at : at + length] for at in starts], np.float32)[:, :, np.newaxis]


def found(series: Values, columns: int = 1, **settings: float) -> dict[str, object]:
    """What is found where windows themselves are all alike."""
    windows = np.concatenate(
        [windows_of(np.zeros_like(series))] * (columns - 1) + [windows_of(series)], axis=2
    )
    spec = SeriesOutliers(threshold=1.0, length=8, hop=4, apart=40, **settings)  # type: ignore[arg-type]
    return dict(made(spec)(Answer(tensors=(np.zeros((len(windows), 2), np.float32),),
                                  prepared=(windows,))).output)  # fmt: skip


@given(
    seed=st.integers(0, 1000), count=st.integers(8, 400), times=st.integers(1, 12),
    share=st.floats(0.001, 0.25), apart=st.integers(0, 60), round_off=st.booleans(),
)  # fmt: skip
def test_it_is_what_all_pairs_say_unless_that_is_no_more_than_the_least(
    seed: int, count: int, times: int, share: float, apart: int, *, round_off: bool
) -> None:
    chance = np.random.default_rng(seed)
    values = chance.standard_cauchy(count)
    values = values.round() if round_off else values
    least = chance.exponential(1, count)
    rank = max(1, min(times, int(share * count)))
    exact = by_all_pairs(values, rank, min(max(1, apart), max(1, count // 4)))
    said = rarity(values, least, (times, share), apart)
    assert np.isfinite(said).all()
    assert said[said > 0] == pytest.approx(exact[said > 0])
    assert (exact[said == 0] <= np.maximum(least[said == 0], 0) + 1e-12).all()


def test_a_single_spike_that_its_window_hides_is_found_where_it_is() -> None:
    series = np.zeros(2000)
    series[1001] = 2.0
    assert found(series)["anomaly"] is False
    output = found(series, rare=0.6)
    assert output["spans"] == [[998, 1002]]
    assert output["score"] == pytest.approx(1.2)


def test_a_spike_that_came_ten_times_is_none_and_one_of_another_height_is() -> None:
    series = np.zeros(4000)
    series[200::400] = 2.0
    assert found(series, rare=0.6)["anomaly"] is False
    assert found(series, rare=0.6, rare_times=10)["anomaly"] is True
    series[3001] = 4.0
    assert found(series, rare=0.6)["spans"] == [[2998, 3002]]


def test_samples_of_one_fault_do_not_vouch_for_each_other() -> None:
    series = np.zeros(2000)
    series[1000:1030] = 2.0
    assert found(series, rare=0.6)["spans"] == [[998, 1030]]


def test_any_column_may_be_the_rare_one() -> None:
    series = np.zeros(2000)
    series[1001] = 2.0
    assert found(series, columns=3, rare=0.6)["spans"] == [[998, 1002]]


def test_windows_of_another_length_than_the_packages_are_its_fault() -> None:
    step = made(SeriesOutliers(threshold=1.0, length=6, hop=4, rare=0.6))
    windows = windows_of(np.zeros(200))
    tensors = (np.zeros((len(windows), 2), np.float32),)
    with pytest.raises(ExpertFailedError, match="6 samples a window"):
        step(Answer(tensors=tensors, prepared=(windows,)))
    with pytest.raises(ExpertFailedError, match="windows of shape"):
        step(Answer(tensors=tensors))
