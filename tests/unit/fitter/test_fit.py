"""Lessons become a head that hears what they taught, and always the same bytes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.fitter.calibration import calibrate, calibration_error, wilson_low
from aiosd.fitter.fit import NothingError, fit
from aiosd.fitter.texts import rows_of
from aiosd.policy.routing.head import decode_head
from aiosd.policy.routing.hearing import explain, hear
from aiosd.policy.routing.lessons import Lesson, TextFile, key_of
from aiosd.policy.routing.lexical import normal, places
from aiosd.policy.routing.weights import MOST_IN_LANES

ROOMS = ["kitchen", "hall", "bedroom", "garage", "attic", "cellar", "garden", "office"]
LAMP = Lesson(
    expert="lamp",
    utterances=[f"turn {how} the light in the {room}" for room in ROOMS for how in ("on", "off")],
)
MONEY = Lesson(
    expert="money",
    utterances=[
        f"{ask} my {kind} account" for ask in ("pay", "close", "open", "how much is in", "freeze")
        for kind in ("savings", "checking", "joint")
    ],
    refuses=["what is money made of"],
)  # fmt: skip
FOREIGN = ["who won the war", "why is the sky blue", "name a famous painter", "what is love"] * 3


@pytest.fixture(scope="module")
def both() -> bytes:
    return fit([LAMP, MONEY])


def test_a_head_hears_what_its_packages_were_taught(both: bytes) -> None:
    head = decode_head(both)
    assert head.facts.key == key_of([LAMP, MONEY])
    assert hear(head, "turn off the light in the studio").chances["lamp"] > 0.8
    assert hear(head, "please freeze the savings account").chances["money"] > 0.8
    assert head.facts.measures.texts > 3
    assert set(head.facts.measures.experts) == {"lamp", "money"}


def test_the_same_lessons_give_the_same_bytes_in_any_order(both: bytes) -> None:
    assert fit([MONEY, LAMP]) == both


def test_a_package_that_came_and_went_leaves_no_bit_behind(both: bytes) -> None:
    third = Lesson(expert="weather", utterances=[f"will it rain in the {room}" for room in ROOMS])
    assert fit([LAMP, MONEY, third]) != both
    assert fit([LAMP, MONEY]) == both


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(NothingError):
        fit([Lesson(expert="mute")])


def test_one_expert_alone_is_told_from_none() -> None:
    head = decode_head(fit([LAMP]))
    assert head.facts.routes == [("lamp", ""), ("", "")]
    inside, outside = hear(head, LAMP.utterances[0]), hear(head, "who won the war of 1812")
    assert inside.gates[0].value > outside.gates[0].value


def write(path: Path, text: str) -> TextFile:
    path.write_text(text, encoding="utf-8")
    return TextFile(sha256=hashlib.sha256(text.encode()).hexdigest(), path=str(path))


def test_examples_have_sub_routes_and_calibration_is_never_learned(tmp_path: Path) -> None:
    examples = "".join(f"on\tturn on the light in the {room}\n" for room in ROOMS) + "".join(
        f"off\tswitch off the lamp of the {room}\n" for room in ROOMS
    )
    held = "on\tturn on the light in the barn\noff\tswitch off the lamp of the barn\n"
    lesson = Lesson(
        expert="lamp",
        examples=write(tmp_path / "examples.tsv", examples),
        calibration=write(tmp_path / "calibration.tsv", held),
    )
    head = decode_head(fit([lesson, MONEY]))
    assert ("lamp", "on") in head.facts.routes
    assert hear(head, "switch off the lamp").parts["lamp"] == "off"
    assert head.facts.measures.experts["lamp"].count == 2


def test_sub_routes_of_a_text_or_two_are_heard_as_one(tmp_path: Path) -> None:
    texts = "".join(f"{room}\tturn on the light in the {room}\n" for room in ROOMS)
    lesson = Lesson(expert="lamp", examples=write(tmp_path / "examples.tsv", texts))
    head = decode_head(fit([lesson, MONEY]))
    assert head.facts.routes == [("lamp", ""), ("money", ""), ("", "")]
    assert hear(head, "turn on the light in the hall").chances["lamp"] > 0.8


def test_a_file_that_is_not_what_was_declared_leaves_only_its_package_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.tsv", "a\tturn on the light\n")
    bad = [
        TextFile(sha256="0" * 64, path=good.path),
        TextFile(sha256="0" * 64, path=str(tmp_path / "nowhere.tsv")),
        write(tmp_path / "no-tab.tsv", "turn on the light\n"),
    ]
    for file in bad:
        head = decode_head(fit([Lesson(expert="lamp", examples=file), MONEY]))
        assert head.experts == {"money"}
        assert "left out of text routing: lamp" in capsys.readouterr().err


def test_the_background_may_be_given() -> None:
    head = decode_head(fit([LAMP, MONEY], FOREIGN))
    assert hear(head, "who won the war").gates[0].value < 0


# ── texts and weights ────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text(max_size=40), max_size=6))
def test_rows_are_the_places_that_the_daemon_finds(texts: list[str]) -> None:
    rows = rows_of(texts)
    assert len(rows) == len(texts)
    for row, text in enumerate(texts):
        found = rows.places[rows.starts[row] : rows.starts[row + 1]]
        assert found.tolist() == sorted(places(normal(text)))


def test_picked_rows_keep_their_places() -> None:
    rows = rows_of(["one lamp", "two", "three lamps"])
    picked = rows.pick(np.array([True, False, True]))
    wanted = rows_of(["one lamp", "three lamps"])
    assert picked.places.tolist() == wanted.places.tolist()
    assert picked.starts.tolist() == wanted.starts.tolist()


def name(number: int) -> str:
    """Return a word of its own for each number; digits would all be the same."""
    return "".join(chr(ord("a") + number * 7919 // 26**place % 26) for place in range(5))


def test_hundreds_of_packages_are_told_apart_by_postings() -> None:
    crowd = [
        Lesson(
            expert=f"e{number:03d}",
            utterances=[f"{verb} the {name(number)}" for verb in ("show", "open", "sell")],
        )
        for number in range(MOST_IN_LANES + 20)
    ]
    data = fit(crowd)
    head = decode_head(data)
    assert len(head.facts.routes) == MOST_IN_LANES + 21
    asked = crowd[17].utterances[0].replace("show", "please find")
    heard = hear(head, asked)
    assert heard.nearest[0].expert == "e017"
    told = explain(head, asked, heard, "e017")
    assert told
    assert all(gram.weight > 0 for gram in told)
    assert len(data) < 2_000_000
    assert fit(crowd) == data


# ── calibration ──────────────────────────────────────────────────────────────────────────────


def test_wilsons_bound_is_the_published_one() -> None:
    assert wilson_low(0, 0) == 0.0
    assert wilson_low(10, 10) == pytest.approx(0.7225, abs=1e-3)
    assert wilson_low(81, 100) == pytest.approx(0.7222, abs=1e-3)


def test_calibrated_chances_are_right_as_often_as_they_say() -> None:
    chance = np.random.default_rng(2)
    truth = chance.integers(0, 2, 4000)
    scores = np.zeros((4000, 3))
    scores[np.arange(4000), truth] = chance.normal(1.0, 1.5, 4000)
    scores[:, 2] = chance.normal(-2.0, 1.0, 4000)
    routes = [("a", ""), ("b", ""), ("", "")]
    thresholds, measures = calibrate(scores * 5, ["ab"[each] for each in truth], routes)
    assert thresholds.temperature > 2
    assert measures.calibration_error < 0.05
    assert 0.95 <= measures.kept < 0.98
    assert sum(each.count for each in measures.experts.values()) == 4000


def test_few_texts_make_careful_thresholds() -> None:
    scores = np.array([[3.0, 0.0, 1.0], [0.0, 3.0, 1.0], [2.0, 0.0, 1.5]])
    thresholds, measures = calibrate(scores, ["a", "b", "a"], [("a", ""), ("b", ""), ("", "")])
    assert thresholds.sure > 1
    assert thresholds.scope <= 0.5
    assert measures.kept == 1.0
    assert calibrate(np.zeros((0, 3)), [], [("a", ""), ("", "")])[1].texts == 0


def test_the_calibration_error_is_zero_where_every_bin_is_right_as_often_as_it_says() -> None:
    best = np.array([0.75] * 4 + [0.5] * 2)
    right = np.array([True, True, True, False, True, False])
    assert calibration_error(best, right) == pytest.approx(0.0)
    assert calibration_error(best, ~right) > 0.3
