"""Command words spoken by espeak-ng and flite in many voices, in noise, as `keyword`'s features.

Labelled MFCC inputs of the MLPerf Tiny benchmark (Speech Commands) are the only recorded ones. They
are cut in two by their digest: one half is learned from beside the synthetic words, the other is
what the student is judged on, and no training sees it.
"""

import hashlib
import io
import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.inputs import AudioInput
from aiosd.domain.pre_steps import AudioDecode, AudioLogMel, AudioMfcc, AudioNormalize, AudioWindow
from aiosd.pipelines.audio import STEPS
from tools.distill.fault import DataError
from tools.distill.table import Material, Table, key_of, unlabelled
from tools.distill.texts import clinc_texts
from tools.distill.variants import changed

RATE = 16_000
LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    "silence",
    "unknown",
)
WORDS = LABELS[:10]
# Of Speech Commands' other words, and a few more.
OTHERS = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin", "nine"),
    *("one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero", "forward", "learn"),
    *("visual", "follow", "backward", "water", "music", "window", "paper", "running", "table"),
)
# Accents of espeak-ng, and its variants of a voice that are like persons' ones.
VOICES = (
    *("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029"),
    *(f"en-us+{form}" for form in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")),
    *(f"en-us+{form}" for form in ("f1", "f2", "f3", "f4", "f5", "croak", "grandma", "grandpa")),
    *(f"en-us+{form}" for form in ("adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "anika")),
    *(f"en-gb+{form}" for form in ("aunty", "belinda", "benjamin", "boris", "caleb", "david")),
    *(f"en-us+{form}" for form in ("ed", "edward", "Gene", "Henrique", "Hugo", "iven", "Jacky")),
    *(f"en-gb+{form}" for form in ("john", "Lee", "linda", "max", "Michael", "Mike", "pablo")),
    *(f"en-us+{form}" for form in ("paul", "pedro", "quincy", "rob", "robert", "sandro", "steph")),
    *(f"en-us+{form}" for form in ("shelby", "steph2", "Storm", "travis", "victor", "zac")),
)
# Voices of flite made from recordings of four persons (CMU ARCTIC and Kevin Lenzo's).
PERSONS = ("flite:slt", "flite:rms", "flite:awb", "flite:kal16")
PERSONS_EACH = 6
PRE = (
    AudioDecode(rate=RATE, resample=True, max_seconds=2.0),
    AudioWindow(length=RATE),
    AudioNormalize(peak="value"),
    AudioLogMel(
        rate=RATE, frame=480, hop=320, fft=512, mels=40, low_hz=20.0, high_hz=4000.0, power=1.0,
        triangles="mel",
    ),
    AudioMfcc(coefficients=10, norm="htk"),
)  # fmt: skip
# What espeak-ng says may be longer than what the package takes.
READ = AudioDecode(rate=RATE, resample=True, max_seconds=60.0)
EACH = 2
SENTENCES = 150
SILENCES = 80
# How often each recorded input that is learned from comes, changed every time but the first.
RECORDED_EACH = 12
SEED = 3
JUDGED = "kws01_0_200_mfcc_int8.npz"
TEACHER = ("tflite", "audio", "mlperf_kws_ref_int8.tflite")


def read_keywords(assets: Path, folder: Path) -> Material:
    """Speak what is not spoken yet into `folder`, and return features with their labels.

    Raises:
        DataError: espeak-ng or flite is not installed, or does not speak.
    """
    spoken = folder if folder.parts else Path("build") / "distill" / "voices"
    inputs: list[NDArray[np.float32]] = []
    labels: list[int] = []
    chance = np.random.default_rng(SEED)
    for label, word, voice, count in _plan():
        for sound in _takes(spoken, word, voice, chance, count):
            inputs.append(features(_placed(sound, chance)))
            labels.append(LABELS.index(label))
    for _ in range(SILENCES):
        inputs.append(features(noise(RATE, chance) * 10 ** chance.uniform(-5, -0.5)))
        labels.append(LABELS.index("silence"))
    table = Table(inputs, np.array(labels, np.int64), [LABELS[each] for each in labels])
    tuned = np.random.default_rng(SEED).random(len(table)) < 0.05
    every = recorded(assets)
    learned, tuning, held = (every.where(part_of(every) == part) for part in (0, 1, 2))
    return Material(
        LABELS,
        table.where(~tuned) + _again(learned, chance),
        unlabelled(list(_sentences(assets, spoken, chance))),
        table.where(tuned) + tuning,
        held,
        f"{len(held)} recorded words, features of the MLPerf Tiny benchmark; none was trained on",
        "Voices: espeak-ng, flite. Teacher: MLPerf Tiny reference, mlcommons/tiny, Apache-2.0",
        pre=PRE,
    )


def _plan() -> Iterator[tuple[str, str, str, int]]:
    """Yield label, word, voice and how often."""
    for word in WORDS:
        yield from ((word, word, voice, EACH) for voice in VOICES)
        yield from ((word, word, voice, PERSONS_EACH) for voice in PERSONS)
    for at, word in enumerate(OTHERS):
        yield from (("unknown", word, voice, 1) for voice in (*VOICES[at % 8 :: 8], *PERSONS))


def part_of(table: Table) -> NDArray[np.int64]:
    """Return of each recorded input what it is for, by its digest.

    0 is to learn from (two fifths), 1 to tune (a tenth), 2 to judge on (half).
    """
    return np.array([(0, 0, 0, 0, 1, 2, 2, 2, 2, 2)[key_of(one)[0] % 10] for one in table.inputs])


def _again(table: Table, chance: np.random.Generator) -> Table:
    """Return each input `RECORDED_EACH` times, changed every time but the first."""
    rows = np.stack([np.asarray(one, np.float32) for one in table.inputs])
    spread = rows.reshape(-1, rows.shape[-1]).std(axis=0) + 1e-6
    again = [changed(one, spread, chance) for _ in range(RECORDED_EACH - 1) for one in rows]
    return Table(
        [*table.inputs, *again],
        np.tile(table.labels, RECORDED_EACH),
        [*table.slices] * RECORDED_EACH,
    )


def _sentences(
    assets: Path, folder: Path, chance: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield features of seconds of spoken sentences: sounds of speech that nobody labelled."""
    texts = sorted(clinc_texts(assets))
    for at in chance.permutation(len(texts))[:SENTENCES]:
        voices = PERSONS if chance.random() < 0.5 else VOICES
        voice = voices[int(chance.integers(len(voices)))]
        speed, pitch = int(chance.integers(110, 220)), int(chance.integers(25, 80))
        sound = speak(folder, texts[at], voice, speed, pitch)
        for start in range(0, max(1, len(sound) - RATE // 2), RATE * 2 // 3):
            yield features(_placed(sound[start : start + RATE], chance))


def recorded(assets: Path) -> Table:
    """Return the labelled inputs of the benchmark, as the features the teacher's int8 stand for."""
    from tools.distill.teachers.litert import LitertTeacher  # noqa: PLC0415 - for its scale

    teacher = LitertTeacher(assets.joinpath(*TEACHER))
    scale, zero = teacher.input_scale
    found = np.load(assets / "samples" / "features" / JUDGED)
    rows = (found["x"][..., 0].astype(np.float32) - zero) * np.float32(scale)
    numbers = found["y"].astype(np.int64)
    return Table(list(rows), numbers, [LABELS[each] for each in numbers])


def features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (49, 10) MFCC of a second, by the package's own steps."""
    value: Any = samples[None].astype(np.float32)
    for step in PRE[2:]:
        value = STEPS[type(step)](step, Path())(value)
    found: NDArray[np.float32] = np.asarray(value[0], np.float32)
    return found


def _takes(
    folder: Path, word: str, voice: str, chance: np.random.Generator, count: int
) -> Iterator[NDArray[np.float32]]:
    for _ in range(count):
        speed, pitch = int(chance.integers(110, 220)), int(chance.integers(25, 80))
        yield throat(speak(folder, word, voice, speed, pitch), float(chance.uniform(0.85, 1.18)))


def throat(sound: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return the sound as of a longer or shorter vocal tract: all frequencies times `factor`."""
    places = np.arange(0, len(sound) - 1, factor)
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)


def speak(folder: Path, word: str, voice: str, speed: int, pitch: int) -> NDArray[np.float32]:
    """Return a word as 16 kHz samples without the silence around it; each is spoken only once.

    Raises:
        DataError: the program is not there, or fails.
    """
    name = hashlib.sha256(f"{word}|{voice}|{speed}|{pitch}".encode()).hexdigest()[:16]
    path = folder / f"{name}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_said(word, voice, speed, pitch))
    value: Any = AudioInput(data=path.read_bytes())
    samples = np.asarray(STEPS[AudioDecode](READ, Path())(value), np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * max(1e-6, float(np.abs(samples).max())))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def _said(word: str, voice: str, speed: int, pitch: int) -> bytes:
    """Return a WAV file: speed in words a minute, pitch 0 to 99."""
    kind, _, person = voice.rpartition(":")
    name = kind or "espeak-ng"
    program = shutil.which(name)
    if program is None:
        raise DataError(f"{name} is not installed: apt-get install {name}")
    asked = ["-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    if kind:
        slower, tone = f"duration_stretch={165 / speed:.2f}", f"int_f0_target_mean={80 + pitch}"
        asked = ["-voice", person, "--setf", slower, "--setf", tone, "-t", word]
        asked += ["-o", "/dev/stdout"]
    made = subprocess.run([program, *asked], check=False, capture_output=True)
    if made.returncode or len(made.stdout) < 1000:
        raise DataError(f"{name} does not say {word!r} as {voice}: {made.stderr[:200]!r}")
    return _whole_header(made.stdout)


def _whole_header(data: bytes) -> bytes:
    """Return the recording with its true length; a pipe's header does not have it."""
    with wave.open(io.BytesIO(data)) as file:
        shape = file.getnchannels(), file.getsampwidth(), file.getframerate()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(shape[0])
        file.setsampwidth(shape[1])
        file.setframerate(shape[2])
        file.writeframes(data[44:])
    return out.getvalue()


def _placed(sound: NDArray[np.float32], chance: np.random.Generator) -> NDArray[np.float32]:
    """Return a second with the word somewhere in it, in a room and in noise."""
    sound = sound[:RATE]
    room = np.exp(-np.arange(1600) / chance.uniform(20, 400)) * chance.normal(size=1600)
    room *= chance.random() < 0.5
    room[0] = 4.0
    wet = np.convolve(sound, room.astype(np.float32))[: len(sound)]
    wet *= np.float32(chance.uniform(0.1, 0.9) / max(1e-6, float(np.abs(wet).max())))
    second = np.zeros(RATE, np.float32)
    start = int(chance.integers(0, max(1, RATE - len(wet) + 1)))
    second[start : start + len(wet)] = wet
    level = float(np.sqrt((wet**2).mean())) * 10 ** (-chance.uniform(5, 80) / 20)
    return second + level * noise(RATE, chance)


def noise(count: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of deviation 1 whose power falls with frequency, by f^0 to f^-2."""
    spectrum = np.fft.rfft(chance.normal(size=count))
    fall = np.maximum(np.arange(len(spectrum)), 1.0) ** (-chance.uniform(0, 1))
    found = np.fft.irfft(spectrum * fall, count)
    return (found / max(1e-9, float(found.std()))).astype(np.float32)
