"""What a trained router must be better than: the most frequent, the length, naive Bayes."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from tools.eval.sets import Labelled

Says = Callable[[str], str]
_WORD = re.compile(r"[a-z']+")
_BINS = 24


def majority(rows: Sequence[Labelled]) -> Says:
    """Return one who always says the most frequent expert."""
    best = max(sorted({row.expert for row in rows}), key=[row.expert for row in rows].count)
    return lambda _text: best


def length(rows: Sequence[Labelled]) -> Says:
    """Return one who looks at the length of a text alone: the most frequent of its bin."""
    ordered = sorted(len(row.text) for row in rows)
    edges = [ordered[len(ordered) * place // _BINS] for place in range(1, _BINS)]

    def bin_of(text: str) -> int:
        return sum(len(text) >= edge for edge in edges)

    seen: dict[int, Counter[str]] = {}
    for row in rows:
        seen.setdefault(bin_of(row.text), Counter())[row.expert] += 1
    fallback = majority(rows)
    return lambda text: (
        seen[bin_of(text)].most_common(1)[0][0] if bin_of(text) in seen else fallback(text)
    )


def naive_bayes(rows: Sequence[Labelled]) -> Says:
    """Return multinomial naive Bayes over words, add-one smoothed."""
    words: dict[str, Counter[str]] = {}
    for row in rows:
        words.setdefault(row.expert, Counter()).update(_WORD.findall(row.text.lower()))
    known = {word for counts in words.values() for word in counts}
    priors = Counter(row.expert for row in rows)
    sums = {name: sum(counts.values()) + len(known) for name, counts in words.items()}

    def says(text: str) -> str:
        found = [word for word in _WORD.findall(text.lower()) if word in known]

        def score(name: str) -> float:
            counts = words[name]
            likely = sum(math.log((counts[word] + 1) / sums[name]) for word in found)
            return likely + math.log(priors[name])

        return max(sorted(words), key=score)

    return says


ALL: dict[str, Callable[[Sequence[Labelled]], Says]] = {
    "naive Bayes": naive_bayes,
    "prompt length": length,
    "majority": majority,
}
