"""The word pieces of a student: chosen of its teacher's vocabulary, with vectors to begin with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from aiosd.domain.errors import PackageError
from aiosd.domain.pre_steps import TextNormalize, TextWordpiece
from aiosd.pipelines.text import NormalizeStep, WordpieceStep
from aiosd.pipelines.vocabulary import load_vocabulary
from tools.distill.fault import TeacherError
from tools.distill.teachers.transformer import WEIGHTS

FILE, VOCABULARY = "pieces.txt", "vocab.txt"
# The first is what fills a row up: its id is 0.
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
TABLE = "embeddings.word_embeddings.weight"
MAX_CHARS = 1000
# The standard deviation of all the numbers that a table begins with.
SPREAD = 0.3


def steps(length: int) -> tuple[TextNormalize, TextWordpiece]:
    """Return the steps of a package that make ids of a text."""
    return (
        TextNormalize(lower=True, max_chars=MAX_CHARS),
        TextWordpiece(file=FILE, length=length),
    )


def choose(vocabulary: Path, texts: Sequence[str], most: int, length: int) -> list[str]:
    """Return at most `most` pieces of a vocabulary (a BERT file): those that a board needs.

    The marks come first, then single characters, so that few words are unknown; then what the
    texts have, the most frequent first; then whole words in the vocabulary's own order, which is
    by frequency.

    Raises:
        TeacherError: the vocabulary cannot be read, or lacks a mark.
    """
    try:
        known = load_vocabulary(vocabulary.parent, vocabulary.name)
    except PackageError as error:
        raise TeacherError(f"{vocabulary}: {error.message}") from None
    missing = [mark for mark in MARKS if mark not in known]
    if missing:
        raise TeacherError(f"{vocabulary} lacks {' '.join(missing)}")
    names = list(known)
    counts = np.zeros(max(known.values()) + 1, np.int64)
    for row in ids_of(vocabulary, texts, length):
        np.add.at(counts, row, 1)
    seen = sorted(
        (name for name in names if counts[known[name]]), key=lambda name: -counts[known[name]]
    )
    single = [name for name in names if len(name.removeprefix("##")) == 1 and name.isascii()]
    whole = [name for name in names if name.isascii() and name.isalpha()]
    return list(dict.fromkeys([*MARKS, *single, *seen, *whole]))[:most]


def ids_of(vocabulary: Path, texts: Sequence[str], length: int) -> list[NDArray[np.int32]]:
    """Return each text's ids over a vocabulary file, by the steps that the board runs, unpadded."""
    plain, cut = steps(length)
    cut = TextWordpiece(file=vocabulary.name, length=cut.length)
    normal = NormalizeStep(plain, vocabulary.parent)
    pieces = WordpieceStep(cut, vocabulary.parent)
    rows = (pieces(normal(text))[0] for text in texts)
    return [row[: max(1, int(np.count_nonzero(row)))] for row in rows]


def vectors(folder: Path, pieces: Sequence[str], width: int) -> NDArray[np.float32]:
    """Return the encoder's own vectors of pieces in `width` dimensions: float32 (pieces, width).

    The dimensions are those of the most variance (PCA), all scaled alike. A piece that the encoder
    lacks begins at the mean.

    Raises:
        TeacherError: the folder has no vocabulary or no table of word vectors.
    """
    known = load_vocabulary(folder, VOCABULARY)
    tensors = load_file(folder / WEIGHTS)
    name = next((each for each in tensors if each.endswith(TABLE)), None)
    if name is None:
        raise TeacherError(f"{folder / WEIGHTS} has no {TABLE}")
    table = np.asarray(tensors[name], np.float32)
    mean = table[[known[each] for each in pieces if each in known]].mean(axis=0)
    rows = np.stack([table[known[each]] - mean if each in known else 0 * mean for each in pieces])
    axes = np.linalg.svd(rows.T @ rows)[2]
    found: NDArray[np.float32] = np.zeros((len(pieces), width), np.float32)
    kept = min(width, rows.shape[1])
    found[:, :kept] = rows @ axes[:kept].T
    found /= np.float32(max(1e-6, found.std()) / SPREAD)
    found[0] = 0.0
    return found
