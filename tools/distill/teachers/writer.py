"""A GGUF language model as a teacher: it writes texts, and says how likely each token was."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import RecipeError, TeacherError


class Writer:
    """Writes by sampling from itself at temperature 1, seeded; reads a text in one pass."""

    def __init__(self, path: Path, sha256: str, context: int) -> None:
        """Load the file.

        Raises:
            TeacherError: it is not there, or is no GGUF that llama.cpp loads.
            RecipeError: its digest is not the recipe's.
        """
        if not path.is_file():
            raise TeacherError(f"there is no {path}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if sha256 and digest != sha256:
            raise RecipeError(f"{path} has the digest {digest}, the recipe says {sha256}")
        from llama_cpp import Llama  # noqa: PLC0415 - heavy, and for this teacher only

        try:
            self._llama: Any = Llama(
                str(path), n_ctx=context, n_batch=context, n_threads=1, logits_all=True,
                verbose=False,
            )  # fmt: skip
        except (ValueError, RuntimeError, AssertionError) as error:
            raise TeacherError(f"{path} does not load: {error}") from None
        self.path = path
        self.vocabulary: int = self._llama.n_vocab()
        self.fingerprint = f"writer {digest[:16]}"

    def write(self, length: int, seed: int) -> list[int]:
        """Return a text as tokens, from the begin token on, at most `length` of them."""
        chance = np.random.default_rng(seed)
        tokens = [int(self._llama.token_bos())]
        end = int(self._llama.token_eos())
        self._llama.reset()
        self._llama.eval(tokens)
        while len(tokens) < length:
            row = self._llama.scores[len(tokens) - 1].astype(np.float64)
            shares = np.exp(row - row.max())
            tokens.append(int(chance.choice(len(shares), p=shares / shares.sum())))
            if tokens[-1] == end:
                break
            self._llama.eval(tokens[-1:])
        return tokens

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits after each token: (tokens, vocabulary)."""
        self._llama.reset()
        self._llama.eval(tokens)
        found: NDArray[np.float32] = self._llama.scores[: len(tokens)].astype(np.float32).copy()
        return found
