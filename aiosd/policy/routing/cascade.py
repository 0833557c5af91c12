"""Answer small, check, go one layer up: whether an answer stands, or whom to ask next.

Only a check whose error was measured counts: a package declares it with what it was measured on,
and it is used if at most `MOST_WRONG` of the answers that it lets pass are wrong, by the upper
bound of Wilson's interval (1927). A check that is worse does more harm than good, so that without
a good one an answer is given once, as it is. What small text models are known to get wrong
(`weak_spot`) needs no check to be doubted. What is left in doubt at the last layer is given, and
says so.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aiosd.domain.manifest import Check

MOST_WRONG = 0.1
# The tasks whose answers are made up word by word.
MADE_UP = frozenset({"text.generate", "text.chat"})
_Z = 1.959964
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SUM = re.compile(r"\d\s*(?:[-+*/×÷^%]|times|plus|minus|over|divided by)\s*\$?\d")
_COUNTED = re.compile(
    r"\b(?:many|much|total|altogether|sum|average|percent|percentage|each|per|twice|half|double|"
    r"triple|left|remain|remaining|costs?|spend|earns?|save|difference|more|less|times)\b"
)
_TIMES_AS_MANY = re.compile(r"\b(?:twice|half|times|third) as (?:many|much)\b|\bdoubled?\b")
_ASKS_A_FACT = re.compile(
    r"^(?:who|whose|when|where|which|in (?:what|which) year)\b"
    r"|\bwhich (?:of the following|one of)\b"
    r"|\b(?:capital|inventor|author|founder|president) of\b"
    r"|\b(?:is|was|are|were) (?:known|called|defined|named|considered|used|found|caused)\b"
    r"|^what (?:is|was|are|were|does|did) (?:the|an?) \w+ (?:of|in|for|that|to|used)\b"
    r"|^what (?:country|state|city|year|language|animal|colou?r)\b|\b_{2,}"
    r"|^what (?:does|do) .+ mean\b"
    r"|\n\s*a[.)].*\n\s*b[.)]",
    re.DOTALL,
)
_OPEN = re.compile(
    r"^(?:please |can you |could you )?(?:write|compose|draft|explain|describe|discuss|imagine|"
    r"pretend|analy[sz]e|compare|summari[sz]e|argue|develop|design|create a|give me advice)\b"
    r"|^(?:why|how (?:do|does|did|can|could|would|should|might|come))\b"
    r"|^what are (?:some|the (?:main|major|key|differences|advantages|benefits|challenges))\b"
    r"|\b(?:what if|what do you think|your opinion|step[- ]by[- ]step|pros and cons|"
    r"how would you|describe your|is it more important)\b"
    r"|\b(?:essay|poem|story|blog post|speech|script|screenplay|monologue|soliloquy)\b"
)
_LONG = 12


class Given(NamedTuple):
    """An answer: of whom, and what."""

    expert: str
    output: Mapping[str, object]


class Verdict(NamedTuple):
    """Whom to ask next, None if an answer stands; `doubt` is what speaks against the last one."""

    ask: str | None
    doubt: str


def trusted(check: Check | None) -> bool:
    """Tell whether a check was measured, and is good enough to go by."""
    return check is not None and wilson_high(check.wrong, check.passed) <= MOST_WRONG


def wilson_high(bad: int, count: int) -> float:
    """Return the upper bound of Wilson's interval, 95 % two-sided; 1 for no count."""
    if count == 0:
        return 1.0
    share, square = bad / count, _Z * _Z / count
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return min(1.0, (share + square / 2 + half) / (1 + square))


def weak_spot(text: str) -> str:
    """Return as what small text models get a text wrong, "" if as nothing known.

    "arithmetic", "facts" (of the long tail) or "open chat", by rules: cheap, and open to see.
    """
    low = text.strip().lower()
    if _SUM.search(low):
        return "arithmetic"
    numbers = len(_NUMBER.findall(low))
    counted = _COUNTED.search(low) and len(low.split()) >= _LONG
    if counted and (numbers > 1 or _TIMES_AS_MANY.search(low)):
        return "arithmetic"
    if _OPEN.search(low):
        return "open chat"
    return "facts" if _ASKS_A_FACT.search(low) else ""


def doubt(
    check: Check | None, output: Mapping[str, object], before: Sequence[Given], weak: str = ""
) -> str:
    """Return what speaks against an answer, "" if nothing that is known does."""
    if weak:
        return f"{weak}: small models get it wrong"
    if check is None or not trusted(check):
        return ""
    match check.kind:
        case "score" | "margin" | "token_margin":
            value = _MEASURES[check.kind](output)
            if value is None or value >= check.least:
                return ""
            return f"{check.kind} {value:.2f}, under {check.least:g}"
        case "grammar":
            parsed = output.get("value", output.get("json"))
            return "" if parsed is not None else "not of the form asked for"
        case "agreement":
            same = output.get("label", output.get("text"))
            agreed = any(
                each.output.get("label", each.output.get("text")) == same for each in before
            )
            return "" if agreed else "no second answer agrees"


def judge(
    answers: Sequence[Given],
    check_of: Callable[[str], Check | None],
    above: Callable[[], str | None],
    weak: str = "",
) -> Verdict:
    """Return whether the last answer stands; `above` is asked for the next layer only if not."""
    last = answers[-1]
    against = doubt(check_of(last.expert), last.output, answers[:-1], weak)
    return Verdict(above() if against else None, against)


def _score(output: Mapping[str, object]) -> float | None:
    """Return how sure a classifier says it is, if it says so."""
    return _number(output.get("score"))


def _token_margin(output: Mapping[str, object]) -> float | None:
    """Return how near another token came while a text was written, if the engine told."""
    return _number(output.get("margin"))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _margin(output: Mapping[str, object]) -> float | None:
    """Return how far the first label is ahead of the second, if both are told."""
    top = output.get("top")
    if not isinstance(top, list):
        return None
    scores = [each.get("score") for each in top if isinstance(each, Mapping)]
    told = [float(each) for each in scores if isinstance(each, int | float)]
    return told[0] - told[1] if len(told) > 1 else None


_MEASURES = {"score": _score, "margin": _margin, "token_margin": _token_margin}
