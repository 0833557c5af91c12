"""Figures of an evaluation: shares with intervals, timings and classes of failure."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tools.train.home_command.engine import Answer


@dataclass(frozen=True, slots=True)
class Gold:
    """A labelled sentence in the closed label set."""

    text: str
    intent: str
    slots: dict[str, str]
    group: str


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    if count == 0:
        return 0.0, 1.0
    share = right / count
    scale = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return middle - half, middle + half


def share(right: int, count: int) -> dict[str, float | int]:
    """Return a share with its count and interval."""
    low, high = wilson(right, count)
    return {
        "n": count, "right": right, "share": round(right / max(1, count), 4),
        "low": round(low, 4), "high": round(high, 4),
    }  # fmt: skip


def repeats_slot(answer: Answer) -> bool:
    """Say whether a slot name comes twice: valid JSON, but readers keep only one of them."""
    pairs = json.loads(answer.raw, object_pairs_hook=list)[1][1] if answer.valid else []
    return len(dict(pairs)) < len(pairs)


def failure_class(gold: Gold, answer: Answer) -> str:
    """Name what is wrong with an answer; an empty string where nothing is."""
    if not answer.valid:
        return "invalid JSON"
    if answer.intent != gold.intent:
        return "wrong intent"
    if repeats_slot(answer):
        return "repeated slot"
    return "" if answer.slots == gold.slots else _slot_failure(gold, answer)


def _slot_failure(gold: Gold, answer: Answer) -> str:
    if any(value.lower() not in gold.text.lower() for value in answer.slots.values()):
        return "value not in the sentence"
    missing = set(gold.slots) - set(answer.slots)
    extra = set(answer.slots) - set(gold.slots)
    if not missing and not extra:
        return "wrong part of the sentence"
    if sorted(answer.slots.values()) == sorted(gold.slots.values()):
        return "wrong slot name"
    return " and ".join(["missing"] * bool(missing) + ["extra"] * bool(extra)) + " slot"


def _quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2)


def summary(golds: Sequence[Gold], answers: Sequence[Answer]) -> dict[str, object]:
    """Return all figures, by group and together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, gold in enumerate(golds):
        groups[gold.group].append(at)
        groups["all"].append(at)
    shares: dict[str, object] = {}
    for name in sorted(groups):
        rows = [(golds[at], answers[at]) for at in groups[name]]
        shares[name] = {
            "intent": share(sum(g.intent == a.intent for g, a in rows), len(rows)),
            "exact": share(sum(not failure_class(g, a) for g, a in rows), len(rows)),
            "valid": share(sum(a.valid for _, a in rows), len(rows)),
            "repeated": share(sum(repeats_slot(a) for _, a in rows), len(rows)),
        }
    failures: dict[str, object] = {}
    for name in sorted(groups):
        counts = Counter(failure_class(golds[at], answers[at]) for at in groups[name])
        counts.pop("", None)
        failures[name] = dict(counts.most_common())
    examples: dict[str, list[dict[str, object]]] = defaultdict(list)
    for gold, answer in zip(golds, answers, strict=True):
        kind = failure_class(gold, answer)
        if kind and len(examples[kind]) < 12:
            want = {"intent": gold.intent, "slots": gold.slots}
            examples[kind].append({"text": gold.text, "want": want, "got": answer.raw})
    confusions = Counter(
        f"{g.intent} -> {a.intent}"
        for g, a in zip(golds, answers, strict=True)
        if g.intent != a.intent
    )
    return {
        "shares": shares,
        "failures": failures,
        "confusions": dict(confusions.most_common(25)),
        "examples": dict(examples),
        "milliseconds": timings(answers),
    }


def timings(answers: Sequence[Answer]) -> dict[str, float]:
    """Return times to the first token and to the end, and tokens a second after the first."""
    rest = sum(a.total - a.first for a in answers) / 1e3
    tokens = sum(max(0, a.tokens - 1) for a in answers)
    return {
        "first_median": _quantile([a.first for a in answers], 0.5),
        "first_p95": _quantile([a.first for a in answers], 0.95),
        "total_median": _quantile([a.total for a in answers], 0.5),
        "total_p95": _quantile([a.total for a in answers], 0.95),
        "tokens_mean": round(statistics.fmean(a.tokens for a in answers), 2),
        "tokens_per_second": round(tokens / rest, 1) if rest else 0.0,
    }
