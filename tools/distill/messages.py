"""What a filter of short messages is taught and judged on: the collection of 2012, and newer kinds.

The SMS Spam Collection has none of today's frauds, nor the codes, parcels and bank notes that they
imitate. Those are written by this project: fifty messages, templates of which every eighth only
tunes, and 180 whole messages that judge, written before the templates and before any model was
asked.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.distill.checks import without_leaks, without_repeats
from tools.distill.fault import DataError
from tools.distill.recipe import DataPart
from tools.distill.safety import filled, lines_of
from tools.distill.table import Material, Table, unlabelled

LABELS = ("ham", "spam")
COLLECTION, NEWER = "UCI SMS Spam", "newer kinds, our own"
TEMPLATES = Path(__file__).with_name("recipes") / "sms-spam.templates.txt"
WRITTEN = Path(__file__).parents[1] / "train"
SEED_HELD, SEED_TUNING, SEED_FILLED = 11, 7, 17
HELD_SHARE, TUNED_SHARE = 0.2, 0.1
# Every so many templates one tunes; so many fillings of one that teaches, and of one that tunes.
TUNED_EVERY, EACH, EACH_TUNED = 8, 6, 3
# How often a filling is written without capitals, as people do.
LOWERED = 0.2
Row = tuple[str, str]


def read_messages(assets: Path, _part: DataPart) -> Material:
    """Return the material; slices say what a message is, after a colon that names its set.

    Raises:
        DataError: a line of the templates is none.
    """
    from tools.train.splits import hold_out, twin_groups  # noqa: PLC0415 - needs scipy

    whole = _table(_lines(assets / "text" / "sms_spam" / "sms_dev.tsv"), COLLECTION)
    groups = twin_groups([str(each) for each in whole.inputs])
    held = hold_out(groups, HELD_SHARE, SEED_HELD)
    rest = whole.where(~held)
    tuned = hold_out(groups[~held], TUNED_SHARE, SEED_TUNING)
    newer = _table(_lines(WRITTEN / "sms_modern_held.tsv"), NEWER)
    judged = whole.where(held) + newer
    made = list(_made(np.random.default_rng(SEED_FILLED)))
    tuning = rest.where(tuned) + _table([row for tunes, row in made if tunes], NEWER)
    own = _lines(WRITTEN / "sms_modern.tsv") + [row for tunes, row in made if not tunes]
    learned = rest.where(~tuned) + without_repeats(_table(own, NEWER))
    tuning = without_leaks(without_repeats(tuning), judged)
    return Material(
        LABELS,
        without_leaks(learned, judged, tuning),
        unlabelled([]),
        tuning,
        judged,
        f"UCI SMS Spam, {int(held.sum())} messages held out by group of near duplicates, and "
        f"{len(newer)} of newer kinds, our own",
        "UCI SMS Spam Collection v.1, T. A. Almeida and J. M. Gómez Hidalgo, CC BY 4.0",
    )


def _lines(path: Path) -> list[Row]:
    """Read `label<TAB>text` lines; lines without a text are skipped."""
    cells = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").split("\n")]
    return [(cell[0], cell[1]) for cell in cells if len(cell) == 2 and cell[1].strip()]


def _table(rows: list[Row], named: str) -> Table:
    return Table(
        [text for _, text in rows],
        np.array([LABELS.index(label) for label, _ in rows], np.int64),
        [f"{named}: {_kind_of(label, text)}" for label, text in rows],
    )


def _kind_of(label: str, text: str) -> str:
    digits = "5 digits or more" if sum(map(str.isdigit, text)) >= 5 else "fewer digits"
    return f"{label}, {digits}"


def _made(chance: np.random.Generator) -> Iterator[tuple[bool, Row]]:
    """Yield the templates' fillings, each with whether it only tunes."""
    for count, (number, cells, lists) in enumerate(lines_of(TEMPLATES), 1):
        if len(cells) != 2 or cells[0] not in LABELS:
            raise DataError(f"{TEMPLATES.name}, line {number}: not label | template")
        tunes = not count % TUNED_EVERY
        texts = {
            filled(cells[1], lists, chance): None for _ in range(EACH_TUNED if tunes else EACH)
        }
        for text in texts:
            yield tunes, (cells[0], text.lower() if chance.random() < LOWERED else text)
