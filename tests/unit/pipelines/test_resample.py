import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.pipelines.resample import resample


def sine(hz: float, rate: int, seconds: float = 0.25) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("given_rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_tone_keeps_its_pitch_its_height_and_its_phase(given_rate: int) -> None:
    got = resample(sine(440, given_rate), given_rate, 16_000)
    wanted = sine(440, 16_000)
    middle = slice(200, min(len(got), len(wanted)) - 200)
    assert abs(len(got) - len(wanted)) <= 2
    assert np.abs(got[middle] - wanted[middle]).max() < 1e-3


def test_a_tone_over_half_the_new_rate_is_gone() -> None:
    got = resample(sine(12_000, 48_000), 48_000, 16_000)
    assert np.abs(got[200:-200]).max() < 1e-3


def test_the_same_rate_changes_nothing() -> None:
    samples = sine(440, 16_000)
    assert resample(samples, 16_000, 16_000) is samples


def test_rates_with_nothing_in_common_are_refused_with_a_way_out() -> None:
    with pytest.raises(InvalidError, match="ffmpeg") as caught:
        resample(sine(440, 44_101), 44_101, 16_000)
    assert caught.value.field == "input.audio.rate"


@given(st.integers(1, 400), st.sampled_from([(44_100, 16_000), (8000, 16_000), (48_000, 16_000)]))
def test_a_constant_stays_constant_and_the_length_follows_the_rates(
    count: int, rates: tuple[int, int]
) -> None:
    got = resample(np.ones(count, np.float32), *rates)
    assert len(got) == -(-count * rates[1] // rates[0])
    middle = got[len(got) // 2 : len(got) // 2 + 1]
    if count > 300:  # further from both ends than the filter is long
        assert np.abs(middle - 1).max() < 1e-4
