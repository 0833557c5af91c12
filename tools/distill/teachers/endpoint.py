"""A teacher at an OpenAI-compatible endpoint: one label a question, within a cost limit.

Answers are read strictly: a label that is none of the recipe's is nonsense and is asked again.
The money spent is written ahead of each question, so that a kill never loses a question's cost.
"""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.uplink import place_of
from aiosd.net.post import NetError, Patience, Post, tls_context
from aiosd.store.durable import replace_file
from tools.distill.fault import BudgetError, NonsenseError, RecipeError, UnansweredError, room
from tools.distill.table import Input
from tools.distill.teachers.spec import Endpoint

MILLION = 1e6
# Bytes of UTF-8 that are surely no more than one token each.
_ROOM = 64
# The probability of a label that the endpoint did not speak of, when it gives logprobs or not.
UNSPOKEN = 1e-3
LARGEST_ANSWER = 1 << 20


class Purse:
    """What was spent so far, kept in a file."""

    def __init__(self, path: Path, limit: float) -> None:
        """Take where it is kept, and the most that may be spent."""
        self._path, self._limit = path, limit
        self.spent = float(json.loads(path.read_text())["spent"]) if path.exists() else 0.0

    def set_aside(self, most: float) -> None:
        """Count a question's highest cost as spent.

        Raises:
            BudgetError: that would be over the limit.
        """
        if self.spent + most > self._limit:
            raise BudgetError(
                f"the next question could cost {most:.4f}, {self.spent:.4f} of {self._limit:.4f} "
                "are spent; raise teacher.money and run again: what was answered is kept"
            )
        self.spent += most
        self._write()

    def give_back(self, rest: float) -> None:
        """Give back what a question did not cost."""
        self.spent = max(0.0, self.spent - rest)
        self._write()

    def _write(self) -> None:
        with room(str(self._path)):
            replace_file(self._path, json.dumps({"spent": self.spent}).encode())


class EndpointTeacher:
    """Asks for the label of one text at a time."""

    batch = 1

    def __init__(self, spec: Endpoint, labels: Sequence[str], purse: Purse, key: str) -> None:
        """Take what the recipe says, the labels, the purse and the key (empty: none).

        Raises:
            RecipeError: the address is none, or the prompt lacks `{text}`.
        """
        self._spec, self._labels, self._purse, self._key = spec, list(labels), purse, key
        try:
            self._place = place_of(spec.url)
        except ValueError as error:
            raise RecipeError(f"teacher.url {spec.url!r}: {error}") from None
        if "{text}" not in spec.prompt:
            raise RecipeError("teacher.prompt has no {text}")
        asked = json.dumps([spec.url, spec.model, spec.prompt, spec.top_logprobs, self._labels])
        self.fingerprint = f"endpoint {hashlib.sha256(asked.encode()).hexdigest()[:16]}"

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels), one question each.

        Raises:
            UnansweredError: no answer in time, or a refusal that may pass (5xx, 429).
            NonsenseError: the answer is not JSON, or no known label.
            BudgetError: the next question could cost too much.
            RecipeError: the endpoint says that the question itself is wrong (4xx).
        """
        return np.stack([self._one(str(each)) for each in inputs])

    def _one(self, text: str) -> NDArray[np.float32]:
        spec = self._spec
        prompt = spec.prompt.replace("{labels}", ", ".join(self._labels)).replace("{text}", text)
        body: dict[str, object] = {
            "model": spec.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": spec.max_tokens,
            "temperature": 0,
        }
        if spec.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": spec.top_logprobs}
        data = json.dumps(body).encode()
        most = self._price(len(prompt.encode()) + _ROOM, spec.max_tokens)
        self._purse.set_aside(most)
        answer = self._post(data)
        try:
            choice = answer["choices"][0]
            said = str(choice["message"]["content"])
            usage = answer.get("usage") or {}
            spent = self._price(
                float(usage.get("prompt_tokens", math.inf)),
                float(usage.get("completion_tokens", math.inf)),
            )
        except (KeyError, IndexError, TypeError, ValueError):
            raise NonsenseError("no choice with a message") from None
        if math.isfinite(spent):
            self._purse.give_back(max(0.0, most - spent))
        return self._row(said, choice.get("logprobs"))

    def _price(self, tokens_in: float, tokens_out: float) -> float:
        """Return what so many tokens cost; free ones cost nothing, however many."""
        spec = self._spec
        parts = ((spec.price_in, tokens_in), (spec.price_out, tokens_out))
        return sum(price * count / MILLION for price, count in parts if price)

    def _post(self, data: bytes) -> dict[str, Any]:
        until = time.monotonic() + self._spec.timeout
        limit = self._spec.timeout
        trust = tls_context("") if self._place.secure else None
        post = Post(self._place, Patience(limit, limit, limit), trust, until)
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            head = post.send("/chat/completions", data, headers)
            whole = b""
            while len(whole) < LARGEST_ANSWER and (piece := post.read()):
                whole += piece
        except NetError as error:
            raise UnansweredError(str(error)) from None
        finally:
            post.close()
        if head.status in (408, 409, 425, 429) or head.status >= 500:
            raise UnansweredError(f"status {head.status}")
        if head.is_error:
            raise RecipeError(f"the endpoint refuses the question itself: status {head.status}")
        try:
            found = json.loads(whole)
        except ValueError:
            raise NonsenseError("the answer is not JSON") from None
        if not isinstance(found, dict):
            raise NonsenseError("the answer is no map")
        return found

    def _row(self, said: str, logprobs: object) -> NDArray[np.float32]:
        """Return logits: from logprobs of the first token where given, else sure of the label."""
        label = self._label_of(said)
        if label is None:
            raise NonsenseError(f"{said[:40]!r} is none of the labels")
        shares = np.full(len(self._labels), UNSPOKEN / max(1, len(self._labels)))
        for token, share in _first_tokens(logprobs):
            fits = [at for at, name in enumerate(self._labels) if name.lower().startswith(token)]
            for at in fits:
                shares[at] += share / len(fits)
        if shares.sum() < 2 * UNSPOKEN or shares.argmax() != label:
            shares[label] = max(1.0 - UNSPOKEN, float(shares.max()) + UNSPOKEN)
        row: NDArray[np.float32] = np.log(shares / shares.sum()).astype(np.float32)
        return row

    def _label_of(self, said: str) -> int | None:
        clean = said.strip().strip("\"'`.*:").strip().lower()
        for at, name in enumerate(self._labels):
            if clean == name.lower():
                return at
        return None


def _first_tokens(logprobs: object) -> list[tuple[str, float]]:
    """Return the candidates of the first token with their probability; nothing if not given."""
    try:
        top = logprobs["content"][0]["top_logprobs"]  # type: ignore[index]
        found = [(str(each["token"]).strip().lower(), math.exp(each["logprob"])) for each in top]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return []
    return [(token, share) for token, share in found if token and math.isfinite(share)]
