from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiosd.domain.errors import ExpertFailedError, PackageError
from aiosd.domain.post_steps import BoxesDecode, BoxesNms
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.boxes import STEPS, overlap

LABELS = ["person", "dog"]


def apply(answer: Answer, *specs: Step) -> list[dict[str, object]]:
    for spec in specs:
        answer = STEPS[type(spec)](spec, Path())(answer)  # type: ignore[assignment]
    return answer.output["boxes"]  # type: ignore[return-value]


def found(
    *boxes: tuple[list[float], int, float], count: int | None = None, top_k: int | None = None
) -> Answer:
    places = np.array([[box[0] for box in boxes]], np.float32).reshape(1, -1, 4)
    return Answer(
        tensors=(
            places,
            np.array([[box[1] for box in boxes]], np.float32),
            np.array([[box[2] for box in boxes]], np.float32),
            np.array([len(boxes) if count is None else count], np.float32),
        ),
        top_k=top_k,
    )


WHOLE, HALF = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]


def test_boxes_come_best_first_with_sides_inside_the_image() -> None:
    answer = found((HALF, 1, 0.5), ([-0.25, 0.25, 1.5, 0.75], 0, 0.75), (WHOLE, 0, 0.25))
    assert apply(answer, BoxesDecode(labels=LABELS)) == [
        {"label": "person", "score": 0.75, "top": 0.0, "left": 0.25, "bottom": 1.0, "right": 0.75},
        {"label": "dog", "score": 0.5, "top": 0.0, "left": 0.0, "bottom": 1.0, "right": 0.5},
    ]


def test_only_as_many_as_the_model_counted() -> None:
    answer = found((HALF, 1, 0.75), (WHOLE, 0, 0.5), count=1)
    assert [box["label"] for box in apply(answer, BoxesDecode(labels=LABELS))] == ["dog"]


def test_no_box_is_an_empty_list() -> None:
    assert apply(found(), BoxesDecode(labels=LABELS)) == []


def test_the_package_and_the_request_limit_the_number() -> None:
    boxes = [(WHOLE, 0, 0.5 + place / 100) for place in range(5)]
    assert len(apply(found(*boxes), BoxesDecode(labels=LABELS, max_boxes=3))) == 3
    assert len(apply(found(*boxes, top_k=2), BoxesDecode(labels=LABELS, max_boxes=3))) == 2
    assert len(apply(found(*boxes, top_k=9), BoxesDecode(labels=LABELS, max_boxes=3))) == 3


def test_a_label_offset_shifts_the_classes() -> None:
    boxes = apply(found((WHOLE, 0, 0.75)), BoxesDecode(labels=LABELS, label_offset=1))
    assert boxes[0]["label"] == "dog"


def test_a_class_without_a_label_is_a_failure() -> None:
    with pytest.raises(ExpertFailedError, match="class 2, the package has 2 labels"):
        apply(found((WHOLE, 2, 0.75)), BoxesDecode(labels=LABELS))


def test_overlapping_boxes_of_one_label_leave_the_best() -> None:
    answer = found(
        (WHOLE, 0, 0.75), ([0.0, 0.0, 1.0, 0.9], 0, 0.625), (HALF, 1, 0.5), (HALF, 0, 0.5)
    )
    kept = apply(answer, BoxesDecode(labels=LABELS), BoxesNms(iou=0.6))
    assert [(box["label"], box["score"]) for box in kept] == [
        ("person", 0.75),
        ("dog", 0.5),
        ("person", 0.5),
    ]


corners = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda each: {
        "top": min(each[0], each[1]),
        "bottom": max(each[0], each[1]),
        "left": min(each[2], each[3]),
        "right": max(each[2], each[3]),
    }
)


SLIVER = {"top": 0.0, "bottom": 0.5, "left": 0.0, "right": 5e-324}


@given(corners, corners)
@example(SLIVER, SLIVER)
def test_overlap_is_a_share_and_the_same_both_ways(
    one: dict[str, float], other: dict[str, float]
) -> None:
    assert 0 <= overlap(one, other) <= 1 + 1e-9
    assert overlap(one, other) == overlap(other, one)


def test_overlap_counts_the_common_area_once() -> None:
    sides = ("top", "left", "bottom", "right")
    whole, half = dict(zip(sides, WHOLE, strict=True)), dict(zip(sides, HALF, strict=True))
    assert overlap(whole, whole) == 1
    assert overlap(whole, half) == 0.5
    assert overlap(half, {**half, "left": 0.5, "right": 1.0}) == 0


@pytest.mark.parametrize(
    "tensors",
    [
        (),
        (np.zeros((1, 2, 4), np.float32),),
        (
            np.zeros((2, 2, 4), np.float32),
            np.zeros((2, 2), np.float32),
            np.zeros((2, 2), np.float32),
            np.zeros(2, np.float32),
        ),
        (
            np.zeros((1, 3, 4), np.float32),
            np.zeros((1, 2), np.float32),
            np.zeros((1, 3), np.float32),
            np.array([3], np.float32),
        ),
        (
            np.full((1, 1, 4), np.nan, np.float32),
            np.zeros((1, 1), np.float32),
            np.ones((1, 1), np.float32),
            np.array([1], np.float32),
        ),
    ],
)
def test_outputs_that_are_no_detector_s_are_a_failure(tensors: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ExpertFailedError):
        apply(Answer(tensors=tensors), BoxesDecode(labels=LABELS))


def test_nms_without_boxes_is_a_failure() -> None:
    with pytest.raises(ExpertFailedError, match=r"boxes\.decode before it"):
        apply(found(), BoxesNms())


@pytest.mark.parametrize(
    "spec", [BoxesDecode(), BoxesDecode(labels=LABELS, max_boxes=0), BoxesNms(iou=1.5)]
)
def test_bad_parameters_are_found_when_the_worker_starts(spec: Step) -> None:
    with pytest.raises(PackageError):
        STEPS[type(spec)](spec, Path())
