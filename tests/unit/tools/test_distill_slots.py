"""Slot fillers: units and tags, the teacher's shares in what is learned, a file read both ways."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.distill.slots.units import OUTSIDE, TAGS, Units, first_tag, spans_of, tags_of
from tools.train.home_command.labels import INTENTS, SLOTS, Example, Span

HOME_COMMAND = Path(__file__).resolve().parents[3] / "experts" / "home-command"
SENTENCE = Example(
    "wake me at 8 am tomorrow", "alarm_set", (Span(11, 15, "time"), Span(16, 24, "date"))
)


def needed(name: str) -> Any:
    """The module, where the extra is installed."""
    return pytest.importorskip(name, reason="needs the extra distill")


def part(name: str) -> Any:
    """A module of the flow, which needs the extra."""
    for each in ("torch", "gguf", "yaml"):
        needed(each)
    return importlib.import_module(f"tools.distill.slots.{name}")


def test_the_tags_of_a_sentence_give_its_slots_again() -> None:
    units = Units.of(SENTENCE.text)
    tags = tags_of(SENTENCE, units)
    time = first_tag("time")
    assert tags == [OUTSIDE, OUTSIDE, OUTSIDE, time, time + 1, first_tag("date")]
    assert spans_of(tags, units) == SENTENCE.spans


def test_a_slot_that_ends_within_a_unit_has_no_tags() -> None:
    example = Example("at 8am", "alarm_set", (Span(3, 4, "time"),))
    assert tags_of(example, Units.of(example.text)) is None


def test_two_slots_of_one_name_side_by_side_stay_two() -> None:
    units = Units.of("milk eggs")
    item = first_tag("item")
    assert spans_of([item, item], units) == (Span(0, 4, "item"), Span(5, 9, "item"))
    assert spans_of([item, item + 1], units) == (Span(0, 9, "item"),)


@given(st.lists(st.integers(0, TAGS - 1), min_size=4, max_size=4))
def test_whatever_tags_a_teacher_says_are_slots_apart_and_in_order(tags: list[int]) -> None:
    units = Units.of("one two, three")
    spans = spans_of(tags, units)
    assert all(span.slot in SLOTS and span.start < span.end for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert sum(tag != OUTSIDE for tag in tags) >= len(spans)


def test_no_name_that_is_kept_for_the_held_out_sentences_is_drawn_for_training() -> None:
    needed("yaml")
    homes = importlib.import_module("tools.train.home_command.homes")
    names = importlib.import_module("tools.distill.slots.names").more_names()
    kept = [each for each in names["area"] if homes.held_out_value(each)]
    assert kept, "the hash keeps none, and the test says nothing"
    book = importlib.import_module("tools.train.home_command.templates").TemplateBook((), {})
    source = homes.Homes(book, more=names)
    chance = random.Random(1)
    drawn = {source.value("area", None, chance) for _ in range(3000)}
    assert not drawn & set(kept)
    assert drawn & set(names["area"])


BOOK = """
language: en
lists: {zone: {values: [work]}}
expansion_rules: {the: "(the|my)", name: "[<the>] {name}", area: "[<the>] {area}"}
"""
SENTENCES = """
language: en
intents:
  HassTurnOn:
    data:
      - sentences: %s
"""


def corpus_of(folder: Path, sentences: list[str]) -> Any:
    """A corpus without labelled sentences, of a book with these templates for switching on."""
    book = importlib.import_module("tools.train.home_command.templates").TemplateBook
    (folder / "_common.yaml").write_text(BOOK)
    (folder / "homeassistant_HassTurnOn.yaml").write_text(SENTENCES % sentences)
    homes = importlib.import_module("tools.train.home_command.homes").Homes(book.read(folder))
    corpus = importlib.import_module("tools.train.home_command.corpus").Corpus
    return corpus((), (), (), (), homes, frozenset(), 7)


def test_no_phrase_has_the_frame_of_a_held_out_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("yaml")
    phrases = importlib.import_module("tools.distill.slots.phrases")
    said = [f"{verb} {{name}} {after}" for verb in ("start", "spin", "boot") for after in "abcdef"]
    corpus = corpus_of(tmp_path, said)
    templates = importlib.import_module("tools.train.home_command.corpus").templates_of
    held_out = {each.pattern for each in templates(corpus.homes.book, held_out=True)}
    assert 0 < len(held_out) < len(said), "the hash keeps none or all, and the test says nothing"
    file = tmp_path / "phrases.txt"
    file.write_text("\n".join(["[HassTurnOn homeassistant_HassTurnOn homeassistant]", *said]))
    monkeypatch.setattr(phrases, "FILE", file)
    found = phrases.Phrases(corpus).sentences(300, random.Random(1))
    frames = {phrases.frame_of(each) for each in found}
    assert frames == {each.replace("{name}", "name") for each in said if each not in held_out}


def test_every_phrase_can_be_said_with_the_rules_of_its_family() -> None:
    needed("yaml")
    phrases = importlib.import_module("tools.distill.slots.phrases")
    templates = importlib.import_module("tools.train.home_command.templates")
    lines = phrases.FILE.read_text().splitlines()
    said = [each for each in lines if each and each[0] not in "[#"]
    assert len(said) > 900
    for each in said:
        templates.parse(each)


def test_a_sentence_with_one_place_may_name_any_other_of_another_kind_too() -> None:
    needed("yaml")
    places = part("places")
    lists = {"city": ("Oberwald",), "region": ("TX",), "country": ("Chad",)}
    exchange = places.Exchange(lists, {})
    asked = Example("rain in paris at 8", "weather_query", (Span(8, 13, "city"),), "snips")
    chance = random.Random(2)
    made = {exchange.change(asked, chance) for _ in range(200)}
    said = {(each.text, *each.slots().items()) for each in made}
    assert said == {
        ("rain in paris at 8", ("city", "paris")),
        ("rain in oberwald at 8", ("city", "oberwald")),
        ("rain in tx at 8", ("region", "tx")),
        ("rain in chad at 8", ("country", "chad")),
    }
    foreign = Example("rain in paris", "weather_query", (Span(8, 13, "city"),), "hwu64")
    assert all(exchange.change(foreign, chance) is foreign for _ in range(50))


def test_a_city_and_its_region_stay_what_they_are_when_their_names_change() -> None:
    needed("yaml")
    lists = {"city": ("Oberwald",), "region": ("TX",), "country": ("Chad",)}
    exchange = part("places").Exchange(lists, {})
    spans = (Span(3, 8, "city"), Span(10, 15, "region"))
    both = Example("in Paris, Texas", "BookRestaurant", spans, "snips")
    chance = random.Random(2)
    said = {exchange.change(both, chance).text for _ in range(100)}
    assert said == {"in Paris, Texas", "in Oberwald, TX"}


def test_what_the_sentence_itself_calls_a_song_is_not_made_a_performer() -> None:
    needed("yaml")
    lists = {"first": ("Ida",), "last": ("Roth",)}
    exchange = part("places").Exchange(lists, {"artist": ("Ida",), "entity_name": ("Snow",)})
    plain = Example("add Rain to my list", "AddToPlaylist", (Span(4, 8, "entity_name"),), "snips")
    named = Example("add the song Rain", "AddToPlaylist", (Span(13, 17, "entity_name"),), "snips")
    chance = random.Random(2)
    kinds = {(each.text, each.spans[0].slot)
             for each in (exchange.change(plain, chance) for _ in range(300))}  # fmt: skip
    assert ("add Ida Roth to my list", "artist") in kinds
    assert ("add Snow to my list", "entity_name") in kinds
    assert ("add Ida Roth to my list", "entity_name") not in kinds
    assert all(exchange.change(named, chance) is named for _ in range(100))


def test_no_place_or_person_of_the_lists_is_one_that_the_held_out_homes_name() -> None:
    needed("yaml")
    homes = importlib.import_module("tools.train.home_command.homes")
    lists = part("places").place_names()
    assert set(lists) == {"city", "region", "country", "first", "last"}
    for kind in ("city", "first", "last"):
        assert not [each for each in lists[kind] if homes.held_out_value(each.lower())]


@given(st.floats(0, 1), st.sampled_from((0.0, 0.3, 1.0)))
def test_the_rate_never_rises_and_ends_at_a_fiftieth(done: float, fall: float) -> None:
    needed("torch")
    pace = part("learning").Pace(1.0, 10, fall=fall)
    assert pace.course(done) >= pace.course(min(1.0, done + 0.1)) - 1e-12
    assert pace.course(1.0) == pytest.approx(0.02)
    assert pace.course(0.0) == pytest.approx(1.0)
    if fall == 0.3 and done < 0.69:
        assert pace.course(done) == 1.0


def test_a_reading_says_where_each_unit_begins_and_where_each_slot_is_named() -> None:
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    reading = part("reading").read(SENTENCE, vocabulary)
    words = [vocabulary.pieces[reading.tokens[at]].text.lstrip("\u2581") for at in reading.places]
    assert [word[:1] for word in words] == [word[:1] for word in SENTENCE.text.split()]
    named = [(vocabulary.pieces[reading.tokens[at]].text, unit) for at, unit in reading.openings]
    assert named == [('"time":"', 3), ('"date":"', 5)]
    assert vocabulary.text_of(reading.tokens[reading.prompt :]) == (
        '{"intent":"alarm_set","slots":{"time":"8 am","date":"tomorrow"}}'
    )


def test_of_a_sentence_that_says_its_intent_alone_nothing_else_is_learned() -> None:
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    intents, reading = part("intents"), part("reading")
    corpus = importlib.import_module("tools.train.home_command.corpus").Corpus
    told = (("is it raining", "weather"), ("what is my balance", "balance"))
    (example,) = intents.intents_alone(corpus((), (), (), told, None, frozenset(), 7))
    assert (example.text, example.intent) == ("is it raining", "weather_query")
    found = reading.read(example, vocabulary)
    answer = "".join(vocabulary.pieces[each].text for each in found.tokens[found.prompt :])
    assert answer == '{"intent":"weather_query"'
    assert len(found.weights) == len(found.tokens) - found.prompt
    assert not found.places


def taught(at: int, share: float) -> Any:
    """What a teacher says of "rain in oslo": the weather of a city, of which it is so sure."""
    torch = needed("torch")
    tags = torch.tensor([[0], [0], [first_tag("city")]])
    return part("tagger").Shares(
        tags, torch.full((3, 1), share), torch.tensor([at]), torch.tensor([share])
    )


def test_a_sure_teacher_gives_the_whole_answer_and_an_unsure_one_its_intent_and_tags() -> None:
    unlabelled, reading = part("unlabelled"), part("reading")
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    weather = INTENTS.index("weather_query")
    sure, unsure = (
        reading.read(unlabelled.example_of("rain in oslo", taught(weather, share)), vocabulary)
        for share in (0.99, 0.8)
    )
    whole = '{"intent":"weather_query","slots":{"city":"oslo"}}'
    assert vocabulary.text_of(sure.tokens[sure.prompt :]) == whole
    said = "".join(vocabulary.pieces[each].text for each in unsure.tokens[unsure.prompt :])
    assert said == '{"intent":"weather_query"'
    assert unsure.tags == sure.tags == (0, 0, first_tag("city"))
    assert len(unsure.weights) == len(unsure.tokens) - unsure.prompt


def test_what_the_teacher_said_is_kept_and_handed_out_round_and_round() -> None:
    unlabelled = part("unlabelled")
    shares = [taught(at, 0.9) for at in range(3)]
    found = unlabelled.Taught.of(unlabelled.Taught(["a b c", "d e f", "g h i"], shares).state())
    parts = [[each.text for each, _ in found.part(number, 2)] for number in range(3)]
    assert parts == [["a b c", "d e f"], ["g h i", "a b c"], ["d e f", "g h i"]]
    assert [int(each.intents[0]) for each in found.shares] == [0, 1, 2]


def test_a_variation_has_words_and_values_that_are_near_to_those_of_the_sentence() -> None:
    made = part("variations").Variations({"play": ("start",)}, {0: ("snow",)})
    asked = Example("Play rain", "play_music", (Span(5, 9, "track"),), "snips")
    chance = random.Random(1)
    said = {made.change(asked, chance) for _ in range(300)}
    assert {"Play rain", "Start rain", "Play snow", "Start snow"} <= said
    assert all(set(each.split()) <= {"Play", "Start", "rain", "snow"} for each in said)


def test_a_teacher_may_say_the_intent_where_that_is_all_there_is() -> None:
    learning, torch = part("learning"), needed("torch")
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    tag = part("intents").INTENT_ALONE
    alone = Example("is it raining", "weather_query", (), "", frozenset({tag}))
    reading = part("reading").read(alone, vocabulary)
    shares = part("tagger").Shares(
        torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1),
        torch.tensor([INTENTS.index("news_query")]), torch.ones(1),
    )  # fmt: skip
    names = learning.SlotNames.of(vocabulary)
    batch = learning.batch_of([reading], learning.Lesson([shares], 0.25, names))
    assert batch.answers.shares[1].tolist() == [0.75, 0.25]
    assert not len(batch.tag_places)


def test_the_intents_of_two_sets_that_are_one_are_intents() -> None:
    intents = part("intents")
    assert set(intents.SAME.values()) <= set(INTENTS)


def test_a_teacher_moves_the_intent_the_tags_and_the_names_and_nothing_else() -> None:
    learning, torch = part("learning"), needed("torch")
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    reading = part("reading").read(SENTENCE, vocabulary)
    names = learning.SlotNames.of(vocabulary)
    date, time = SLOTS.index("date"), SLOTS.index("time")
    tags = torch.tensor([[0, 1 + 2 * date]] * 3 + [[1 + 2 * time, 1 + 2 * date]] + [[0, 3]] * 2)
    shares = part("tagger").Shares(
        tags, torch.tensor([[0.75, 0.25]] * 6), torch.tensor([2, 5]), torch.tensor([0.6, 0.2])
    )
    plain = learning.batch_of([reading])
    taught = learning.batch_of([reading], learning.Lesson([shares], 0.5, names))
    assert torch.allclose(taught.answers.shares.sum(1), torch.ones(len(taught.answers.shares)))
    assert torch.allclose(taught.tags.shares.sum(1), torch.ones(6))
    soft = (taught.answers.shares > 0).sum(1) > 1
    moved = [at for at in range(len(soft)) if soft[at]]
    assert moved == [
        1,
        reading.openings[0][0] - reading.prompt,
        reading.openings[1][0] - reading.prompt,
    ]
    first = dict(zip(*(each[moved[1]].tolist() for each in (
        taught.answers.ids, taught.answers.shares)), strict=True))  # fmt: skip
    assert first[names.openings[time]] == pytest.approx(0.5 + 0.5 * 0.75)
    assert first[names.openings[date]] == pytest.approx(0.5 * 0.25)
    still = [at for at in range(len(soft)) if at not in moved]
    assert (taught.answers.ids[still, 0] == plain.answers.ids[still, 0]).all()


def test_a_student_learns_a_sentence_by_heart_and_an_epoch_done_again_is_the_same() -> None:
    learning, student, torch = part("learning"), part("student"), needed("torch")
    start = HOME_COMMAND / "home-command.gguf"
    reading = part("reading").read(SENTENCE, student.vocabulary_of(start))

    def learner() -> Any:
        pace = learning.Pace(2e-3, 3.0, 256, average=0.0)
        net = student.grown_from(start, (), 1)
        return learning.SlotLearner(net, lambda _: ([reading] * 24, None), pace, 3)

    whole = learner()
    losses = [whole.epoch(number, lambda _: None)["loss"] for number in range(2)]
    assert losses[1] < losses[0]
    kept = whole.state()
    whole.epoch(2, lambda _: None)
    again = learner()
    again.restore(kept)
    again.epoch(2, lambda _: None)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)
    assert learning.exact(whole.net, [reading]) == [True]


def test_a_new_layer_changes_nothing_at_first() -> None:
    student, torch = part("student"), needed("torch")
    start = HOME_COMMAND / "home-command.gguf"
    tokens, prompt = torch.tensor([[1, 700, 900, 13, 60]]), torch.tensor([4])
    with torch.no_grad():
        plain = student.grown_from(start, (), 1)(tokens, prompt)
        grown = student.grown_from(start, (1, 3), 1)(tokens, prompt)
    assert torch.allclose(plain, grown, atol=1e-5)


def test_a_wider_student_says_at_first_what_the_narrower_one_says_and_its_copies_part() -> None:
    student, growing, torch = part("student"), part("growing"), needed("torch")
    narrow = student.grown_from(HOME_COMMAND / "home-command.gguf", (2,), 1)
    tokens, prompt = torch.tensor([[1, 700, 900, 13, 60]]), torch.tensor([4])
    wide = growing.widened(narrow, (2, 3), 1)
    old, new = narrow.shape, wide.shape
    assert (new.width, new.heads, new.feed_forward) == (2 * old.width, 2 * old.heads, 1344)
    assert (new.layers, new.context) == (7, old.context)
    with torch.no_grad():
        plain, grown = (net(tokens, prompt) @ net.table.T for net in (narrow, wide))
    assert torch.allclose(plain, grown, atol=2e-3)
    assert plain.abs().max() > 1
    optimizer = torch.optim.SGD(wide.parameters(), 0.01)
    (wide(tokens, prompt) @ wide.table.T).square().mean().backward()
    optimizer.step()
    first, second = wide.table.chunk(2, dim=1)
    assert not torch.allclose(first[tokens], second[tokens], atol=1e-6)


def test_llama_cpp_reads_the_prompt_both_ways_as_the_student_does(tmp_path: Path) -> None:
    student, torch = part("student"), needed("torch")
    llama_cpp = needed("llama_cpp")
    artifact = importlib.import_module("tools.train.home_command.artifact")
    start = HOME_COMMAND / "home-command.gguf"
    net = student.grown_from(start, (), 1)
    model = tmp_path / "small.gguf"
    artifact.write_file(
        model,
        artifact.About("small", causal=False),
        (net.shape, artifact.tensors_of(net.table, net.blocks, net.final_norm)),
        "F32",
        lambda writer: artifact.copy_tokenizer(writer, start),
    )
    tokens = [1, 700, 900, 13, 60, 400]
    llama = llama_cpp.Llama(
        str(model), n_ctx=64, n_batch=64, n_threads=1, verbose=False, logits_all=True
    )
    llama.eval(tokens[:4])
    for token in tokens[4:]:
        llama.eval([token])
    said = np.array(llama.scores[: len(tokens)])
    with torch.no_grad():
        ours = (net(torch.tensor([tokens]), torch.tensor([4]))[0] @ net.table.T).numpy()
    assert np.abs(said - ours).max() < 0.02
    with torch.no_grad():
        causal = (net(torch.tensor([tokens]), torch.tensor([0]))[0] @ net.table.T).numpy()
    assert np.abs(said - causal)[1].max() > 0.1


def test_the_bundled_grammar_is_made_of_its_vocabulary_and_begins_no_value_with_a_blank() -> None:
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    needed("llama_cpp")
    made = importlib.import_module("tools.train.home_command.grammar").text(vocabulary)
    assert (HOME_COMMAND / "grammar.gbnf").read_text(encoding="utf-8") == made
    assert "value ::= first char{0,63}\nfirst ::= [^ " in made


def test_the_steps_are_asked_for_by_another_mark_and_say_the_parts_alone() -> None:
    vocabulary = part("student").vocabulary_of(HOME_COMMAND / "home-command.gguf")
    answer = part("reading").read(SENTENCE, vocabulary)
    steps = part("reading").read_steps(SENTENCE, vocabulary, 0.25)
    assert vocabulary.text_of(steps.tokens[: steps.prompt]) == " wake me at 8 am tomorrow\t"
    assert vocabulary.text_of(answer.tokens[: answer.prompt]) == " wake me at 8 am tomorrow\n"
    said = vocabulary.text_of(steps.tokens[steps.prompt :])
    assert said == '"time":"8 am","date":"tomorrow"}}'
    assert set(steps.weights) == {0.25}


def test_steps_beside_an_answer_are_learned_without_tags_or_shares_of_the_teacher() -> None:
    learning, student = part("learning"), part("student")
    start = HOME_COMMAND / "home-command.gguf"
    vocabulary = student.vocabulary_of(start)
    steps = part("reading").read_steps(SENTENCE, vocabulary, 0.5)
    names = learning.SlotNames.of(vocabulary)
    net = student.grown_from(start, (), 1)
    pace = learning.Pace(2e-3, 2.0, 256, average=0.0)
    lesson = learning.Lesson([None] * 24, 0.5, names)
    learner = learning.SlotLearner(net, lambda _: ([steps] * 24, lesson), pace, 3)
    first = learner.epoch(0, lambda _: None)
    assert first["tags"] == 0.0
    assert learner.epoch(1, lambda _: None)["loss"] < first["loss"]
