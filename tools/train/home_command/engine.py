"""The model file in the engine of the daemon's workers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextEnd, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.engines.llama import LlamaEngine
from tools.train.home_command.grammar import QUOTE_MAX, VALUE
from tools.train.home_command.labels import INTENTS, SLOTS

CONTEXT, BATCH = 1024, 256
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


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an answer is made, as the package says it: `[prompt] quote` and `[engine] beams`."""

    quote: str = VALUE
    beams: int = 3


AS_BUNDLED = Decoding()


class Engine:
    """A loaded model with or without the grammar."""

    def __init__(
        self,
        model: Path,
        grammar: Path | None,
        threads: int = 2,
        decoding: Decoding = AS_BUNDLED,
    ) -> None:
        self.engine = LlamaEngine()
        need = EngineNeed(name="llama", context=CONTEXT, batch=BATCH, beams=decoding.beams)
        self.engine.load({"model": model}, need, threads=threads)
        self.grammar = grammar and grammar.read_text(encoding="utf-8")
        self.quote = decoding.quote if grammar else ""

    def ask(self, text: str) -> Answer:
        """Run one sentence greedily."""
        sentence = " ".join(text.split())
        prompt = TextPrompt(
            f"{sentence}\n", Sampling(max_tokens=MAX_TOKENS, temperature=0.0),
            ((0, len(sentence)),), grammar=self.grammar, quote=self.quote, quote_max=QUOTE_MAX,
        )  # fmt: skip
        began = time.perf_counter()
        *_, end = self.engine.run(prompt, cancelled=lambda: False)
        total = (time.perf_counter() - began) * 1e3
        if not isinstance(end, TextEnd):
            raise TypeError("the model writes no text")
        intent, slots, valid = parsed(end.text)
        first = end.first_token_ms or 0.0
        return Answer(end.text, intent, slots, valid, first, total, end.tokens_out)
