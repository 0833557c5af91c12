"""The series steps after the engine: which windows and samples are not as they should be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.post_steps import SeriesForecast, SeriesOutliers, SeriesReconstruction
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.series import STEPS

HERE = Path()
KEYS = {"anomaly", "score", "threshold", "spans", "scores"}


def made(spec: Step) -> Callable[[Answer], Answer]:
    step: Callable[[Answer], Any] = STEPS[type(spec)](spec, HERE)
    return step


def asked(spec: Step, given: ArrayLike, out: ArrayLike) -> dict[str, Any]:
    prepared, tensors = np.array(given, np.float32), np.array(out, np.float32)
    return dict(made(spec)(Answer(prepared=(prepared,), tensors=(tensors,))).output)


def outliers(vectors: NDArray[np.float64], **settings: float) -> dict[str, Any]:
    spec = SeriesOutliers(threshold=1.0, length=4, **settings)  # type: ignore[arg-type]
    return asked(spec, np.zeros((len(vectors), 4, 1)), vectors)


@pytest.mark.parametrize(("measure", "error"), [("mse", 4.5), ("mae", 1.5), ("max", 3.0)])
def test_reconstruction_measures_each_window(measure: str, error: float) -> None:
    spec = SeriesReconstruction(threshold=1, measure=measure)  # type: ignore[arg-type]
    output = asked(spec, [[[1], [2]], [[3], [4]]], [[[1], [2]], [[0], [4]]])
    assert output["scores"] == [0, error]
    assert output["score"] == error
    assert output["anomaly"] is True
    assert output["spans"] == [[1, 3]]
    assert set(output) == KEYS


def test_touching_windows_are_one_span_and_distant_ones_two() -> None:
    given = np.zeros((6, 4))
    out = given + np.array([3, 3, 0, 0, 3, 0])[:, np.newaxis]
    output = asked(SeriesReconstruction(threshold=1, hop=4), given, out)
    assert output["spans"] == [[0, 8], [16, 20]]


def test_mean_reduction_lets_one_bad_window_pass() -> None:
    given = np.zeros((4, 2))
    out = given + np.array([2, 0, 0, 0])[:, np.newaxis]
    assert asked(SeriesReconstruction(threshold=2, reduce="mean"), given, out)["anomaly"] is False
    assert asked(SeriesReconstruction(threshold=2, reduce="max"), given, out)["anomaly"] is True


def test_flat_windows_of_rows_have_spans_in_rows() -> None:
    output = asked(
        SeriesReconstruction(threshold=1, length=5), np.zeros((3, 640)), np.ones((3, 640))
    )
    assert output["spans"] == [[0, 7]]


def test_an_output_of_another_size_is_the_models_fault() -> None:
    with pytest.raises(ExpertFailedError, match="no reconstruction"):
        asked(SeriesReconstruction(threshold=1), np.zeros((2, 4)), np.zeros((2, 3)))


def test_an_answer_without_tensors_is_the_models_fault() -> None:
    with pytest.raises(ExpertFailedError):
        made(SeriesReconstruction(threshold=1))(Answer())


def test_a_forecast_without_threshold_is_what_follows_the_last_window() -> None:
    output = asked(SeriesForecast(), [[[1], [2]], [[2], [3]]], [[3, 4], [4, 5]])
    assert output == {"forecast": [[4], [5]]}


def test_forecast_errors_are_per_sample_from_the_end_of_the_first_window() -> None:
    series = np.array([1, 2, 3, 9, 5, 6], dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(series, 2)[:, :, np.newaxis]
    output = asked(SeriesForecast(threshold=2), windows, [[3], [4], [5], [5], [7]])
    assert output["scores"] == [0, 5, 0, 1]
    assert output["spans"] == [[3, 4]]
    assert output["anomaly"] is True
    assert output["forecast"] == [[7]]


def test_forecasts_that_overlap_are_averaged() -> None:
    windows = [[[0], [0]], [[0], [1]], [[1], [1]]]
    output = asked(SeriesForecast(threshold=9), windows, [[1, 3], [1, 0], [0, 0]])
    assert output["scores"] == [0, 1]


def test_a_forecast_that_fits_no_column_is_the_models_fault() -> None:
    with pytest.raises(ExpertFailedError, match="no forecast"):
        asked(SeriesForecast(), np.zeros((2, 4, 3)), np.zeros((2, 4)))


def test_a_window_like_no_other_is_an_outlier() -> None:
    vectors = np.random.default_rng(1).normal(0, 0.1, (100, 3))
    vectors[60] = 5
    output = outliers(vectors, hop=4)
    assert output["anomaly"] is True
    assert output["spans"] == [[240, 244]]
    assert int(np.argmax(output["scores"])) == 60


def test_what_recurs_is_no_outlier_however_far_from_the_median() -> None:
    vectors = np.random.default_rng(1).normal(0, 0.1, (200, 3))
    vectors[::20] += 8
    assert outliers(vectors, hop=4, apart=16)["anomaly"] is False


def test_neighbours_in_time_do_not_vouch_for_each_other() -> None:
    vectors = np.random.default_rng(1).normal(0, 0.1, (200, 3))
    vectors[100:106] += 8
    assert outliers(vectors, hop=4, share=0.02)["anomaly"] is False
    assert outliers(vectors, hop=4, share=0.02, apart=40)["spans"] == [[400, 424]]


def test_a_series_that_does_not_vary_has_no_outlier() -> None:
    output = outliers(np.full((50, 3), 7.0))
    assert output["anomaly"] is False
    assert output["score"] < 1e-3


def test_calm_makes_a_restless_series_stand_out_from_its_own_unrest() -> None:
    quiet = np.random.default_rng(1).normal(0, 0.02, (200, 3))
    restless = np.random.default_rng(1).normal(0, 3, (200, 3))
    quiet[100] += 0.4
    assert outliers(quiet, hop=4)["anomaly"] is False
    assert outliers(quiet, hop=4, calm=0.2)["spans"] == [[400, 404]]
    plain, calmed = (outliers(restless, hop=4, calm=calm)["scores"] for calm in (0, 0.2))
    assert np.median(calmed) < 1
    assert calmed == pytest.approx(np.array(plain) / (0.2 + np.median(plain)))


def test_local_thinks_less_of_a_window_where_all_lie_far_apart() -> None:
    dense, thin = np.linspace(0, 0.3, 300), np.linspace(10, 40, 100)
    vectors = np.concatenate([dense, thin])[:, np.newaxis]
    vectors[150] = 3
    plain, locally = (np.array(outliers(vectors, local=local)["scores"]) for local in (0, 1))
    # The last of the thin ones are further from theirs than it is; only its own lie close.
    assert plain[150] < plain[300:].max()
    assert locally[150] > locally[300:].max()


def test_local_takes_the_mean_distance_of_the_nearest_away_and_calm_divides_by_the_whole() -> None:
    vectors = np.arange(40.0)[:, np.newaxis] ** 1.5
    plain = np.array(outliers(vectors, share=0.05)["scores"])
    nearest = np.abs(vectors - vectors.T)
    np.fill_diagonal(nearest, np.inf)
    usual = plain[np.argsort(nearest, axis=1)[:, :2]].mean(axis=1)
    found = outliers(vectors, share=0.05, local=0.4, calm=0.2)["scores"]
    assert found == pytest.approx((plain - 0.4 * usual) / (0.2 + np.median(plain)))


def test_alarms_close_together_are_one_span_and_short_spans_are_dropped() -> None:
    vectors = np.zeros((100, 2))
    vectors[40], vectors[44], vectors[80] = 5, 9, 14
    assert outliers(vectors)["spans"] == [[41, 42], [45, 46], [81, 82]]
    merged = outliers(vectors, merge=4, min_length=3)
    assert merged["spans"] == [[41, 46]]


def test_a_span_at_the_end_reaches_the_end() -> None:
    vectors = np.zeros((100, 2))
    vectors[99] = 9
    assert outliers(vectors, hop=2)["spans"] == [[199, 202]]


def test_too_few_windows_say_how_many_samples_are_needed() -> None:
    with pytest.raises(InvalidError, match="18 samples") as raised:
        outliers(np.zeros((7, 2)), hop=2)
    assert raised.value.field == "input.values"


@given(
    st.integers(8, 80),
    st.integers(1, 9),
    st.sampled_from([0, 10, 1000]),
    st.floats(0.01, 0.5),
    st.sampled_from([0, 0.35, 1]),
)
def test_outlier_scores_are_one_per_window_and_finite(
    count: int, smooth: int, apart: int, share: float, local: float
) -> None:
    vectors = np.random.default_rng(count).standard_cauchy((count, 3))
    output = outliers(vectors, smooth=smooth, apart=apart, share=share, local=local)
    assert len(output["scores"]) == count
    assert np.isfinite(output["scores"]).all()
    assert output["score"] == max(output["scores"])
    for start, end in output["spans"]:
        assert 0 <= start < end <= count - 1 + 4


@pytest.mark.parametrize(
    "spec",
    [
        SeriesReconstruction(threshold=1, hop=0),
        SeriesForecast(hop=0),
        SeriesOutliers(threshold=1, length=4, hop=5),
        SeriesOutliers(threshold=1, length=4, quantile=1),
        SeriesOutliers(threshold=1, length=4, share=0.6),
        SeriesOutliers(threshold=1, length=4, floor=0),
        SeriesOutliers(threshold=1, length=4, smooth=0),
        SeriesOutliers(threshold=1, length=4, calm=-0.1),
        SeriesOutliers(threshold=1, length=4, local=-0.1),
        SeriesOutliers(threshold=1, length=4, rare=-0.1),
        SeriesOutliers(threshold=1, length=4, rare_times=0),
        SeriesOutliers(threshold=1, length=4, rare_share=0.3),
    ],
)
def test_bad_parameters_are_the_packages_fault(spec: Step) -> None:
    with pytest.raises(PackageError):
        made(spec)
