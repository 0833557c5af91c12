"""Messages of newer kinds: what judges shares nothing with what teaches or tunes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tools.distill import messages
from tools.distill.recipe import DataPart
from tools.distill.table import normal_form


def made(*, tunes: bool) -> list[tuple[str, str]]:
    found = messages._made(np.random.default_rng(messages.SEED_FILLED))
    return [row for mine, row in found if mine == tunes]


def test_no_message_that_judges_is_learned_from_or_tunes() -> None:
    held = messages._lines(messages.WRITTEN / "sms_modern_held.tsv")
    written = messages._lines(messages.WRITTEN / "sms_modern.tsv")
    rows = [*written, *made(tunes=True), *made(tunes=False)]
    assert not {normal_form(text) for _, text in held} & {normal_form(text) for _, text in rows}


def test_half_of_the_messages_that_judge_are_honest() -> None:
    held = messages._lines(messages.WRITTEN / "sms_modern_held.tsv")
    assert Counter(label for label, _ in held) == {"ham": 90, "spam": 90}


def test_every_eighth_template_tunes_and_all_are_filled_the_same_each_time() -> None:
    assert made(tunes=True) == made(tunes=True)
    assert 0.03 < len(made(tunes=True)) / len(made(tunes=False)) < 0.1
    for tunes in (True, False):
        assert {label for label, _ in made(tunes=tunes)} == set(messages.LABELS)
        assert not any("{" in text for _, text in made(tunes=tunes))


@pytest.mark.assets
def test_the_slices_name_their_set_and_no_row_is_on_both_sides(assets: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra train")
    found = messages.read_messages(assets, DataPart(source="sms-spam"))
    sets = Counter(each.partition(": ")[0] for each in found.held.slices)
    assert sets == {messages.COLLECTION: 911, messages.NEWER: 180}
    held = {normal_form(each) for each in found.held.inputs}
    for table in (found.train, found.tuning):
        assert not held & {normal_form(each) for each in table.inputs}
