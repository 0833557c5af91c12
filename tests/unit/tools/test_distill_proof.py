"""What a card may claim: intervals, exact tests, slices, and a no where it is a no."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tools.distill.calibrating import (
    auroc,
    none_below,
    of_set,
    offset_of,
    sure_above,
    sureness,
    temperature_of,
)
from tools.distill.comparing import compare, compare_on
from tools.distill.curriculum import difficulty, shown
from tools.distill.engine import fails
from tools.distill.fault import DistillError, RecipeError
from tools.distill.proof import (
    Contender,
    Proof,
    by_set,
    by_slice,
    calibration_error,
    gain,
    mcnemar,
)
from tools.distill.report import figures, markdown
from tools.distill.table import Material, Table, unlabelled
from tools.distill.variants import exchanged, neighbours, vary_arrays, vary_texts

EXPERTS = Path(__file__).resolve().parents[3] / "experts"


@pytest.mark.parametrize(
    ("won", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 1, 0.01172), (1, 10, 0.01172)]
)
def test_mcnemars_exact_test_has_its_textbook_values(won: int, lost: int, p: float) -> None:
    assert mcnemar(won, lost) == pytest.approx(p, abs=1e-5)


def test_mcnemars_test_of_thousands_is_still_a_number() -> None:
    assert 0 < mcnemar(5200, 4900) < 0.01
    assert mcnemar(4000, 0) == 0.0


def right(good: int, count: int) -> np.ndarray:
    return np.arange(count) < good


def test_a_clear_gain_is_sure_and_none_is_not() -> None:
    clear = gain(right(900, 1000), right(800, 1000))
    assert clear.value == pytest.approx(0.1)
    assert clear.low < 0.1 < clear.high
    assert clear.is_sure
    assert clear.p < 1e-6
    assert not gain(right(801, 1000), right(800, 1000)).is_sure
    assert not gain(right(800, 1000), right(900, 1000)).is_sure


def test_a_gain_needs_the_same_rows() -> None:
    with pytest.raises(ValueError, match="same rows"):
        gain(right(1, 2), right(1, 3))
    with pytest.raises(ValueError, match="at least one"):
        gain(right(0, 0), right(0, 0))


def proof(student: int, alone: int, count: int = 400) -> Proof:
    rows = {"t": right(380, count), "s": right(student, count), "h": right(alone, count)}
    return Proof(
        "tiny",
        "text.classify",
        "400 rows",
        "accuracy",
        Contender("teacher", 380, count),
        Contender("distilled", student, count, {"calibration error": 0.01}),
        Contender("labels-alone", alone, count),
        gain(rows["s"], rows["h"]),
        gain(rows["s"], rows["t"]),
        by_slice(["a", "b"] * (count // 2), rows["t"], rows["s"], rows["h"]),
        {
            "bytes": 1000.0,
            "run_ms_p50": 0.1,
            "run_ms_p99": 0.2,
            "ram_bytes": 4e6,
            "joules": "no meter",
        },
    )


def test_a_card_says_so_where_the_student_is_no_better_than_labels_alone() -> None:
    assert "beats one of the same size" in markdown(proof(370, 300))
    assert "DOES NOT BEAT" in markdown(proof(370, 369))
    assert "DOES NOT BEAT" in markdown(proof(300, 370))


def test_a_card_has_all_three_the_engine_and_the_slices() -> None:
    text = markdown(proof(370, 300))
    for part in ("teacher", "this student", "labels alone", "1000 bytes", "no meter", "| a |"):
        assert part in text


def test_figures_for_the_manifest_have_their_intervals() -> None:
    found = {each.name: each for each in figures(proof(370, 300))}
    assert found["accuracy"].value == 0.925
    assert found["accuracy"].low is not None
    assert found["gain over labels alone"].value == pytest.approx(0.175)


def test_slices_come_with_the_most_lost_first() -> None:
    teacher = np.array([True, True, True, True])
    student = np.array([True, False, True, True])
    found = by_slice(["x", "x", "y", "y"], teacher, student, student)
    assert [each.name for each in found] == ["x", "y"]
    assert found[0].lost == 0.5


def test_a_set_stands_before_a_colon_and_one_alone_is_none() -> None:
    good, bad = np.array([True, True, True, True]), np.array([True, True, False, False])
    scores = np.full(4, 0.75, np.float32)
    found = by_set(["old: a", "old: b", "new: a", "new: a"], (good, good, bad), scores)
    assert [(each.name, each.count, each.right) for each in found] == [
        ("new", 2, (2, 2, 0)),
        ("old", 2, (2, 2, 2)),
    ]
    assert [each.over_labels.value for each in found] == [1.0, 0.0]
    assert found[0].error == pytest.approx(0.25)
    assert not by_set(["old: a", "old: b"], (good[:2],) * 3, scores[:2])
    assert not by_set(["old: a", "b"], (good[:2],) * 3, scores[:2])


def test_a_card_and_a_manifest_have_each_set() -> None:
    parts = by_set(
        ["old: a", "new: b"] * 200,
        (right(380, 400), right(370, 400), right(300, 400)),
        np.full(400, 0.9, np.float32),
    )
    whole = dataclasses.replace(proof(370, 300), sets=parts)
    assert "| new | 200 | 95.00 % | 92.50 %" in markdown(whole)
    named = {(each.name, each.data): each.value for each in figures(whole)}
    assert named["accuracy", "old, 200 held out"] == 0.925
    assert named["calibration error", "new, 200 held out"] == pytest.approx(0.025)


def test_a_sure_and_right_student_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    sure = np.full(100, 0.99, np.float32)
    assert calibration_error(sure, right(99, 100)) < 0.01
    assert calibration_error(sure, right(50, 100)) == pytest.approx(0.49, abs=0.01)


def test_the_temperature_softens_what_is_too_sure() -> None:
    chance = np.random.default_rng(1)
    labels = chance.integers(0, 3, 600)
    logits = chance.normal(size=(600, 3)).astype(np.float32)
    logits[np.arange(600), labels] += 1.0
    assert temperature_of(10 * logits, labels) == pytest.approx(
        10 * temperature_of(logits, labels), rel=0.1
    )


def test_the_threshold_of_none_keeps_95_of_100() -> None:
    logits = np.stack([np.linspace(0, 5, 200), np.zeros(200)], axis=1).astype(np.float32)
    limit = none_below(logits, np.zeros(200, np.int64), 1.0)
    best = 1 / (1 + np.exp(-logits[:, 0]))
    assert (best >= limit).mean() == pytest.approx(0.95, abs=0.01)


def test_what_is_held_against_the_threshold_is_what_the_package_measures() -> None:
    from aiosd.domain.post_steps import ScoresSoftmax, ScoresTopK  # noqa: PLC0415 - beside its use
    from aiosd.pipelines.answer import Answer  # noqa: PLC0415
    from aiosd.pipelines.scores import STEPS  # noqa: PLC0415

    logits = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.0]], np.float32)
    for measure in ("score", "energy", "max_logit"):
        steps = (
            ScoresSoftmax(temperature=0.5),
            ScoresTopK(k=3, labels=["a", "b", "c"], none_below=0.0, none_measure=measure),
        )
        own = sureness(logits, 0.5, measure)
        for row, mine in zip(logits, own, strict=True):
            answer: object = Answer(tensors=(row[None],))
            for step in steps:
                answer = STEPS[type(step)](step, Path())(answer)
            assert isinstance(answer, Answer)
            assert answer.output[measure] == pytest.approx(float(mine), abs=1e-5)
    kept = none_below(logits, np.array([0, 0], np.int64), 0.5, "max_logit")
    assert kept == pytest.approx(0.2 + 0.05 * 1.8, abs=1e-3)


def test_a_precise_threshold_lets_go_what_is_not_right_often_enough() -> None:
    logits = np.array([[4, 0], [3, 0], [2, 0], [1, 0]], np.float32)
    labels = np.array([0, 0, 1, -1])
    limit = sure_above(logits, labels, 1.0, 0.9)
    assert limit == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)
    assert sure_above(logits, np.array([1, 1, 1, 1]), 1.0, 0.9) > 1


def test_the_auroc_counts_pairs_and_ties_half() -> None:
    known, foreign = np.array([3, 2], np.float32), np.array([1, 2], np.float32)
    assert auroc(known, foreign) == pytest.approx(3.5 / 4)


def test_a_curriculum_begins_with_what_the_teacher_is_sure_of_and_ends_with_all() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32)
    hardness = difficulty(shares, np.array([0, 0, -2]))
    assert hardness.tolist() == pytest.approx([0.1, 0.8, 0.5])
    assert shown(hardness, 0, 10, 1 / 3).tolist() == [True, False, True]
    assert shown(hardness, 5, 10, 1 / 3).all()


TEXTS = Table(["turn on the lamp", "play a song now"], np.array([0, 1], np.int64))


def test_variants_are_new_unlabelled_and_the_same_for_the_same_seed() -> None:
    near = {"lamp": ["light"], "song": ["tune"]}
    found = vary_texts(TEXTS, 5, near, 3)
    assert len(found)
    assert set(found.inputs).isdisjoint(TEXTS.inputs)
    assert (found.labels == -2).all()
    assert list(found.inputs) == list(vary_texts(TEXTS, 5, near, 3).inputs)


def test_a_text_is_never_left_empty() -> None:
    chance = np.random.default_rng(0)
    assert all(exchanged(["a"], {}, chance) == ["a"] for _ in range(50))


def test_near_words_are_near_and_not_the_word_itself() -> None:
    vectors = np.eye(4, dtype=np.float32)
    vectors[1] = vectors[0]
    found = neighbours(["a", "b", "c", "d"], vectors, most=2)
    assert found == {"a": ["b"], "b": ["a"]}


def test_variants_of_arrays_keep_shape_and_a_third_their_label() -> None:
    chance = np.random.default_rng(0)
    rows = [chance.normal(size=(49, 10)).astype(np.float32) for _ in range(4)]
    kept, mixed = vary_arrays(Table(rows, np.arange(4)), 6, 1)
    assert (len(kept), len(mixed)) == (8, 16)
    assert all(np.asarray(one).shape == (49, 10) for one in [*kept.inputs, *mixed.inputs])
    assert sorted(kept.labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_two_releases_are_set_side_by_side() -> None:
    lines = compare(EXPERTS / "sms-spam", EXPERTS / "sms-spam")
    text = "\n".join(lines)
    assert "33,928 bytes" in text
    assert "+0.0000" in text


def test_two_releases_are_asked_about_the_same_rows() -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the litert extra")
    texts = ["WINNER! Call 09061234567 now to claim a 500 pound prize", "see you at the gym then"]
    held = Table(texts, np.array([1, 1]), ["old: spam", "new: spam"])
    nothing = unlabelled([])
    material = Material(("ham", "spam"), nothing, nothing, nothing, held, "two rows")
    both = EXPERTS / "sms-spam"
    lines = compare_on(both, both, material)
    assert [line.split()[:2] for line in lines[1:]] == [["all", "2"], ["new", "1"], ["old", "1"]]
    assert lines[1].split()[2:6] == ["50.00", "%", "50.00", "%"]
    assert "+0.00 points" in lines[1]
    others = dataclasses.replace(material, labels=("spam", "ham"))
    with pytest.raises(DistillError, match="other labels"):
        compare_on(both, both, others)


def test_releases_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"text\.classify"):
        compare(EXPERTS / "sms-spam", EXPERTS / "digits")
    with pytest.raises(DistillError, match="neither a package"):
        compare(tmp_path, EXPERTS / "digits")


def test_a_package_fails_only_where_more_cases_differ_than_its_pass_mark_forgives() -> None:
    one_case_twice = ["case 0: label is 'a', not 'b'", "case 0: finish is missing"]
    assert not fails([], cases=0, pass_mark=1.0)
    assert fails(one_case_twice, cases=4, pass_mark=1.0)
    assert not fails(one_case_twice, cases=4, pass_mark=0.75)
    assert fails([*one_case_twice, "case 3: label is 'a', not 'c'"], cases=4, pass_mark=0.75)


def test_the_offset_gives_back_what_was_taken_from_a_label() -> None:
    chance = np.random.default_rng(2)
    rest = chance.normal(size=4000)
    labels = (chance.random(4000) < 1 / (1 + np.exp(-3 * rest))).astype(np.int64)
    moved = (rest - 0.4).astype(np.float32)
    assert offset_of(np.stack([-moved / 2, moved / 2], 1), labels) == pytest.approx(0.4, abs=0.05)


def test_an_offset_is_for_two_labels() -> None:
    with pytest.raises(RecipeError, match="two labels"):
        offset_of(np.zeros((3, 3), np.float32), np.zeros(3, np.int64))


def test_only_rows_of_the_named_set_calibrate() -> None:
    table = Table(["a", "b", "c"], np.array([0, 1, 0]), ["old: x", "new: x", "old: y"])
    assert of_set(table, "").inputs == table.inputs
    assert of_set(table, "old").inputs == ["a", "c"]
    with pytest.raises(RecipeError, match="no tuning row"):
        of_set(table, "older")
