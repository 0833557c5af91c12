"""Steps that turn a classifier's outputs into labels and scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from aiosd.pipelines.files import read_labels

Call = Callable[[object], object]
Numbers = NDArray[Any]


def answer_of(value: object, step: str) -> Answer:
    """Return the value as an `Answer` that holds at least one output array.

    Raises:
        ExpertFailedError: the engine gave no arrays; `step` names who needs them.
    """
    if not isinstance(value, Answer) or not value.tensors:
        raise ExpertFailedError(
            f"{step} needs the output arrays of a model, and there are none",
            reason="no output arrays",
        )
    return value


def _rows(array: Numbers) -> Numbers:
    """Return an output as (windows, scores), all of them finite."""
    rows = array.reshape(array.shape[0] if array.ndim else 1, -1)
    if not np.isfinite(rows).all():
        raise ExpertFailedError(
            "the model's scores hold NaN or infinity", reason="not a finite number"
        )
    return rows


def _row(array: Numbers, step: str) -> Numbers:
    """Return the scores of the only window."""
    rows = _rows(array)
    if len(rows) != 1:
        raise ExpertFailedError(
            f"{step} met {len(rows)} windows; the package needs scores.mean before it",
            reason="several windows",
        )
    only: Numbers = rows[0]
    return only


def softmax(spec: ScoresSoftmax, folder: Path) -> Call:
    """Make a callable: logits / temperature → probabilities that add up to 1, per window."""
    del folder
    if spec.temperature <= 0:
        raise PackageError(f"temperature must be over 0, not {spec.temperature}")

    def call(value: object) -> object:
        answer = answer_of(value, "scores.softmax")
        logits = _rows(answer.tensors[0])
        shifted = (logits - logits.max(axis=1, keepdims=True)) / np.float32(spec.temperature)
        powers = np.exp(shifted)
        shares = powers / powers.sum(axis=1, keepdims=True)
        return replace(answer, tensors=(shares, *answer.tensors[1:]), logits=logits)

    return call


def sigmoid(spec: ScoresSigmoid, folder: Path) -> Call:
    """Make a callable: logits → 1 / (1 + exp(−(scale · logit + bias)))."""
    del folder

    def call(value: object) -> object:
        answer = answer_of(value, "scores.sigmoid")
        logits = _rows(answer.tensors[0])
        # tanh form: the same function, without an overflow for large negative logits
        scaled = logits * np.float32(spec.scale) + np.float32(spec.bias)
        shares = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * scaled))
        return replace(answer, tensors=(shares, *answer.tensors[1:]), logits=logits)

    return call


def mean(spec: ScoresMean, folder: Path) -> Call:
    """Make a callable that averages scores, and logits if there are any, over the windows."""
    del spec, folder

    def call(value: object) -> object:
        answer = answer_of(value, "scores.mean")
        average = _rows(answer.tensors[0]).mean(axis=0, keepdims=True)
        logits = None if answer.logits is None else answer.logits.mean(axis=0, keepdims=True)
        return replace(answer, tensors=(average, *answer.tensors[1:]), logits=logits)

    return call


def energy(logits: Numbers) -> float:
    """Return log(sum(exp(logits))): high where the model has seen the like (Liu et al. 2020)."""
    peak = float(logits.max())
    return peak + float(np.log(np.exp(logits - np.float32(peak)).sum()))


def labels_of(labels: list[str], file: str, folder: Path) -> tuple[str, ...]:
    """Return the labels written in a manifest, or those of a file of the package.

    Raises:
        PackageError: both or neither are given, or the file cannot be read.
    """
    if bool(labels) == bool(file):
        raise PackageError("exactly one of labels and file must say what the outputs mean")
    return tuple(labels) or read_labels(folder, file)


def top_k(spec: ScoresTopK, folder: Path) -> Call:
    """Make a callable that writes `label`, `score` and `top`; see `ScoresTopK`.

    With `none_measure` other than the score, its value is in the output under its name. Equal
    scores keep the order of the labels. The request's `top_k` comes before the package's `k`.
    """
    labels = labels_of(spec.labels, spec.file, folder)
    skip = 1 if spec.drop_first else 0
    if spec.k < 1 or len(labels) <= skip:
        raise PackageError("k must be at least 1, and there must be a label to give")

    def call(value: object) -> object:
        answer = answer_of(value, "scores.top_k")
        scores = _row(answer.tensors[0], "scores.top_k")
        if len(scores) != len(labels):
            raise ExpertFailedError(
                f"the model gives {len(scores)} scores and the package {len(labels)} labels",
                reason="labels do not fit",
            )
        order = np.argsort(-scores[skip:], kind="stable")[: answer.top_k or spec.k] + skip
        top = [{"label": labels[place], "score": float(scores[place])} for place in order]
        output = {**answer.output, **top[0], "top": top}
        measured = float(scores[order[0]])
        if spec.none_measure != "score":
            measured = _measured(answer, spec.none_measure)
            output[spec.none_measure] = measured
        if spec.none_below is not None and measured < spec.none_below:
            output["label"] = spec.none_label
        return replace(answer, output=output)

    return call


def _measured(answer: Answer, measure: str) -> float:
    if answer.logits is None:
        raise ExpertFailedError(f"{measure} needs the logits", reason="no logits")
    logits = _row(answer.logits, "scores.top_k")
    return energy(logits) if measure == "energy" else float(logits.max())


def threshold(spec: ScoresThreshold, folder: Path) -> Call:
    """Make a callable that writes `label` and `score` of one of the scores."""
    del folder
    if len(spec.labels) != 2 or spec.index < 0:  # noqa: PLR2004 - under and over
        raise PackageError("labels must be two: under, and at or over the threshold")

    def call(value: object) -> object:
        answer = answer_of(value, "scores.threshold")
        scores = _row(answer.tensors[0], "scores.threshold")
        if spec.index >= len(scores):
            raise ExpertFailedError(
                f"score {spec.index} is wanted, the model gives {len(scores)}",
                reason="index out of range",
            )
        score = float(scores[spec.index])
        label = spec.labels[int(score >= spec.threshold)]
        return replace(answer, output={**answer.output, "label": label, "score": score})

    return call


STEPS: dict[type[Step], Callable[[Any, Path], Call]] = {
    ScoresSoftmax: softmax,
    ScoresSigmoid: sigmoid,
    ScoresMean: mean,
    ScoresTopK: top_k,
    ScoresThreshold: threshold,
}
