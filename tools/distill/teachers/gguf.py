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
        # Heavy, and for this teacher only.
        from llama_cpp import Llama, llama_get_logits_ith  # noqa: PLC0415

        self._last_logits: Any = llama_get_logits_ith
        try:
            self._llama: Any = Llama(
                str(path), n_ctx=spec.context, n_threads=1, logits_all=False, verbose=False
            )
        except (ValueError, RuntimeError, AssertionError) as error:
            raise TeacherError(f"{path} does not load: {error}") from None
        self._prompt = spec.prompt.replace("{labels}", ", ".join(labels))
        self._context = spec.context
        self._labels = list(labels)
        if self._parted("x") is None:
            raise RecipeError("two labels begin with the same token: give them other names")
        digest = hashlib.sha256(path.read_bytes() + self._prompt.encode()).hexdigest()
        self.fingerprint = f"gguf {digest[:16]}"

    def _parted(self, prompt: str) -> tuple[list[int], list[int]] | None:
        """Return the tokens that the answers of all labels share, and the next one of each.

        Prompt and label are read as one, as some tokenizers join across a blank; none where two
        labels are not told apart by that token.
        """
        answers = [self._llama.tokenize(f"{prompt} {label}".encode()) for label in self._labels]
        shortest = min(map(len, answers))
        shared = 0
        while shared < shortest and len({each[shared] for each in answers}) == 1:
            shared += 1
        if shared == shortest or len({each[shared] for each in answers}) < len(answers):
            return None
        return answers[0][:shared], [each[shared] for each in answers]

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels).

        Raises:
            NonsenseError: a text does not fit the context, or joins labels in one token.
        """
        return np.stack([self._one(str(each)) for each in inputs])

    def _one(self, text: str) -> NDArray[np.float32]:
        parted = self._parted(self._prompt.replace("{text}", text))
        if parted is None:
            raise NonsenseError("after this text two labels begin with the same token")
        tokens, first = parted
        if len(tokens) >= self._context:
            raise NonsenseError("the text does not fit the context")
        self._llama.reset()
        self._llama.eval(tokens)
        # Without logits of every token, `scores` is never filled: ask for the last token's.
        last = self._last_logits(self._llama.ctx, -1)
        row = np.ctypeslib.as_array(last, shape=(self._llama.n_vocab(),))
        chosen: NDArray[np.float32] = row[first].astype(np.float32)
        return chosen
