import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiosd.domain.errors import ExpertFailedError, PackageError
from aiosd.domain.post_steps import (
    ScoresMean,
    ScoresSigmoid,
    ScoresSoftmax,
    ScoresThreshold,
    ScoresTopK,
)
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.scores import STEPS, energy

ABC = ["a", "b", "c"]


def apply(answer: object, *specs: Step, folder: Path = Path()) -> Answer:
    for spec in specs:
        answer = STEPS[type(spec)](spec, folder)(answer)
    assert isinstance(answer, Answer)
    return answer


def scored(*rows: list[float], top_k: int | None = None) -> Answer:
    return Answer(tensors=(np.array(rows, np.float32),), top_k=top_k)


def test_softmax_gives_shares_and_keeps_the_logits() -> None:
    answer = apply(scored([0.0, math.log(3.0)]), ScoresSoftmax())
    assert answer.tensors[0][0].tolist() == pytest.approx([0.25, 0.75])
    assert answer.logits is not None
    assert answer.logits[0].tolist() == pytest.approx([0, math.log(3.0)])


def test_a_higher_temperature_brings_the_shares_together() -> None:
    answer = apply(scored([0.0, math.log(9.0)]), ScoresSoftmax(temperature=2.0))
    assert answer.tensors[0][0].tolist() == pytest.approx([0.25, 0.75])


@given(arrays(np.float32, (2, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_shares_add_up_to_one_for_any_logits(logits: np.ndarray) -> None:
    shares = apply(Answer(tensors=(logits,)), ScoresSoftmax()).tensors[0]
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares >= 0).all()


@given(st.floats(-1e6, 1e6, width=32))
def test_sigmoid_is_its_formula_for_any_logit(logit: float) -> None:
    share = apply(scored([logit]), ScoresSigmoid(scale=0.5, bias=1.0)).tensors[0][0, 0]
    wanted = 1 / (1 + math.exp(-min(700.0, max(-700.0, 0.5 * logit + 1.0))))
    assert share == pytest.approx(wanted, abs=1e-6)


@given(arrays(np.float32, 6, elements=st.floats(-80, 80, width=32)))
def test_energy_is_the_logarithm_of_the_sum_of_powers(logits: np.ndarray) -> None:
    wanted = math.log(sum(math.exp(float(each)) for each in logits))
    assert energy(logits) == pytest.approx(wanted, abs=1e-4)


def test_the_mean_is_over_the_windows_of_scores_and_logits() -> None:
    answer = apply(scored([0.0, 0.0], [0.0, math.log(3.0)]), ScoresSoftmax(), ScoresMean())
    assert answer.tensors[0].tolist()[0] == pytest.approx([0.375, 0.625])
    assert answer.logits is not None
    assert answer.logits[0].tolist() == pytest.approx([0, math.log(3.0) / 2])


def test_top_k_gives_the_best_first_in_plain_numbers() -> None:
    output = apply(scored([0.25, 0.5, 0.125]), ScoresTopK(labels=ABC, k=2)).output
    assert output == {
        "label": "b",
        "score": 0.5,
        "top": [{"label": "b", "score": 0.5}, {"label": "a", "score": 0.25}],
    }
    assert type(output["score"]) is float


def test_the_request_may_ask_for_more_or_fewer() -> None:
    for wanted, got in ((1, 1), (3, 3), (99, 3)):
        answer = apply(scored([0.25, 0.5, 0.125], top_k=wanted), ScoresTopK(labels=ABC, k=2))
        assert len(answer.output["top"]) == got  # type: ignore[arg-type]


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    output = apply(scored([0.5, 0.5, 0.5]), ScoresTopK(labels=ABC)).output
    assert [each["label"] for each in output["top"]] == ABC  # type: ignore[attr-defined]


def test_the_background_class_is_never_an_answer() -> None:
    output = apply(scored([0.9, 0.0625, 0.03]), ScoresTopK(labels=ABC, drop_first=True)).output
    assert (output["label"], len(output["top"])) == ("b", 2)  # type: ignore[arg-type]


def test_a_weak_best_score_is_none_but_top_still_shows_it() -> None:
    spec = ScoresTopK(labels=ABC, none_below=0.6)
    output = apply(scored([0.25, 0.5, 0.125]), spec).output
    assert (output["label"], output["score"]) == ("none", 0.5)
    assert output["top"][0]["label"] == "b"  # type: ignore[index]
    assert apply(scored([0.25, 0.6250, 0.125]), spec).output["label"] == "b"


@pytest.mark.parametrize(
    ("measure", "value"), [("energy", math.log(math.e + math.e**2 + 1)), ("max_logit", 2.0)]
)
def test_none_may_be_told_from_the_logits(measure: str, value: float) -> None:
    for none_below, label in ((value - 0.01, "b"), (value + 0.01, "other")):
        spec = ScoresTopK(
            labels=ABC, none_measure=measure, none_below=none_below, none_label="other"
        )
        output = apply(scored([1.0, 2.0, 0.0]), ScoresSoftmax(), spec).output
        assert output["label"] == label
        assert output[measure] == pytest.approx(value)


def test_labels_come_from_a_file_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 red\n1 dark green\n2 blue\n")
    output = apply(scored([0.1, 0.7, 0.2]), ScoresTopK(file="labels.txt"), folder=tmp_path).output
    assert output["label"] == "dark green"


def test_a_threshold_parts_two_labels() -> None:
    spec = ScoresThreshold(threshold=0.5, labels=["ham", "spam"], index=1)
    assert apply(scored([0.5, 0.5]), spec).output == {"label": "spam", "score": 0.5}
    assert apply(scored([0.75, 0.25]), spec).output == {"label": "ham", "score": 0.25}


@pytest.mark.parametrize(
    ("answer", "specs", "words"),
    [
        (scored([0.1, 0.2]), [ScoresTopK(labels=ABC)], "2 scores and the package 3 labels"),
        (scored([0.1] * 3, [0.2] * 3), [ScoresTopK(labels=ABC)], "needs scores.mean"),
        (scored([0.1, math.nan, 0.2]), [ScoresTopK(labels=ABC)], "NaN"),
        (scored([0.1, math.inf, 0.2]), [ScoresSoftmax()], "NaN"),
        (scored([0.1]), [ScoresThreshold(threshold=0, labels=["a", "b"], index=1)], "score 1"),
        (scored([0.1] * 3), [ScoresTopK(labels=ABC, none_measure="energy")], "needs the logits"),
        (Answer(text="words"), [ScoresSoftmax()], "output arrays"),
    ],
)
def test_what_a_model_gives_wrong_is_the_expert_s_failure(
    answer: Answer, specs: list[Step], words: str
) -> None:
    with pytest.raises(ExpertFailedError, match=words):
        apply(answer, *specs)


@pytest.mark.parametrize(
    "spec",
    [
        ScoresSoftmax(temperature=0),
        ScoresTopK(),
        ScoresTopK(labels=ABC, file="labels.txt"),
        ScoresTopK(file="missing.txt"),
        ScoresTopK(labels=ABC, k=0),
        ScoresTopK(labels=["only"], drop_first=True),
        ScoresThreshold(threshold=0.5, labels=["one"]),
        ScoresThreshold(threshold=0.5, labels=["a", "b"], index=-1),
    ],
)
def test_bad_parameters_are_found_when_the_worker_starts(spec: Step, tmp_path: Path) -> None:
    with pytest.raises(PackageError):
        STEPS[type(spec)](spec, tmp_path)
