"""What a filter before the uplink is taught and judged on: refuse, keep on the board, or allow.

Refusals and their lookalikes are templates of this project's own, held out by template, beside
whole sentences that no template makes. Private and harmless requests are CLINC150's, HWU64's and
BANKING77's, by a table of their intents.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.distill.checks import without_leaks, without_repeats
from tools.distill.fault import DataError
from tools.distill.recipe import DataPart
from tools.distill.table import Material, Table, unlabelled

LABELS = ("allow", "keep_local", "refuse")
TEMPLATES = Path(__file__).with_name("recipes") / "safety-filter.templates.txt"
EACH, EACH_LONG = 12, 120
SEED, TUNED = 13, 0.08
# The lists with many words, of which a template is filled more often.
_LONG = {
    *("badly", "dealing", "hurting", "stealing", "hacking", "forging", "hating", "unsafe"),
    *("ending", "dread", "fact", "own"),
}
_SLOT = re.compile(r"\{(\w+)\}")
# CLINC150's domains and intents whose requests tell of a person's money, health, place or people.
PRIVATE_DOMAINS = ("banking", "credit_cards", "work")
PRIVATE_INTENTS = frozenset(
    {"share_location", "current_location", "user_name", "make_call", "text", "calendar"}
    | {"calendar_update", "reminder", "todo_list", "find_phone", "order_status", "book_flight"}
)
PRIVATE_HWU = ("email_", "calendar_", "social_")
# Neither clearly private nor clearly not: left out.
UNCLEAR = frozenset({"meeting_schedule", "schedule_meeting", "next_holiday", "book_hotel"})


def read_safety(assets: Path, _part: DataPart) -> Material:
    """Return the material.

    Raises:
        DataError: a line of the templates is none.
    """
    own = list(_own(np.random.default_rng(SEED)))
    found = [*own, *_clinc(assets), *_hwu(assets), *_banking(assets)]
    held = _table([row for row in found if row[0] == "held"])
    chance = np.random.default_rng(SEED)
    learned = without_leaks(_table([row for row in found if row[0] == "train"]), held)
    tuned = chance.random(len(learned)) < TUNED
    return Material(
        LABELS,
        without_leaks(learned.where(~tuned), learned.where(tuned)),
        unlabelled([]),
        learned.where(tuned),
        held,
        "sentences of templates, writers and lists that were not learned from",
        "CLINC150 (CC BY 3.0), HWU64 and BANKING77 (CC BY 4.0), sentences of this project",
    )


Row = tuple[str, str, str, str]


def _table(rows: list[Row]) -> Table:
    table = Table(
        [text for _, _, text, _ in rows],
        np.array([LABELS.index(label) for _, label, _, _ in rows], np.int64),
        [slice_ for *_, slice_ in rows],
    )
    return without_repeats(table)


def lines_of(path: Path) -> Iterator[tuple[int, list[str], dict[str, list[str]]]]:
    """Yield the number and the cells of each template of a file, and the lists named before it.

    A line is cells between bars, or `= NAME | word; word`, which names a list, or a `#` remark.
    """
    lists: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("="):
            name, _, words = line[1:].partition("|")
            lists[name.strip()] = [each.strip() for each in words.split(";")]
            continue
        yield number, [each.strip() for each in line.split("|")], lists


def _own(chance: np.random.Generator) -> Iterator[Row]:
    """Yield (table, label, text, slice) of the templates' fillings.

    There are at most `EACH` of a template, `EACH_LONG` where it has a long list.
    """
    for number, cells, lists in lines_of(TEMPLATES):
        if len(cells) != 3 or cells[1] not in LABELS:
            raise DataError(f"{TEMPLATES.name}, line {number}: not split | label | template")
        split, label, template = cells
        count = EACH_LONG if split == "train" and _LONG & set(_SLOT.findall(template)) else EACH
        texts = {filled(template, lists, chance) for _ in range(count)}
        for text in sorted(texts):
            table = "train" if split == "train" else "held"
            yield table, label, text, f"{label}, {'template' if split == 'held' else 'written'}"


def filled(template: str, lists: dict[str, list[str]], chance: np.random.Generator) -> str:
    """Return a template with a word of its list at each place."""
    return _SLOT.sub(
        lambda slot: lists[slot[1]][int(chance.integers(len(lists[slot[1]])))], template
    )


def _clinc(assets: Path) -> Iterator[Row]:
    folder = assets / "text" / "clinc150"
    lists = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    for name, table, every in (("train", "train", 5), ("val", "held", 4)):
        for text, intent in lists[name][::every]:
            if intent in UNCLEAR:
                continue
            private = domain_of[intent] in PRIVATE_DOMAINS or intent in PRIVATE_INTENTS
            label = "keep_local" if private else "allow"
            yield table, label, text, f"{label}, CLINC150"


def _hwu(assets: Path) -> Iterator[Row]:
    for path in sorted((assets / "text" / "hwu64").glob("kfold_*_test.jsonl")):
        table = "held" if "kfold_5" in path.name else "train"
        for line in path.read_text(encoding="utf-8").splitlines()[::2]:
            row = json.loads(line)
            private = row["intent"].startswith(PRIVATE_HWU)
            label = "keep_local" if private else "allow"
            yield table, label, " ".join(row["text"].split()), f"{label}, HWU64"


def _banking(assets: Path) -> Iterator[Row]:
    path = assets / "text" / "banking77" / "train.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if number % 8 == 0:
                yield "train", "keep_local", " ".join(row["text"].split()), "keep_local, BANKING77"
