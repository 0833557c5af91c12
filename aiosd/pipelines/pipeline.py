"""A package's pipeline, compiled once per worker: a request's input → engine → the caller's answer.

`prepare` makes what the engine takes, `finish` makes the output of the engine's last piece, `piece`
shows one piece of a stream. The shape of the steps and the value they share are in `answer.py`.
Only the families of steps that the manifest names are imported.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import ChatInput, Input, InputType, JsonInput, TextInput, type_of
from aiosd.domain.manifest import Manifest, Task
from aiosd.domain.prepared import (
    Embedding,
    Piece,
    Prepared,
    Tensors,
    TextEnd,
    TextPiece,
    Value,
)
from aiosd.domain.request import Sampling
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.prompt import PromptWriter

Call = Callable[[object], object]

# Which module holds a step: by its whole name, else by the word before the dot.
MODULES = {
    "text.strip": "generated",
    "json": "generated",
    "embedding": "tensor",
    "image": "image",
    "audio": "audio",
    "text": "text",
    "series": "series",
    "tensor": "tensor",
    "scores": "scores",
    "boxes": "boxes",
}

# Steps after which axis 0 is the window; without one the pipeline adds that axis at the end.
WINDOWING = frozenset(
    {
        "audio.window",
        "series.window",
        "tensor.window",
        "text.hash_ngrams",
        "text.word_ids",
        "text.wordpiece",
    }
)

# What the first step of a list must be called for each kind of input.
FIRST = {
    InputType.TEXT: "text.",
    InputType.IMAGE: "image.decode",
    InputType.AUDIO: "audio.decode",
    InputType.SERIES: "series.decode",
    InputType.TENSOR: "tensor.decode",
}

_TEXT_TASKS = frozenset({Task.TEXT_GENERATE, Task.TEXT_EMBED, Task.TEXT_EXTRACT})


def name_of(spec: Step) -> str:
    """Return the step's name as a manifest writes it."""
    return str(spec.__struct_config__.tag)


class Pipeline:
    """The steps of one manifest, ready to be called; holds nothing of any request."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        """Compile the steps; `folder` holds the package's files.

        Raises:
            PackageError: a step does not fit the input or its neighbours, or its parameters or
                files are bad; the message names the step.
        """
        self._manifest = manifest
        _check_order(manifest)
        self._pre = [_compile(spec, folder, "pre") for spec in manifest.pre]
        self._post = [_compile(spec, folder, "post") for spec in manifest.post]
        self._windowed = any(name_of(spec) in WINDOWING for spec in manifest.pre)
        self._prompt = (
            PromptWriter(manifest, folder, embed=manifest.task is Task.TEXT_EMBED)
            if manifest.prompt is not None or manifest.task in _TEXT_TASKS
            else None
        )

    def prepare(self, value: Input, sampling: Sampling, top_k: int | None = None) -> Prepared:
        """Return what the engine takes.

        The bytes of an attachment must be in the input's `data` by now.

        Raises:
            InvalidError: the input is of the wrong type, too large, or not what a step takes.
        """
        self._check(value)
        if top_k is not None and top_k < 1:
            raise InvalidError(
                f"top_k must be at least 1, not {top_k}; leave it out for the expert's own",
                field="options.top_k",
            )
        if isinstance(value, ChatInput):
            if self._prompt is None:
                raise ExpertFailedError(
                    "the package has no prompt to put a conversation in", reason="no prompt"
                )
            return self._prompt.write(value, sampling)
        now: object = value
        if isinstance(value, TextInput):
            now = value.text
        elif isinstance(value, JsonInput):
            now = value.value
        for step in self._pre:
            now = step(now)
        return self._prepared(now, value, sampling)

    def finish(
        self, prepared: Prepared, last: Piece, top_k: int | None = None
    ) -> dict[str, object]:
        """Return the output: what the post steps made of the engine's last piece.

        Without post steps a text is `text` and `finish`, an embedding `embedding`, and arrays are
        `values`, as by `tensor.values`.

        Raises:
            ExpertFailedError: the engine gave NaN or infinity, or what no step can use.
        """
        if isinstance(last, Value):
            plain = last.value if isinstance(last.value, dict) else {"value": last.value}
            return _finite(plain)
        answer = _answer(prepared, last, top_k)
        for step in self._post:
            after = step(answer)
            if not isinstance(after, Answer):
                raise ExpertFailedError("a post step gave no answer", reason=type(after).__name__)
            answer = after
        output = dict(answer.output)
        if isinstance(last, TextEnd):
            output = {**output, "text": answer.text, "finish": last.finish}
            if last.margin is not None:
                output["margin"] = last.margin
        elif not output and isinstance(last, Embedding):
            output = {"embedding": answer.tensors[0][0].tolist()}
        elif not output:
            output = {"values": [tensor.tolist() for tensor in answer.tensors]}
        return _finite(output)

    def piece(self, piece: Piece) -> dict[str, object]:
        """Return what a stream shows of one piece: `text` of a text piece, else nothing."""
        return {"text": piece.text} if isinstance(piece, TextPiece) else {}

    def _check(self, value: Input) -> None:
        wanted, given = self._manifest.input.type, type_of(value)
        if given is not wanted and not (
            wanted is InputType.CHAT and given is InputType.TEXT and self._prompt is not None
        ):
            raise InvalidError(
                f"{self._manifest.name} takes {wanted} input, not {given}", field="input.type"
            )
        size, limit = _size(value), self._manifest.input.max_bytes
        if size > limit:
            raise InvalidError(
                f"the input has {size} bytes; {self._manifest.name} takes at most {limit}",
                field="input",
            )

    def _prepared(self, now: object, value: Input, sampling: Sampling) -> Prepared:
        """Wrap what the last pre step returned."""
        if isinstance(now, tuple):
            return Tensors(tuple(self._with_windows(array) for array in now))
        if isinstance(now, np.ndarray):
            return Tensors((self._with_windows(now),))
        if isinstance(now, str) and self._prompt is not None:
            return self._prompt.write(now, sampling)
        return Value(msgspec.to_builtins(value, builtin_types=(bytes, memoryview)))

    def _with_windows(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self._windowed else array[np.newaxis]


def _check_order(manifest: Manifest) -> None:
    """Raise PackageError if the steps cannot follow each other."""
    names = [name_of(spec) for spec in manifest.pre]
    kind = manifest.input.type
    if names and kind not in FIRST:
        raise PackageError(f"{kind} input has no pre steps")
    if names and not names[0].startswith(FIRST[kind]):
        raise PackageError(
            f"pre[0] is {names[0]}; the first step for {kind} input is {FIRST[kind]}…"
        )
    for place, name in enumerate(names[1:], start=1):
        if name.endswith(".decode"):
            raise PackageError(f"pre[{place}] is {name}, which can only come first")
    after = [name_of(spec) for spec in manifest.post]
    for place, spec in enumerate(manifest.post):
        measure = getattr(spec, "none_measure", "score")
        if measure != "score" and not {"scores.softmax", "scores.sigmoid"} & set(after[:place]):
            raise PackageError(
                f"post[{place}] measures {measure} of the logits, so that scores.softmax or "
                "scores.sigmoid must come before it"
            )


def _compile(spec: Step, folder: Path, where: str) -> Call:
    """Import the step's family and make its callable."""
    name = name_of(spec)
    module = MODULES.get(name) or MODULES[name.split(".", maxsplit=1)[0]]
    try:
        steps: Mapping[type[Step], Callable[[Step, Path], Call]] = import_module(
            f"aiosd.pipelines.{module}"
        ).STEPS
    except ImportError as error:
        raise PackageError(f"{where} step {name} cannot be imported: {error}") from error
    factory = steps.get(type(spec))
    if factory is None:
        raise PackageError(f"{where} step {name} is not in aiosd.pipelines.{module}")
    try:
        return factory(spec, folder)
    except PackageError as error:
        raise PackageError(f"{where} step {name}: {error.message}", path=error.path) from error


def _size(value: Input) -> int:
    """Return how many bytes the input holds, without the header around it."""
    match value:
        case TextInput():
            return len(value.text.encode())
        case ChatInput():
            return sum(len(turn.content.encode()) for turn in value.messages)
        case JsonInput():
            return len(msgspec.json.encode(value.value))
        case _:
            data, values = value.data, getattr(value, "values", None)
            return len(data or b"") + 4 * len(values or ())


def _answer(prepared: Prepared, last: Piece, top_k: int | None) -> Answer:
    """Start an answer from the engine's last piece."""
    given = prepared.arrays if isinstance(prepared, Tensors) else ()
    start = Answer(prepared=tuple(np.asarray(array) for array in given), top_k=top_k)
    match last:
        case Tensors():
            return replace(start, tensors=tuple(np.asarray(array) for array in last.arrays))
        case Embedding():
            return replace(start, tensors=(np.asarray([last.vector], dtype=np.float32),))
        case TextEnd():
            return replace(start, text=last.text)
        case _:
            raise ExpertFailedError(
                "the engine ended without an answer", reason=type(last).__name__
            )


def _finite(output: dict[str, object]) -> dict[str, object]:
    """Return the output if every number in it is one; NaN is never an answer."""
    bad = _not_finite(output)
    if bad:
        raise ExpertFailedError(
            f"the model's answer holds NaN or infinity at {bad}",
            reason="not a finite number",
            field=f"output{bad}",
        )
    return output


def _not_finite(value: object) -> str:
    """Return the path of the first float that is not finite, or an empty string."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "."
    if isinstance(value, dict):
        pairs = ((f".{key}", each) for key, each in value.items())
    elif isinstance(value, list):
        if all(map(_is_finite_number, value)):
            return ""
        pairs = ((f"[{place}]", each) for place, each in enumerate(value))
    else:
        return ""
    for key, each in pairs:
        found = _not_finite(each)
        if found:
            return f"{key}{found}".rstrip(".")
    return ""


def _is_finite_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
