"""A GGUF file as a teacher: how likely each label is after the prompt, read off its logits."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import NonsenseError, RecipeError, TeacherError
from tools.distill.table import Input
from tools.distill.teachers.spec import Gguf


class GgufTeacher:
    """One text at a time: the logits of the next token, at the first token of every label."""

    batch = 1

    def __init__(self, spec: Gguf, path: Path, labels: Sequence[str]) -> None:
        """Load the file.

        Raises:
            TeacherError: it is not there, or is no GGUF that llama.cpp loads.
            RecipeError: two labels begin with the same token, or the prompt lacks `{text}`.
        """
        if "{text}" not in spec.prompt:
            raise RecipeError("teacher.prompt has no {text}")
        if not path.is_file():
            raise TeacherError(f"there is no {path}")
        from llama_cpp import Llama  # noqa: PLC0415 - heavy, and for this teacher only

        try:
            self._llama: Any = Llama(
                str(path), n_ctx=spec.context, n_threads=1, logits_all=False, verbose=False
            )
        except (ValueError, RuntimeError, AssertionError) as error:
            raise TeacherError(f"{path} does not load: {error}") from None
        self._prompt = spec.prompt.replace("{labels}", ", ".join(labels))
        self._context = spec.context
        first = [self._tokens(f" {label}")[0] for label in labels]
        if len(set(first)) < len(first):
            raise RecipeError("two labels begin with the same token: give them other names")
        self._first = np.array(first)
        digest = hashlib.sha256(path.read_bytes() + self._prompt.encode()).hexdigest()
        self.fingerprint = f"gguf {digest[:16]}"

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self._llama.tokenize(text.encode(), add_bos=False, special=False)
        return found

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels).

        Raises:
            NonsenseError: a text does not fit the context.
        """
        return np.stack([self._one(str(each)) for each in inputs])

    def _one(self, text: str) -> NDArray[np.float32]:
        tokens = self._llama.tokenize(self._prompt.replace("{text}", text).encode())
        if len(tokens) >= self._context:
            raise NonsenseError("the text does not fit the context")
        self._llama.reset()
        self._llama.eval(tokens)
        row = np.array(self._llama.scores[len(tokens) - 1], np.float32)
        if not row.any():
            row = np.array(self._llama.eval_logits[-1], np.float32)
        chosen: NDArray[np.float32] = row[self._first]
        return chosen
