"""Reading of the labelled corpora into examples of the closed label set."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.train.home_command.labels import OTHER, Example, Span, canonical_example

TEST_SHARE = 0.15
DEV_SHARE = 0.03
MAX_CHARACTERS = 160
OTHER_DOMAINS = ("banking", "credit_cards", "work")


def normal_form(text: str) -> str:
    """Return the letters and digits of ``text`` in lower case, one space between words."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def partition(text: str) -> str:
    """Place a sentence into ``test``, ``dev`` or ``train`` by the hash of its normal form."""
    digest = hashlib.sha256(normal_form(text).encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    if share < TEST_SHARE:
        return "test"
    return "dev" if share < TEST_SHARE + DEV_SHARE else "train"


def without_repeats(examples: Iterable[Example]) -> list[Example]:
    """Keep the first of the examples that have the same normal form."""
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(normal_form(example.text), example)
    return list(kept.values())


def read_hwu64(folder: Path) -> list[Example]:
    """Read the HWU64 folds."""
    found: list[Example] = []
    for path in sorted(folder.glob("kfold_*_test.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            spans = sorted(
                (Span(e["start"], e["end"], e["entity"]) for e in record["entities"]),
                key=lambda s: s.start,
            )
            found.append(Example(record["text"], record["intent"], tuple(spans), "hwu64"))
    return without_repeats(canonical_example(e) for e in found)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _snips_example(parts: Iterable[dict[str, Any]], intent: str) -> Example:
    text = ""
    spans: list[Span] = []
    for part in parts:
        piece = " ".join(str(part["text"]).split())
        raw = str(part["text"])
        if raw[:1].isspace() and text and not text.endswith(" "):
            text += " "
        start = len(text)
        text += piece
        if "entity" in part and piece:
            spans.append(Span(start, len(text), str(part["entity"])))
        if raw[-1:].isspace() and text and not text.endswith(" "):
            text += " "
    return Example(text.rstrip(), intent, tuple(spans), "snips")


def read_snips(folder: Path) -> list[Example]:
    """Read the seven full training files; lines that are not UTF-8 are Latin-1."""
    found: list[Example] = []
    for path in sorted(folder.glob("train_*_full.json")):
        lines = [_decode(raw) for raw in path.read_bytes().splitlines()]
        for intent, records in json.loads("\n".join(lines)).items():
            found.extend(_snips_example(record["data"], intent) for record in records)
    fitting = (e for e in found if e.text and len(e.text) <= MAX_CHARACTERS)
    return without_repeats(canonical_example(e) for e in fitting)


def _clinc_rows(folder: Path) -> Iterator[tuple[str, str]]:
    content = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    for part in ("train", "val"):
        for text, label in content[part]:
            yield str(text), str(label)


def read_clinc(folder: Path) -> list[tuple[str, str]]:
    """Read CLINC150 as (text, label): an auxiliary task that only helps the training."""
    return list(_clinc_rows(folder))


def read_other(clinc_folder: Path, banking_folder: Path) -> list[Example]:
    """Read sentences of no home intent: bank, credit card and work questions."""
    domains = json.loads((clinc_folder / "domains.json").read_text(encoding="utf-8"))
    labels = {label for domain in OTHER_DOMAINS for label in domains[domain]}
    labels -= {"meeting_schedule", "schedule_meeting", "next_holiday"}
    texts = [text for text, label in _clinc_rows(clinc_folder) if label in labels]
    with (banking_folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    texts += [" ".join(row.split()) for row in rows if len(row) <= 90][::3]
    return without_repeats(Example(text, OTHER, (), "other") for text in texts)
