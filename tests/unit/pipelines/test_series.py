"""The series steps before the engine: gaps, limits, scales and windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.inputs import SeriesInput
from aiosd.domain.pre_steps import SeriesDecode, SeriesScale, SeriesWindow
from aiosd.domain.step import Step
from aiosd.pipelines.series import STEPS

HERE = Path()
NAN, INFINITY = float("nan"), float("inf")
Floats = NDArray[np.float32]


def made(spec: Step) -> Callable[[Any], Any]:
    return STEPS[type(spec)](spec, HERE)


def decoded(values: list[float], **settings: str | int) -> list[float]:
    array: Floats = made(SeriesDecode(**settings))(SeriesInput(values=values))  # type: ignore[arg-type]
    found: list[float] = array[:, 0].tolist()
    return found


finite = st.floats(-(2.0**100), 2.0**100, width=32)


@given(st.lists(finite, min_size=1, max_size=50))
def test_values_and_bytes_are_the_same_series(values: list[float]) -> None:
    data = np.array(values, dtype="<f4").tobytes()
    step = made(SeriesDecode())
    assert np.array_equal(step(SeriesInput(values=values)), step(SeriesInput(data=data)))


def test_columns_are_row_major() -> None:
    array = made(SeriesDecode(columns=2))(SeriesInput(values=[1, 2, 3, 4], columns=2))
    assert array.tolist() == [[1, 2], [3, 4]]
    assert array.dtype == np.float32


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        (SeriesInput(values=[1.0] * 5, columns=2), "input.columns", "takes 1"),
        (SeriesInput(values=[]), "input.values", "0 samples"),
        (SeriesInput(), "input.values", "empty"),
        (SeriesInput(data=b"abcde"), "input.data", "5 bytes"),
        (SeriesInput(values=[1.0], data=b"abcd"), "input.data", "both"),
        (SeriesInput(values=[1.0] * 9), "input.values", "2 to 8"),
        (SeriesInput(values=[1.0]), "input.values", "2 to 8"),
        (SeriesInput(values=[1.0, INFINITY]), "input.values", "sample 1"),
        (SeriesInput(values=[1.0, 2.0, -INFINITY]), "input.values", "sample 2"),
        (SeriesInput(values=[1.0, 1e39]), "input.values", "beyond float32"),
        (SeriesInput(values=[1.0, NAN]), "input.values", "sample 1 is NaN"),
        (SeriesInput(data=np.array([1, np.inf], "<f4").tobytes()), "input.data", "sample 1"),
    ],
)
def test_a_bad_series_names_the_field_and_the_fault(
    value: SeriesInput, field: str, says: str
) -> None:
    with pytest.raises(InvalidError, match=says) as raised:
        made(SeriesDecode(min_length=2, max_length=8))(value)
    assert raised.value.field == field


def test_half_a_sample_of_two_columns_is_refused() -> None:
    with pytest.raises(InvalidError, match="whole number"):
        made(SeriesDecode(columns=2))(SeriesInput(values=[1, 2, 3], columns=2))


def test_hold_repeats_the_last_reading() -> None:
    assert decoded([NAN, 1, NAN, NAN, 4, NAN], nan="hold") == [1, 1, 1, 1, 4, 4]


def test_interpolate_draws_a_line() -> None:
    assert decoded([NAN, 1, NAN, NAN, 4, NAN], nan="interpolate") == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("nan", ["hold", "interpolate"])
@pytest.mark.parametrize(
    "values", [[NAN, NAN, NAN, 1.0], [1.0, NAN, NAN, NAN], [0.0, NAN, NAN, NAN, 1.0]]
)
def test_a_gap_longer_than_allowed_is_refused(nan: str, values: list[float]) -> None:
    with pytest.raises(InvalidError, match="at most 2"):
        decoded(values, nan=nan, max_gap=2)
    assert len(decoded(values, nan=nan, max_gap=3)) == len(values)


def test_a_series_of_nothing_but_nan_is_refused() -> None:
    with pytest.raises(InvalidError, match="no reading"):
        decoded([NAN, NAN], nan="hold")


@given(st.lists(st.one_of(finite, st.just(NAN)), min_size=1, max_size=40))
def test_what_is_decoded_is_finite(values: list[float]) -> None:
    try:
        found = decoded(values, nan="interpolate")
    except InvalidError:
        assert np.isnan(values).all()
    else:
        assert np.isfinite(found).all()


@pytest.mark.parametrize("method", ["zscore", "robust", "minmax"])
@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=60))
def test_a_scaled_series_is_finite_and_keeps_its_order(method: str, values: list[float]) -> None:
    series = np.array(values, dtype=np.float32)[:, np.newaxis]
    spec = SeriesScale(method=method, compress="asinh")  # type: ignore[arg-type]
    scaled = made(spec)(series)[:, 0]
    assert np.isfinite(scaled).all()
    order = np.argsort(series[:, 0], kind="stable")
    assert (np.diff(scaled[order]) >= 0).all()


def test_robust_scale_ignores_unit_and_level() -> None:
    series = np.random.default_rng(1).normal(size=(500, 1)).astype(np.float32)
    step = made(SeriesScale(method="robust"))
    assert np.allclose(step(series), step(series * 40 + 7), atol=1e-4)


def test_robust_scale_is_about_one_for_normal_noise_and_a_spike_hardly_moves_it() -> None:
    series = np.random.default_rng(1).normal(size=(5000, 1)).astype(np.float32)
    step = made(SeriesScale(method="robust"))
    assert abs(float(step(series).std()) - 1) < 0.05
    spiked = series.copy()
    spiked[100] = 50
    assert np.allclose(np.delete(step(spiked), 100), np.delete(step(series), 100), atol=0.1)


@pytest.mark.parametrize("method", ["zscore", "robust", "minmax"])
def test_a_series_that_does_not_vary_becomes_zeros(method: str) -> None:
    series = np.full((50, 1), 12345.678, dtype=np.float32)
    assert (made(SeriesScale(method=method))(series) == 0).all()  # type: ignore[arg-type]


def test_fixed_scale_takes_constants_per_column() -> None:
    step = made(SeriesScale(method="fixed", mean=[1, 2], scale=[2, 4]))
    assert step(np.array([[3, 6]], dtype=np.float32)).tolist() == [[1, 1]]


def test_clip_bounds_the_magnitude() -> None:
    step = made(SeriesScale(method="fixed", mean=[0], scale=[1], clip=3))
    assert step(np.array([[9], [-9], [1]], dtype=np.float32)).ravel().tolist() == [3, -3, 1]


def test_windows_are_hop_apart_and_whole() -> None:
    series = np.arange(10, dtype=np.float32)[:, np.newaxis]
    windows = made(SeriesWindow(length=4, hop=3))(series)
    assert windows[:, :, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert windows.dtype == np.float32


def test_columns_stay_columns_in_windows() -> None:
    series = np.arange(12, dtype=np.float32).reshape(6, 2)
    windows = made(SeriesWindow(length=3))(series)
    assert windows.shape == (4, 3, 2)
    assert windows[1].tolist() == series[1:4].tolist()


def test_a_series_shorter_than_a_window_says_what_is_needed() -> None:
    with pytest.raises(InvalidError, match="one window takes 5") as raised:
        made(SeriesWindow(length=5))(np.zeros((4, 1), dtype=np.float32))
    assert raised.value.field == "input.values"


def test_windows_are_normalized_one_by_one() -> None:
    series = np.array([[0], [2], [10], [14], [5], [5]], dtype=np.float32)
    step = made(SeriesWindow(length=2, hop=2, normalize="zscore"))
    assert step(series)[:, :, 0].tolist() == [[-1, 1], [-1, 1], [0, 0]]


@pytest.mark.parametrize(
    "spec",
    [
        SeriesDecode(columns=0),
        SeriesDecode(min_length=5, max_length=4),
        SeriesScale(method="fixed"),
        SeriesScale(method="zscore", mean=[1], scale=[1]),
        SeriesScale(method="fixed", mean=[1], scale=[0]),
        SeriesScale(clip=-1),
        SeriesWindow(length=0),
        SeriesWindow(length=4, hop=0),
    ],
)
def test_bad_parameters_are_the_packages_fault(spec: Step) -> None:
    with pytest.raises(PackageError):
        made(spec)


def test_constants_for_other_columns_are_the_packages_fault() -> None:
    with pytest.raises(PackageError, match="2 constants for 3 columns"):
        made(SeriesScale(method="fixed", mean=[1, 2], scale=[1, 1]))(np.zeros((5, 3), np.float32))
