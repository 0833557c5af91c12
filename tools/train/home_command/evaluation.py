"""Evaluation of a model file over labelled sentences."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.train.home_command.engine import AS_BUNDLED, Answer, Decoding, Engine
from tools.train.home_command.figures import Gold, summary
from tools.train.home_command.labels import Example, canonical_record

LOG = logging.getLogger(__name__)


def gold_of(example: Example) -> Gold:
    """Turn an example into what the answer should be."""
    group = "-".join((example.source, *sorted(example.tags)))
    return Gold(example.text, example.intent, example.slots(), group)


def read_golds(path: Path) -> list[Gold]:
    """Read a JSONL of ``text``, ``intent``, ``slots`` and, if it is there, ``source``.

    The intents and slots may be the sources' own names; they are mapped.
    """
    golds: list[Gold] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            text = " ".join(row["text"].split())
            intent, slots = canonical_record(text, row["intent"], row.get("slots") or {})
            golds.append(Gold(text, intent, slots, str(row.get("source", "given"))))
    return golds


def write_golds(golds: Iterable[Gold], path: Path) -> None:
    """Write sentences as :func:`read_golds` reads them."""
    rows = (
        {"text": g.text, "intent": g.intent, "slots": g.slots, "source": g.group} for g in golds
    )
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def answered(
    model: Path,
    grammar: Path | None,
    golds: Sequence[Gold],
    threads: int = 2,
    decoding: Decoding = AS_BUNDLED,
) -> list[Answer]:
    """Ask the model every sentence."""
    engine = Engine(model, grammar, threads, decoding)
    for gold in golds[:5]:
        engine.ask(gold.text)
    answers = []
    for at, gold in enumerate(golds):
        answers.append(engine.ask(gold.text))
        if at % 1000 == 999:
            LOG.info("asked %d of %d", at + 1, len(golds))
    return answers


def evaluate(
    model: Path,
    grammar: Path | None,
    golds: Sequence[Gold],
    threads: int = 2,
    decoding: Decoding = AS_BUNDLED,
) -> dict[str, object]:
    """Ask the model every sentence and return the figures."""
    figures = summary(golds, answered(model, grammar, golds, threads, decoding))
    figures["model_bytes"] = model.stat().st_size
    figures["grammar"] = grammar is not None
    figures["quote"] = decoding.quote if grammar else ""
    figures["beams"] = decoding.beams
    figures["threads"] = threads
    return figures
