import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import AudioInput
from aiosd.domain.pre_steps import AudioDecode, AudioLogMel, AudioMfcc, AudioNormalize, AudioWindow
from aiosd.domain.step import Step
from aiosd.pipelines.audio import STEPS, hz_to_mel, mel_to_hz, mel_weights

HERE = Path()

KEYWORDS = [
    AudioDecode(rate=16_000),
    AudioWindow(length=16_000),
    AudioNormalize(peak="value"),
    AudioLogMel(
        rate=16_000,
        frame=480,
        hop=320,
        fft=512,
        mels=40,
        low_hz=20.0,
        high_hz=4000.0,
        power=1.0,
        triangles="mel",
    ),
    AudioMfcc(coefficients=10, norm="htk"),
]


def apply(value: object, *specs: Step) -> np.ndarray:
    for spec in specs:
        value = STEPS[type(spec)](spec, HERE)(value)
    assert isinstance(value, np.ndarray)
    return value


def recording(samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> AudioInput:
    body = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    data = (
        b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(body)) + body
    )
    return AudioInput(data=b"RIFF" + struct.pack("<I", len(data)) + data)


def test_a_wav_with_the_wrong_rate_names_the_field_both_rates_and_the_way_out() -> None:
    with pytest.raises(InvalidError, match=r"44100 Hz.*16000 Hz.*ffmpeg.*-ar 16000") as caught:
        apply(recording(np.zeros(4410), 44_100), AudioDecode(rate=16_000))
    assert caught.value.field == "input.audio.rate"
    assert caught.value.details["given_hz"] == 44_100


def test_a_package_may_ask_for_resampling() -> None:
    samples = apply(recording(np.zeros(4410), 44_100), AudioDecode(rate=16_000, resample=True))
    assert samples.shape == (1600,)


@pytest.mark.parametrize("count", [100, 40_000])
def test_a_recording_too_short_or_too_long_says_the_limits(count: int) -> None:
    with pytest.raises(InvalidError, match=r"takes 0.01 to 2.0 s") as caught:
        apply(recording(np.zeros(count)), AudioDecode(rate=16_000, max_seconds=2.0))
    assert caught.value.field == "input.audio.seconds"


@pytest.mark.parametrize("value", [AudioInput(), AudioInput(data=b""), "text"])
def test_no_recording_is_refused(value: object) -> None:
    with pytest.raises(InvalidError, match="no recording"):
        apply(value, AudioDecode(rate=16_000))


@pytest.mark.parametrize(
    ("count", "hop", "starts"),
    [
        (5, 0, [0]),
        (3, 0, [0]),
        (4, 2, [0]),
        (5, 2, [0, 2]),
        (6, 2, [0, 2]),
        (7, 2, [0, 2, 4]),
        (9, 4, [0, 4, 8]),
        (9, 7, [0, 7]),
    ],
)
def test_windows_cover_every_sample_and_the_last_is_padded(
    count: int, hop: int, starts: list[int]
) -> None:
    samples = np.arange(1, count + 1, dtype=np.float32)
    windows = apply(samples, AudioWindow(length=4, hop=hop))
    padded = np.concatenate([samples, np.zeros(20, np.float32)])
    assert windows.tolist() == [padded[start : start + 4].tolist() for start in starts]


def test_more_windows_than_fit_are_refused() -> None:
    with pytest.raises(InvalidError, match="send a shorter one"):
        apply(np.zeros(200_000, np.float32), AudioWindow(length=16_000, hop=1))


def test_normalizing_divides_each_window_by_its_own_peak_and_leaves_silence() -> None:
    windows = np.array([[1, -4], [0, 0], [-2, -1]], np.float32)
    assert apply(windows, AudioNormalize()).tolist() == [[0.25, -1], [0, 0], [-1, -0.5]]
    assert apply(windows, AudioNormalize(peak="value")).tolist() == [[1, -4], [0, 0], [-2, -1]]


def plain_log_mel(samples: list[float], spec: AudioLogMel) -> list[list[float]]:
    """The definition, written out: a DFT sum per bin, a triangle per mel."""
    high = spec.high_hz or spec.rate / 2
    mel = lambda hz: 1127 * math.log(1 + hz / 700)  # noqa: E731
    hertz = lambda value: 700 * (math.exp(value / 1127) - 1)  # noqa: E731
    low_mel, high_mel = mel(spec.low_hz), mel(high)
    feet = [low_mel + (high_mel - low_mel) * k / (spec.mels + 1) for k in range(spec.mels + 2)]
    place = mel
    if spec.triangles == "hz":
        feet, place = [hertz(foot) for foot in feet], float
    rows = []
    for start in range(0, len(samples) - spec.frame + 1, spec.hop):
        size = []
        for b in range(spec.fft // 2 + 1):
            total = 0j
            for t in range(spec.frame):
                weight = 0.5 - 0.5 * math.cos(2 * math.pi * t / spec.frame)
                angle = -2 * math.pi * b * t / spec.fft
                total += samples[start + t] * weight * complex(math.cos(angle), math.sin(angle))
            size.append(abs(total) ** spec.power)
        row = []
        for m in range(spec.mels):
            left, peak, right = feet[m : m + 3]
            energy = 0.0
            for b, value in enumerate(size):
                at = place(b * spec.rate / spec.fft)
                up, down = (at - left) / (peak - left), (right - at) / (right - peak)
                energy += value * max(0.0, min(up, down))
            row.append(math.log(energy + spec.offset))
        rows.append(row)
    return rows


@pytest.mark.parametrize("triangles", ["hz", "mel"])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_log_mel_is_its_definition(triangles: str, power: float) -> None:
    spec = AudioLogMel(
        rate=8000, frame=60, hop=35, fft=64, mels=6, low_hz=100, triangles=triangles, power=power
    )
    samples = np.random.default_rng(5).normal(0, 0.3, (2, 140)).astype(np.float32)
    got = apply(samples, spec)
    assert got.shape == (2, 3, 6)
    for window, row in zip(samples, got, strict=True):
        assert np.allclose(row, plain_log_mel(window.tolist(), spec), atol=1e-4)


@pytest.mark.parametrize(("norm", "first"), [("ortho", 0), ("htk", 0), ("none", 0), ("ortho", 2)])
def test_mfcc_is_its_definition(norm: str, first: int) -> None:
    energies = np.random.default_rng(6).normal(0, 3, (1, 2, 8)).astype(np.float32)
    got = apply(energies, AudioMfcc(coefficients=4, first=first, norm=norm))
    for frame, row in zip(energies[0].tolist(), got[0].tolist(), strict=True):
        for place, value in enumerate(row):
            k = first + place
            total = sum(x * math.cos(math.pi * k * (m + 0.5) / 8) for m, x in enumerate(frame))
            scale = {"none": 2, "htk": math.sqrt(2 / 8)}.get(
                norm, math.sqrt((1 if k == 0 else 2) / 8)
            )
            assert value == pytest.approx(scale * total, abs=1e-4)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_and_hertz_undo_each_other(scale: str) -> None:
    hz = np.array([0, 20, 500, 999.9, 1000, 1000.1, 4000, 20_000])
    assert np.allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, atol=1e-6)


def test_the_published_points_of_both_scales_hold() -> None:
    assert hz_to_mel(np.array([1000.0]), "htk")[0] == pytest.approx(1000, abs=0.1)
    # Slaney: 15 steps to 1 kHz, and 27 more for a factor of 6.4
    assert hz_to_mel(np.array([1000.0, 6400.0]), "slaney").tolist() == pytest.approx([15, 42])


def test_slaney_normalized_triangles_all_have_the_same_area() -> None:
    spec = AudioLogMel(
        rate=16_000, frame=8192, hop=512, fft=8192, mels=40, scale="slaney", normalize="slaney"
    )
    areas = mel_weights(spec, 8000.0).sum(axis=0) * 16_000 / 8192
    assert np.allclose(areas, 1, atol=0.01)


def test_decibels_have_a_floor_below_the_loudest() -> None:
    spec = AudioLogMel(rate=8000, frame=64, hop=64, fft=64, mels=4, log="db", top_db=30.0, offset=0)
    samples = np.zeros((1, 128), np.float32)
    samples[0, :64] = np.random.default_rng(1).normal(0, 1, 64)
    levels = apply(samples, spec)
    assert levels.min() == pytest.approx(levels.max() - 30)


def test_a_centred_frame_is_around_its_hop() -> None:
    spec = AudioLogMel(rate=8000, frame=32, hop=16, fft=64, mels=4, centre=True, offset=0)
    click = np.zeros((1, 161), np.float32)
    click[0, 80] = 1
    loudest = apply(click, spec)[0].sum(axis=1).argmax()
    assert apply(click, spec).shape == (1, 161 // 16 + 1, 4)
    assert loudest == 80 // 16


def test_silence_gives_the_logarithm_of_the_offset() -> None:
    spec = AudioLogMel(rate=8000, frame=64, hop=64, fft=64, mels=4)
    assert np.allclose(apply(np.zeros((1, 64), np.float32), spec), math.log(1e-6))


@given(st.integers(480, 1200))
def test_the_number_of_frames_is_what_the_length_allows(length: int) -> None:
    spec = AudioLogMel(rate=16_000, frame=480, hop=320, fft=512, mels=4)
    assert apply(np.zeros((1, length), np.float32), spec).shape[1] == 1 + (length - 480) // 320


def test_less_than_a_frame_is_refused() -> None:
    spec = AudioLogMel(rate=8000, frame=64, hop=64, fft=64, mels=4)
    with pytest.raises(InvalidError, match="63 samples are less than one frame of 64"):
        apply(np.zeros((1, 63), np.float32), spec)


@pytest.mark.parametrize(
    "spec",
    [
        AudioDecode(rate=0),
        AudioDecode(rate=8000, min_seconds=2, max_seconds=1),
        AudioWindow(length=0),
        AudioWindow(length=1, hop=-1),
        AudioLogMel(rate=8000, frame=65, hop=1, fft=64, mels=4),
        AudioLogMel(rate=8000, frame=64, hop=0, fft=64, mels=4),
        AudioLogMel(rate=8000, frame=64, hop=1, fft=64, mels=0),
        AudioLogMel(rate=8000, frame=64, hop=1, fft=64, mels=4, high_hz=4001),
        AudioLogMel(rate=8000, frame=64, hop=1, fft=64, mels=4, low_hz=4000),
        AudioLogMel(rate=8000, frame=64, hop=1, fft=64, mels=4, offset=-1),
        AudioLogMel(rate=8000, frame=64, hop=1, fft=64, mels=4, power=0),
        AudioMfcc(coefficients=0),
    ],
)
def test_bad_parameters_are_found_when_the_worker_starts(spec: Step) -> None:
    with pytest.raises(PackageError):
        STEPS[type(spec)](spec, HERE)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (AudioWindow(length=4), np.zeros((1, 4), np.float32)),
        (AudioMfcc(coefficients=2), np.zeros(4, np.float32)),
        (AudioMfcc(coefficients=5), np.zeros((1, 2, 4), np.float32)),
        (AudioNormalize(), "text"),
    ],
)
def test_steps_in_the_wrong_order_are_the_package_s_fault(spec: Step, value: object) -> None:
    with pytest.raises(ExpertFailedError):
        apply(value, spec)


@pytest.mark.assets
def test_the_front_end_gives_the_benchmark_s_own_numbers(assets: Path) -> None:
    """Input 195 of the benchmark was made from this clip, by TensorFlow, and cut to int8."""
    data = (assets / "samples/audio/micro_speech/no_1000ms.wav").read_bytes()
    recorded = np.load(assets / "samples/features/kws01_0_200_mfcc_int8.npz")
    assert recorded["name"][195] == "tst_000195_No_3.bin"
    got = apply(AudioInput(data=data), *KEYWORDS)[0]
    cut = np.trunc(got / np.float32(0.5847029089927673) + 83).astype(np.int8)
    assert np.array_equal(cut, recorded["x"][195, ..., 0])
