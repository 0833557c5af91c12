"""Spoken words as data: which recorded ones judge, longer throats, a voice that is not there."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tools.distill import voices
from tools.distill.fault import DataError
from tools.distill.table import Table, key_of


def rows(count: int) -> Table:
    chance = np.random.default_rng(4)
    inputs = [chance.normal(size=(49, 10)).astype(np.float32) for _ in range(count)]
    return Table(inputs, np.zeros(count, np.int64), ["yes"] * count)


def test_what_a_recorded_word_is_for_is_decided_by_its_digest_alone() -> None:
    table = rows(300)
    parts = voices.part_of(table)
    backwards = Table(list(table.inputs)[::-1], table.labels, table.slices)
    assert np.array_equal(voices.part_of(backwards), parts[::-1])
    shares = np.bincount(parts, minlength=3) / 300
    assert shares == pytest.approx([0.4, 0.1, 0.5], abs=0.09)


def test_the_first_of_each_repeated_word_is_the_recorded_one() -> None:
    table = rows(3)
    again = voices._again(table, np.random.default_rng(1))
    assert len(again) == 3 * voices.RECORDED_EACH
    assert [key_of(one) for one in again.inputs[:3]] == [key_of(one) for one in table.inputs]
    assert len({key_of(one) for one in again.inputs}) == len(again)


def test_a_longer_throat_lowers_the_pitch() -> None:
    time = np.arange(8000) / voices.RATE
    tone = np.sin(2 * np.pi * 400 * time).astype(np.float32)

    def pitch(sound: np.ndarray) -> float:  # type: ignore[type-arg]
        spectrum = np.abs(np.fft.rfft(sound))
        return float(spectrum.argmax() * voices.RATE / len(sound))

    assert pitch(voices.throat(tone, 0.8)) == pytest.approx(320, abs=3)
    assert pitch(voices.throat(tone, 1.25)) == pytest.approx(500, abs=3)


@pytest.mark.parametrize(("voice", "program"), [("en-us", "espeak-ng"), ("flite:slt", "flite")])
def test_a_program_that_is_not_installed_is_named(
    voice: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DataError, match=f"apt-get install {program}"):
        voices.speak(tmp_path, "yes", voice, 160, 50)
    assert not list(tmp_path.iterdir())
