"""Steps for object detectors: outputs → boxes with labels, and fewer of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aiosd.domain.errors import ExpertFailedError, PackageError
from aiosd.domain.post_steps import BoxesDecode, BoxesNms
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.scores import answer_of, labels_of

Call = Callable[[object], object]
Box = dict[str, Any]

OUTPUTS = 4  # boxes, classes, scores, count: TFLite_Detection_PostProcess
SIDES = ("top", "left", "bottom", "right")  # in the order of the operator's output


def decode(spec: BoxesDecode, folder: Path) -> Call:
    """Make a callable that writes `boxes`, best first.

    Each box is `label`, `score`, and `top`, `left`, `bottom`, `right` as shares (0..1) of the
    image that the model saw. The request's `top_k` limits their number.
    """
    labels = labels_of(spec.labels, spec.file, folder)
    if spec.max_boxes < 1:
        raise PackageError("max_boxes must be at least 1")

    def call(value: object) -> object:
        answer = answer_of(value, "boxes.decode")
        places, classes, scores = _outputs(answer)
        limit = min(spec.max_boxes, answer.top_k or spec.max_boxes)
        boxes: list[Box] = []
        for each in np.argsort(-scores, kind="stable"):
            score = float(scores[each])
            if score < spec.min_score or len(boxes) == limit:
                break
            number = int(classes[each]) + spec.label_offset
            if not 0 <= number < len(labels):
                raise ExpertFailedError(
                    f"the model found class {number}, the package has {len(labels)} labels",
                    reason="labels do not fit",
                )
            sides = np.clip(places[each], 0.0, 1.0).tolist()
            boxes.append(
                {"label": labels[number], "score": score, **dict(zip(SIDES, sides, strict=True))}
            )
        return replace(answer, output={**answer.output, "boxes": boxes})

    return call


def _outputs(answer: Answer) -> tuple[np.ndarray[Any, Any], ...]:
    """Return boxes (n, 4), classes (n,) and scores (n,) of the one window, all finite."""
    shapes = [list(tensor.shape) for tensor in answer.tensors]
    if len(shapes) != OUTPUTS or len(shapes[0]) != 3 or shapes[0][0] != 1 or shapes[0][2] != 4:  # noqa: PLR2004 - (1, n, 4)
        raise ExpertFailedError(
            "boxes.decode takes the outputs of one image, (1, n, 4), (1, n), (1, n) and (1,), "
            f"not {shapes}",
            reason="outputs do not fit",
        )
    places, classes, scores, count = (np.asarray(tensor) for tensor in answer.tensors)
    number = min(max(0, int(count.reshape(-1)[0])), shapes[0][1])
    found = (places[0, :number], classes.reshape(-1)[:number], scores.reshape(-1)[:number])
    if len(found[1]) != number or len(found[2]) != number:
        raise ExpertFailedError(
            f"boxes.decode: outputs of different lengths: {shapes}", reason="outputs do not fit"
        )
    if not all(np.isfinite(part).all() for part in found):
        raise ExpertFailedError(
            "the model's boxes hold NaN or infinity", reason="not a finite number"
        )
    return found


def overlap(one: Box, other: Box) -> float:
    """Return the area two boxes share, divided by the area they cover together."""
    height = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    width = min(one["right"], other["right"]) - max(one["left"], other["left"])
    if height <= 0 or width <= 0:
        return 0.0
    shared = height * width
    if not shared:  # smaller than any number there is
        return 0.0
    return float(shared / (_area(one) + _area(other) - shared))


def _area(box: Box) -> float:
    return float(max(0.0, box["bottom"] - box["top"]) * max(0.0, box["right"] - box["left"]))


def nms(spec: BoxesNms, folder: Path) -> Call:
    """Make a callable that keeps, of boxes with one label that overlap too much, the best."""
    del folder
    if not 0 <= spec.iou <= 1:
        raise PackageError(f"iou must be 0 to 1, not {spec.iou}")

    def call(value: object) -> object:
        boxes = value.output.get("boxes") if isinstance(value, Answer) else None
        if not isinstance(value, Answer) or not isinstance(boxes, list):
            raise ExpertFailedError("boxes.nms needs boxes.decode before it", reason="no boxes")
        kept: list[Box] = []
        for box in boxes:
            if all(
                box["label"] != better["label"] or overlap(box, better) <= spec.iou
                for better in kept
            ):
                kept.append(box)
        return replace(value, output={**value.output, "boxes": kept})

    return call


STEPS: dict[type[Step], Callable[[Any, Path], Call]] = {BoxesDecode: decode, BoxesNms: nms}
