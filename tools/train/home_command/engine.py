"""The model file under llama-cpp-python, as the daemon runs it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_cpp import Llama
from llama_cpp.llama_grammar import LlamaGrammar

from tools.train.home_command.labels import INTENTS, SLOTS

CONTEXT = 1024
MAX_TOKENS = 768
"""More than the grammar's longest answer, so that every answer ends."""
_SLOT_NAMES = frozenset({*SLOTS, *(f"{s}_2" for s in SLOTS)})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer with its timing in milliseconds."""

    raw: str
    intent: str
    slots: dict[str, str]
    valid: bool
    first: float
    total: float
    tokens: int


def parsed(raw: str) -> tuple[str, dict[str, str], bool]:
    """Read an answer; the flag says whether it is valid JSON of the right shape."""
    try:
        content: Any = json.loads(raw)
    except ValueError:
        return "", {}, False
    if not isinstance(content, dict) or set(content) != {"intent", "slots"}:
        return "", {}, False
    intent, slots = content["intent"], content["slots"]
    valid = intent in INTENTS and isinstance(slots, dict) and set(slots) <= _SLOT_NAMES
    if not valid or not all(isinstance(v, str) and v for v in slots.values()):
        return "", {}, False
    return intent, slots, True


class Engine:
    """A loaded model with or without the grammar."""

    def __init__(self, model: Path, grammar: Path | None, threads: int = 2) -> None:
        self.llama = Llama(
            str(model), n_ctx=CONTEXT, n_batch=512, n_threads=threads, n_threads_batch=threads,
            verbose=False,
        )  # fmt: skip
        self.grammar = (
            LlamaGrammar.from_string(grammar.read_text(encoding="utf-8"), verbose=False)
            if grammar
            else None
        )

    def tokenize(self, text: str) -> list[int]:
        """Tokenize a prompt as the engine does, without the begin token."""
        return self.llama.tokenize(text.encode(), add_bos=False, special=False)

    def ask(self, text: str) -> Answer:
        """Run one sentence greedily."""
        prompt = " ".join(text.split()) + "\n"
        self.llama.reset()
        began = time.perf_counter()
        first = 0.0
        pieces: list[str] = []
        stream: Any = self.llama.create_completion(
            prompt, max_tokens=MAX_TOKENS, temperature=0.0, top_k=1, repeat_penalty=1.0,
            grammar=self.grammar, stream=True,
        )  # fmt: skip
        count = 0
        for part in stream:
            if not first:
                first = (time.perf_counter() - began) * 1e3
            pieces.append(part["choices"][0]["text"])
            count += 1
        total = (time.perf_counter() - began) * 1e3
        raw = "".join(pieces)
        intent, slots, valid = parsed(raw)
        return Answer(raw, intent, slots, valid, first, total, count)
