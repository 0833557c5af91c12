"""The variants that a recipe's methods ask for: made once, the same on every run."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tools.distill.checks import without_leaks
from tools.distill.fault import DataError
from tools.distill.recipe import Recipe
from tools.distill.recombining import recombine
from tools.distill.run_book import RunBook
from tools.distill.strangers import mates_of, strange, with_strangers
from tools.distill.students.opening import open_student
from tools.distill.table import UNLABELLED, Material, Table, unlabelled
from tools.distill.teachers.spec import SmoothedEnsemble, Transformer
from tools.distill.variants import neighbours, vary_arrays, vary_texts

_WORD = re.compile(r"[a-z']{3,}")
# Words that say how a sentence is meant are never exchanged.
FIXED = frozenset(
    {
        *("the", "and", "for", "you", "that", "not", "can", "what", "how", "when", "where", "who"),
        *("why", "which", "with", "was", "are", "did", "does", "will", "would", "should", "could"),
        *("this", "there", "have", "has", "had", "but", "from", "into", "about", "don't", "isn't"),
    }
)
MOST_WORDS = 20_000


def widen(recipe: Recipe, material: Material, assets: Path, book: RunBook) -> tuple[Table, Table]:
    """Return variants that keep their label, and variants that only the teacher labels.

    Raises:
        DataError: a method was to make texts and made none.
    """
    count, names = recipe.method.variants, recipe.method.names
    nothing = unlabelled([])
    if not count:
        return nothing, nothing
    makers = {"paraphrase": varied, "recombine": recombined, "strange-words": estranged}
    chosen = [name for name in names if name in makers]
    if chosen:
        made = nothing
        for name in chosen:
            more, words = makers[name](recipe, material, assets, book)
            more = without_leaks(more, material.held, material.tuning, made)
            print(f"{name}: {len(more)} new texts for the teacher, {words}")
            if not len(more):
                raise DataError(f"{name} made no text that is new; leave it out or add texts")
            made += more
        return nothing, made
    if "patient" in names:
        kept, mixed = vary_arrays(material.train + material.transfer, count, recipe.seed)
        named = kept.labels != UNLABELLED
        return kept.where(named), mixed + kept.where(~named)
    return nothing, nothing


def varied(recipe: Recipe, material: Material, assets: Path, book: RunBook) -> tuple[Table, str]:
    """Return what `paraphrase` makes, and a word on it."""
    near = near_words(recipe, material, assets, book)
    made = vary_texts(material.train, recipe.method.variants, near, recipe.seed)
    return made, f"{len(near)} words with near ones"


def recombined(
    recipe: Recipe, material: Material, assets: Path, book: RunBook
) -> tuple[Table, str]:
    """Return what `recombine` makes, and a word on it."""
    near = near_words(recipe, material, assets, book)
    made = recombine(material.train, recipe.method.variants, near, recipe.seed)
    return made, f"{len(near)} words with near ones"


def estranged(recipe: Recipe, material: Material, assets: Path, book: RunBook) -> tuple[Table, str]:
    """Return what `strange-words` makes of the words that the student reads, and a word on it."""
    path = book.folder / "strange.json"
    if not path.exists():
        book.write("strange.json", json.dumps(_mates(recipe, material, assets)))
    mates: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    made = with_strangers(material.train, mates, recipe.method.strange, recipe.seed)
    alone = sum(not near for near in mates.values())
    return made, f"{len(mates)} strange words, {alone} of them like no usual one"


def _mates(recipe: Recipe, material: Material, assets: Path) -> dict[str, list[str]]:
    """Return the student's strange words with the usual ones that its encoder finds near.

    Raises:
        TypeError: the student has no word pieces.
    """
    from tools.distill.students.phrase import PhraseStudent  # noqa: PLC0415 - torch

    student = open_student(recipe.student, material, assets)
    if not isinstance(student, PhraseStudent):
        raise TypeError("not a student of word pieces")
    words, usual = strange(student.words, material.train)
    vectors, known = student.encoder.vectors(words, 256), student.encoder.vectors(usual, 256)
    return mates_of(words, vectors, usual, known)


def near_words(
    recipe: Recipe, material: Material, assets: Path, book: RunBook
) -> dict[str, list[str]]:
    """Return the words that the teacher's own encoder finds alike, or none without an encoder."""
    members = (
        recipe.teacher.members if isinstance(recipe.teacher, SmoothedEnsemble) else [recipe.teacher]
    )
    found = next((each for each in members if isinstance(each, Transformer)), None)
    if found is None:
        return {}
    path = book.folder / "near.json"
    if not path.exists():
        from tools.distill.teachers.transformer import Encoder, folder_of  # noqa: PLC0415 - torch

        encoder = Encoder(folder_of(found.path, assets), found.sha256)
        words = vocabulary([*material.train.inputs, *material.transfer.inputs])
        book.write("near.json", json.dumps(neighbours(words, encoder.vectors(words, 256))))
    near: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return near


def vocabulary(inputs: Iterable[object]) -> list[str]:
    """Return the words of texts, the most frequent first, without those that are fixed."""
    counts: dict[str, int] = {}
    for one in inputs:
        for word in _WORD.findall(str(one).lower()):
            counts[word] = counts.get(word, 0) + 1
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return [word for word in ordered if word not in FIXED][:MOST_WORDS]
