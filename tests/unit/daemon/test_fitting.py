"""A head is looked for, made, taken up, or given up with a reason; the old one serves meanwhile."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from aiosd.daemon import fitting
from aiosd.daemon.fitting import Fitting
from aiosd.policy.routing.head import Head
from aiosd.policy.routing.lessons import Lesson, key_of
from aiosd.store.heads import KEPT, Errand, Heads, errand

LAMP = Lesson(expert="lamp", utterances=[f"light {n} on" for n in ("one", "two", "three", "four")])
MONEY = Lesson(expert="money", utterances=[f"pay {n}" for n in ("me", "him", "them", "us all")])
SECONDS = 60.0


class Ear:
    """Hears of heads."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, bool]] = []
        self.settled = asyncio.Event()

    def __call__(self, head: Head | None, learning: bool) -> None:  # noqa: FBT001
        self.told.append((head.facts.key if head else None, learning))
        if not learning:
            self.settled.set()


def made(folder: Path) -> tuple[Fitting, Ear]:
    ear = Ear()
    return Fitting(asyncio.get_running_loop(), dict(os.environ), Heads(folder), ear), ear


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_head_is_made_once_and_found_again(tmp_path: Path) -> None:
    fitter, ear = made(tmp_path)
    fitter.want([LAMP, MONEY])
    assert ear.told == [(None, True)]
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    key = key_of([LAMP, MONEY])
    assert ear.told[-1] == (key, False)
    fitter.want([MONEY, LAMP])
    assert len(ear.told) == 2
    again, other = made(tmp_path)
    again.want([LAMP, MONEY])
    assert other.told == [(key, False)]


async def test_a_head_that_was_read_ahead_is_taken_as_it_is_and_once(tmp_path: Path) -> None:
    fitter, ear = made(tmp_path)
    fitter.want([LAMP, MONEY])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    key, heads, other = key_of([LAMP, MONEY]), Heads(tmp_path), Ear()
    heads.read_ahead(key)
    (tmp_path / f"{key}.head").unlink()
    Fitting(asyncio.get_running_loop(), dict(os.environ), heads, other).want([LAMP, MONEY])
    assert other.told == [(key, False)]
    assert heads.read(key) is None
    heads.read_ahead(key)
    assert heads.read("other") is None


async def test_packages_without_texts_need_no_head(tmp_path: Path) -> None:
    fitter, ear = made(tmp_path)
    fitter.want([Lesson(expert="mute")])
    assert ear.told == []
    fitter.want([LAMP])
    fitter.want([])
    assert ear.told[-1] == (None, False)
    assert names(tmp_path) == []


async def test_a_fitter_that_fails_leaves_texts_unheard_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(lessons: list[Lesson]) -> Errand:
        job = errand(lessons)
        return Errand([sys.executable, "-c", "raise SystemExit(3)"], job.lessons, job.head)

    monkeypatch.setattr(fitting, "errand", broken)
    fitter, ear = made(tmp_path)
    fitter.want([LAMP])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    assert ear.told[-1] == (None, False)
    assert "status 3: texts are not routed" in caplog.text


async def test_after_a_failure_the_head_of_before_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(lessons: list[Lesson]) -> Errand:
        job = errand(lessons)
        return Errand([sys.executable, "-c", "raise SystemExit(3)"], job.lessons, job.head)

    fitter, ear = made(tmp_path)
    fitter.want([LAMP])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    monkeypatch.setattr(fitting, "errand", broken)
    ear.settled.clear()
    fitter.want([LAMP, MONEY])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    assert ear.told[-1] == (key_of([LAMP]), False)
    assert "the one before serves" in caplog.text


async def test_a_fitter_that_writes_nonsense_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def liar(lessons: list[Lesson]) -> Errand:
        job = errand(lessons)
        script = f"import os; os.write({job.head}, b'nonsense')"
        return Errand([sys.executable, "-c", script], job.lessons, job.head)

    monkeypatch.setattr(fitting, "errand", liar)
    fitter, ear = made(tmp_path)
    fitter.want([LAMP])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    assert ear.told[-1] == (None, False)
    assert "no head" in caplog.text
    assert names(tmp_path) == []


async def test_a_fitter_whose_head_is_not_wanted_any_more_is_ended(tmp_path: Path) -> None:
    fitter, ear = made(tmp_path)
    fitter.want([LAMP])
    fitter.want([LAMP, MONEY])
    await asyncio.wait_for(ear.settled.wait(), SECONDS)
    assert [each for each in ear.told if each[0]] == [(key_of([LAMP, MONEY]), False)]
    fitter.want([LAMP])
    fitter.close()
    assert fitter._job is None


def test_a_damaged_head_is_none_and_only_the_last_are_kept(tmp_path: Path) -> None:
    heads = Heads(tmp_path / "heads")
    assert heads.read("a") is None
    for number in range(KEPT + 3):
        heads.keep(f"k{number}", b"damaged")
        os.utime(tmp_path / "heads" / f"k{number}.head", (number, number))
    assert heads.read(f"k{KEPT + 2}") is None
    assert heads.facts(f"k{KEPT + 2}") is None
    kept = {path.name for path in (tmp_path / "heads").iterdir()}
    assert f"k{KEPT + 2}.head" in kept
    assert len(kept) <= KEPT + 1


def test_without_numpy_the_fitter_says_that_texts_are_not_routed(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - for this alone

    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('No module named numpy')")
    job = errand([LAMP])
    done = subprocess.run(
        job.command,
        pass_fds=job.descriptors,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.take() == b""
    assert done.returncode == 3
    assert "text routing is off" in done.stderr
