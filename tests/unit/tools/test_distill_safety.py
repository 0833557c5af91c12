"""The templates of the filter: what is held out shares no template with what is learned from."""

from pathlib import Path

import numpy as np

from tools.distill import safety


def templates() -> list[tuple[str, str, str]]:
    lines = safety.TEMPLATES.read_text(encoding="utf-8").splitlines()
    found = [line.split("|") for line in lines if line.strip() and line[0] not in "#="]
    return [(split.strip(), label.strip(), text.strip()) for split, label, text in found]


def test_no_template_is_both_learned_from_and_held_out() -> None:
    learned = {text for split, _, text in templates() if split == "train"}
    held = {text for split, _, text in templates() if split != "train"}
    assert learned
    assert held
    assert not learned & held


def test_every_label_has_templates_to_learn_from_and_to_be_judged_on() -> None:
    for split in ("train", "held", "written"):
        assert {label for each, label, _ in templates() if each == split} == set(safety.LABELS)


def test_a_template_with_a_long_list_is_filled_more_often_and_always_the_same() -> None:
    first = list(safety._own(np.random.default_rng(safety.SEED)))
    assert first == list(safety._own(np.random.default_rng(safety.SEED)))
    short = [text for _, _, text, _ in first if text.startswith("where can i buy ")]
    long = [text for _, _, text, _ in first if text.startswith("my friend wants to ")]
    assert len(short) <= safety.EACH < len(long) <= 2 * safety.EACH_LONG
    assert not any("{" in text for _, _, text, _ in first)


def test_the_templates_lie_beside_the_recipe() -> None:
    assert Path(safety.TEMPLATES).with_name("safety-filter.toml").exists()
