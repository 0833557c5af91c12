"""Texts that nobody wrote, made of those that are there, for the teacher to label.

Two texts that share a word change over at it, so that most of what comes out is English; a part of
a text is taken out of it; words are left out (the last two after Tang et al. 2019). Same seed, same
texts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tools.distill.table import Table, unlabelled
from tools.distill.variants import Near, exchanged

# Shares of the kinds: the rest of the draws leave words out.
CROSSED, EXCHANGED, PART = 0.5, 0.25, 0.1
# How often the other text is one of the same label, where one has the word.
SAME = 0.5
LEFT_OUT = 0.2
LONGEST = 30
# How often a part that a crossing made has words exchanged, too.
BENT = 0.3
# So many of a text are made in one round.
ROUND = 5


def recombine(table: Table, count: int, near: Near, seed: int) -> Table:
    """Return `count` new texts for every text, without labels, repeats and what is there already.

    Fewer come out where texts are short or few: draws that give nothing new are not repeated.
    They are made in rounds of a few for every text, each round of its own chance, so that a larger
    count begins with all that fewer whole rounds give.
    """
    texts = [str(one).split() for one in table.inputs]
    holders = _holders(texts)
    found: dict[str, None] = {}
    for number, begin in enumerate(range(0, count, ROUND)):
        chance = np.random.default_rng([seed, 1 + number])
        for at in np.repeat(np.arange(len(texts)), min(ROUND, count - begin)).tolist():
            words = texts[at]
            made = _one(words, int(table.labels[at]), (texts, table, holders), near, chance)
            if made:
                found[" ".join(made[:LONGEST])] = None
    known = {" ".join(words) for words in texts}
    return unlabelled([text for text in found if text not in known])


def crossed(
    first: Sequence[str], second: Sequence[str], word: str, chance: np.random.Generator
) -> list[str]:
    """Return the beginning of one up to a shared word, and what follows that word in the other."""
    here = [at for at, each in enumerate(first) if each.lower() == word]
    there = [at for at, each in enumerate(second) if each.lower() == word]
    cut, resume = here[int(chance.integers(len(here)))], there[int(chance.integers(len(there)))]
    return [*first[: cut + 1], *second[resume + 1 :]]


def part_of(words: Sequence[str], chance: np.random.Generator) -> list[str]:
    """Return a stretch of at least half of the words, two at the least."""
    least = max(min(2, len(words)), (len(words) + 1) // 2)
    size = int(chance.integers(least, len(words) + 1))
    begin = int(chance.integers(0, len(words) - size + 1))
    return list(words[begin : begin + size])


def thinned(words: Sequence[str], chance: np.random.Generator) -> list[str]:
    """Return the words, some of them left out; never nothing."""
    kept = [word for word in words if chance.random() >= LEFT_OUT]
    return kept or list(words[:1])


def _holders(texts: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return which texts have a word, for the words that two or more have."""
    found: dict[str, list[int]] = {}
    for at, words in enumerate(texts):
        for word in {each.lower() for each in words}:
            found.setdefault(word, []).append(at)
    return {word: places for word, places in found.items() if len(places) > 1}


def _one(
    words: Sequence[str],
    label: int,
    corpus: tuple[Sequence[Sequence[str]], Table, Mapping[str, Sequence[int]]],
    near: Near,
    chance: np.random.Generator,
) -> list[str]:
    texts, table, holders = corpus
    draw = chance.random()
    if draw < CROSSED:
        shared = [word for word in (each.lower() for each in words) if word in holders]
        if not shared:
            return part_of(words, chance)
        word = shared[int(chance.integers(len(shared)))]
        places = holders[word]
        if chance.random() < SAME:
            places = [at for at in places if int(table.labels[at]) == label]
        other = texts[places[int(chance.integers(len(places)))]]
        made = crossed(words, other, word, chance)
        return exchanged(made, near, chance) if chance.random() < BENT else made
    if draw < CROSSED + EXCHANGED:
        return exchanged(words, near, chance)
    if draw < CROSSED + EXCHANGED + PART:
        return part_of(words, chance)
    return thinned(words, chance)
