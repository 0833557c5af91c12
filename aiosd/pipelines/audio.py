"""Steps for recordings: decode, normalize, windows, log mel energies, MFCC.

Formulas: mel scales as in HTK (O'Shaughnessy 1987: 1127·ln(1 + f/700)) and Slaney's Auditory
Toolbox (linear to 1 kHz, 27 steps per factor 6.4 above); DCT-II as in HTK.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import AudioInput
from aiosd.domain.pre_steps import AudioDecode, AudioLogMel, AudioMfcc, AudioNormalize, AudioWindow
from aiosd.domain.step import Step
from aiosd.pipelines.resample import resample
from aiosd.pipelines.wav import FIELD, read_wav

Call = Callable[[object], object]
Numbers = NDArray[Any]

BLOCK = 1024  # frames that are transformed at once: bounds the memory of a long recording
MAX_ELEMENTS = 1 << 26  # of all windows of one request: 256 MiB of float32


def _array(value: object, axes: tuple[int, ...], step: str) -> Numbers:
    if not isinstance(value, np.ndarray) or value.ndim not in axes:
        shape = getattr(value, "shape", type(value).__name__)
        raise ExpertFailedError(
            f"{step} cannot take {shape}: the package's steps are in the wrong order",
            reason="wrong order of steps",
        )
    return value


def decode(spec: AudioDecode, folder: Path) -> Call:
    """Make a callable from `AudioInput` to float32 (samples,)."""
    del folder
    if not 1 <= spec.rate <= 768_000 or not 0 <= spec.min_seconds <= spec.max_seconds:  # noqa: PLR2004 - Hz
        raise PackageError("rate must be 1 to 768000, and min_seconds at most max_seconds")

    def call(value: object) -> object:
        if not isinstance(value, AudioInput) or not value.data:
            raise InvalidError("no recording was sent", field=FIELD)
        wav = read_wav(value.data)
        if wav.rate != spec.rate and not spec.resample:
            raise InvalidError(
                f"the recording has {wav.rate} Hz, the expert takes {spec.rate} Hz; convert it "
                f"(for example: ffmpeg -i in.wav -ar {spec.rate} -ac 1 out.wav)",
                field=f"{FIELD}.rate",
                given_hz=wav.rate,
                wanted_hz=spec.rate,
            )
        seconds = wav.frames / wav.rate
        if not spec.min_seconds <= seconds <= spec.max_seconds:
            raise InvalidError(
                f"the recording lasts {seconds:.3f} s; the expert takes {spec.min_seconds} to "
                f"{spec.max_seconds} s",
                field=f"{FIELD}.seconds",
            )
        return resample(wav.mono(), wav.rate, spec.rate)

    return call


def normalize(spec: AudioNormalize, folder: Path) -> Call:
    """Make a callable that divides (samples,) or (n, length) by the peak of each row."""
    del folder

    def call(value: object) -> object:
        samples = _array(value, (1, 2), "audio.normalize")
        sized = np.abs(samples) if spec.peak == "magnitude" else samples
        peak = sized.max(axis=-1, keepdims=True)
        return samples / np.where(peak > 0, peak, 1).astype(np.float32)

    return call


def window(spec: AudioWindow, folder: Path) -> Call:
    """Make a callable from (samples,) to (n, length)."""
    del folder
    if spec.length < 1 or spec.hop < 0:
        raise PackageError("length must be at least 1, and hop at least 0")

    def call(value: object) -> object:
        samples = _array(value, (1,), "audio.window")
        rest = max(0, len(samples) - spec.length)
        count = 1 + -(-rest // spec.hop) if spec.hop else 1
        if count * spec.length > MAX_ELEMENTS:
            raise InvalidError(
                f"the recording falls into {count} windows, more than fit; send a shorter one",
                field=f"{FIELD}.seconds",
            )
        end = (count - 1) * spec.hop + spec.length
        padded = np.zeros(end, np.float32)
        padded[: min(end, len(samples))] = samples[:end]
        views = np.lib.stride_tricks.sliding_window_view(padded, spec.length)
        return np.ascontiguousarray(views[:: spec.hop or 1])

    return call


def log_mel(spec: AudioLogMel, folder: Path) -> Call:
    """Make a callable from (n, length) to (n, frames, mels)."""
    del folder
    high = spec.high_hz or spec.rate / 2
    if not 1 <= spec.frame <= spec.fft <= 65_536 or spec.hop < 1:  # noqa: PLR2004 - samples
        raise PackageError("frame must be 1 to fft, fft at most 65536, and hop at least 1")
    if not 1 <= spec.mels <= 1024 or not 0 <= spec.low_hz < high <= spec.rate / 2:  # noqa: PLR2004
        raise PackageError("mels must be 1 to 1024, and 0 ≤ low_hz < high_hz ≤ rate / 2")
    if spec.offset < 0 or spec.power <= 0:
        raise PackageError("offset must be at least 0 and power over 0")
    shape = _window_function(spec)
    weights = mel_weights(spec, high)

    def call(value: object) -> object:
        samples = _array(value, (2,), "audio.log_mel")
        if spec.centre:
            samples = _centred(samples, spec)
        if samples.shape[1] < spec.frame:
            raise InvalidError(
                f"{samples.shape[1]} samples are less than one frame of {spec.frame}",
                field=f"{FIELD}.seconds",
            )
        views = np.lib.stride_tricks.sliding_window_view(samples, spec.frame, axis=1)
        frames = views[:, :: spec.hop]
        energies = np.empty((*frames.shape[:2], spec.mels))
        for start in range(0, frames.shape[1], BLOCK):
            block = frames[:, start : start + BLOCK]
            spectrum = np.abs(np.fft.rfft(block * shape, n=spec.fft, axis=-1))
            if spec.power != 1:
                spectrum **= spec.power
            energies[:, start : start + BLOCK] = spectrum @ weights
        return _logarithm(energies, spec).astype(np.float32)

    return call


def _centred(samples: Numbers, spec: AudioLogMel) -> Numbers:
    """Reflect the ends, so that frame t is around sample t · hop."""
    side = spec.fft // 2
    if samples.shape[1] <= side:
        raise InvalidError(
            f"{samples.shape[1]} samples are too few to reflect {side} at the ends",
            field=f"{FIELD}.seconds",
        )
    lead = (spec.fft - spec.frame) // 2
    padded = np.pad(samples, ((0, 0), (side, side)), mode="reflect")
    return padded[:, lead : padded.shape[1] - (spec.fft - spec.frame - lead)]


def _window_function(spec: AudioLogMel) -> Numbers:
    length = spec.frame + 1 if spec.periodic else spec.frame
    if spec.window == "none":
        return np.ones(spec.frame)
    whole = np.hanning(length) if spec.window == "hann" else np.hamming(length)
    return whole[: spec.frame]


def hz_to_mel(hz: Numbers, scale: str) -> Numbers:
    """Return the mel value of each frequency."""
    if scale == "htk":
        htk: Numbers = 1127.0 * np.log1p(hz / 700.0)
        return htk
    above = 15.0 + np.log(np.maximum(hz, 1000.0) / 1000.0) * (27.0 / np.log(6.4))
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, above)  # noqa: PLR2004 - where Slaney bends


def mel_to_hz(mel: Numbers, scale: str) -> Numbers:
    """Return the frequency of each mel value."""
    if scale == "htk":
        htk: Numbers = 700.0 * np.expm1(mel / 1127.0)
        return htk
    above = 1000.0 * np.exp((np.maximum(mel, 15.0) - 15.0) * (np.log(6.4) / 27.0))
    return np.where(mel < 15.0, mel * 200.0 / 3.0, above)  # noqa: PLR2004 - where Slaney bends


def mel_weights(spec: AudioLogMel, high: float) -> Numbers:
    """Return (fft // 2 + 1, mels): triangles that share their feet with the neighbours' peaks."""
    bins = np.arange(spec.fft // 2 + 1) * spec.rate / spec.fft
    ends = hz_to_mel(np.array([spec.low_hz, high]), spec.scale)
    feet_mel = np.linspace(ends[0], ends[1], spec.mels + 2)
    feet_hz = mel_to_hz(feet_mel, spec.scale)
    axis, feet = (
        (bins, feet_hz) if spec.triangles == "hz" else (hz_to_mel(bins, spec.scale), feet_mel)
    )
    rising = (axis[:, np.newaxis] - feet[:-2]) / (feet[1:-1] - feet[:-2])
    falling = (feet[2:] - axis[:, np.newaxis]) / (feet[2:] - feet[1:-1])
    weights: Numbers = np.maximum(0.0, np.minimum(rising, falling))
    if spec.normalize == "slaney":
        weights *= 2.0 / (feet_hz[2:] - feet_hz[:-2])
    return weights


def _logarithm(energies: Numbers, spec: AudioLogMel) -> Numbers:
    energies = np.maximum(energies + spec.offset, np.finfo(np.float32).tiny)
    if spec.log == "natural":
        return np.log(energies)
    levels: Numbers = np.log10(energies)
    if spec.log == "db":
        levels *= 10.0
        if spec.top_db is not None:
            floor = levels.max(axis=(1, 2), keepdims=True) - spec.top_db
            levels = np.maximum(levels, floor)
    return levels


def mfcc(spec: AudioMfcc, folder: Path) -> Call:
    """Make a callable from (n, frames, mels) to (n, frames, coefficients)."""
    del folder
    if spec.coefficients < 1 or spec.first < 0:
        raise PackageError("coefficients must be at least 1, and first at least 0")
    last = spec.first + spec.coefficients
    bases: dict[int, Numbers] = {}

    def call(value: object) -> object:
        energies = _array(value, (3,), "audio.mfcc")
        mels = energies.shape[2]
        if last > mels:
            raise ExpertFailedError(
                f"audio.mfcc wants coefficients up to {last} of {mels} mels",
                reason="too many coefficients",
            )
        if mels not in bases:
            bases[mels] = dct_basis(mels, spec)
        return energies @ bases[mels]

    return call


def dct_basis(mels: int, spec: AudioMfcc) -> Numbers:
    """Return float32 (mels, coefficients): cosines, scaled as `norm` says."""
    numbers = np.arange(spec.first, spec.first + spec.coefficients)
    basis = np.cos(np.pi / mels * (np.arange(mels)[:, np.newaxis] + 0.5) * numbers)
    if spec.norm == "none":
        basis *= 2.0
    else:
        basis *= np.sqrt(2.0 / mels)
    if spec.norm == "ortho":
        basis[:, numbers == 0] *= np.sqrt(0.5)
    return basis.astype(np.float32)


STEPS: dict[type[Step], Callable[[Any, Path], Call]] = {
    AudioDecode: decode,
    AudioNormalize: normalize,
    AudioWindow: window,
    AudioLogMel: log_mel,
    AudioMfcc: mfcc,
}
