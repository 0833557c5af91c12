"""Requests of our own writing: their notation, what is drawn, and the file that is bundled."""

# ruff: noqa: ANN401 - what needs the extra is imported where it is there

import importlib
import random
from typing import Any

import pytest

from tools.train.home_command.labels import Example, Span

TEXT = """
# words
[hwu64 play_music]
(play|put on) [some] {genre} by {artist=Nina Simone}
louder music  please
[snips BookRestaurant]
a table for {served_dish}
"""


def part() -> Any:
    """The module, where the extra is installed."""
    pytest.importorskip("yaml", reason="needs the extra distill")
    return importlib.import_module("tools.distill.slots.requests")


def drawn(text: str, known: Any, new: Any = None, held_out: frozenset[str] = frozenset()) -> Any:
    """Two hundred sentences of a file's text."""
    module = part()
    source = module.Requests(module.requests_of(text), known, new or {}, held_out)
    return source.sentences(200, random.Random(1))


def test_a_template_becomes_sentences_with_labelled_values() -> None:
    found = drawn(TEXT, {("play_music", "genre"): ["jazz"], ("", "served_dish"): ["ramen"]})
    texts = {each.text: each for each in found}
    assert set(texts) == {
        "play jazz by Nina Simone", "put on jazz by Nina Simone", "play some jazz by Nina Simone",
        "put on some jazz by Nina Simone", "louder music please", "a table for ramen",
    }  # fmt: skip
    assert texts["play jazz by Nina Simone"] == Example(
        "play jazz by Nina Simone", "play_music", (Span(5, 9, "genre"), Span(13, 24, "artist")),
        "hwu64",
    )  # fmt: skip
    assert texts["a table for ramen"].source == "snips"


def test_every_line_comes_as_often_as_the_next() -> None:
    found = drawn("[hwu64 general_joke]\nfirst\nsecond\n", {})
    assert sorted(each.text for each in found) == ["first"] * 100 + ["second"] * 100


def test_new_values_are_drawn_for_snips_alone() -> None:
    text = "[hwu64 play_music]\nplay {artist}\n[snips play_music]\nhear {artist}"
    known = {("play_music", "artist"): ["old"]}
    found = {each.text for each in drawn(text, known, {"artist": ("new",)})}
    assert found == {"play old", "hear old", "hear new"}


def test_a_held_out_sentence_is_not_drawn() -> None:
    text = "[hwu64 general_joke]\n(Tell|say) a joke!"
    assert {each.text for each in drawn(text, {}, {}, frozenset({"tell a joke"}))} == {
        "say a joke!"
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tell a joke", "no intent"),
        ("[hwu64 joke]\ntell a joke", "no intent"),
        ("[hwu64 general_joke]\na {kind} joke", "kind"),
        ("[hwu64 general_joke]\na <kind> joke", "kind"),
        ("[hwu64 general_joke]\none; two", "perm"),
        ("[hwu64 general_joke]\na joke]", "unbalanced"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        part().requests_of(text)


def test_a_slot_of_which_nobody_knows_a_value_is_named() -> None:
    with pytest.raises(ValueError, match="snips BookRestaurant has no value of served_dish"):
        drawn("[snips BookRestaurant]\na table for {served_dish}", {})


def test_what_is_bundled_can_be_drawn_and_every_slot_is_of_whole_words() -> None:
    module = part()
    units = importlib.import_module("tools.distill.slots.units")
    requests = module.requests_of(module.FILE.read_text(encoding="utf-8"))
    slots = {slot for each in requests for slot in module.slots_in(each.node)}
    known = {("", slot): ["some value"] for slot in slots}
    new = module.lists_of(module.VALUES)
    found = module.Requests(requests, known, new, frozenset()).sentences(
        4 * len(requests), random.Random(2)
    )
    torn = [each.text for each in found if units.tags_of(each, units.Units.of(each.text)) is None]
    assert not torn
    assert not [each.text for each in found if not each.text or "  " in each.text]


def test_no_two_lines_of_what_is_bundled_are_the_same() -> None:
    lines = part().FILE.read_text(encoding="utf-8").splitlines()
    lines = [each for each in lines if each and not each.startswith(("#", "["))]
    assert len(lines) == len(set(lines))
