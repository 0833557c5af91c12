"""What is kept of thousands of packages changes nothing but the time."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from aiosd.fitter.fit import fit
from aiosd.fitter.pages import Page, form, page_of, read_pages, write_pages
from aiosd.fitter.postings import STEP, Postings, learn
from aiosd.fitter.texts import Example, rows_of
from aiosd.policy.routing.head import (
    BACKGROUND,
    Head,
    HeadFacts,
    Measures,
    Thresholds,
    decode_head,
)
from aiosd.policy.routing.lessons import Lesson
from aiosd.policy.routing.lexical import neighbours, normal, seen, spoken
from aiosd.policy.routing.weights import MOST_IN_LANES
from aiosd.store.heads import Heads


def name(number: int) -> str:
    """Return a word of its own for each number; digits would all be the same."""
    return "".join(chr(ord("a") + number * 7919 // 26**place % 26) for place in range(5))


CROWD = [
    Lesson(
        expert=f"e{number:03d}",
        utterances=[f"{verb} the {name(number)}" for verb in ("show", "open", "sell", "find")],
    )
    for number in range(MOST_IN_LANES + 4)
]
ONE_MORE = Lesson(expert="one-more", utterances=["paint the zebra", "wash the zebra"])


@pytest.fixture(scope="module")
def fresh() -> tuple[bytes, dict[str, Page]]:
    kept: dict[str, Page] = {}
    return fit(CROWD, kept=kept), kept


def test_one_package_more_is_the_same_head_with_what_was_kept_and_without(
    fresh: tuple[bytes, dict[str, Page]],
) -> None:
    data, kept = fresh
    pages = dict(kept)
    more = fit([*CROWD, ONE_MORE], kept=pages)
    assert more == fit([*CROWD, ONE_MORE])
    assert len(pages) == len(CROWD) + 1
    assert fit(CROWD, kept=pages) == data
    assert pages == kept
    assert "one-more" in decode_head(more).experts


def test_pages_survive_being_written_and_a_damaged_file_is_an_empty_one(
    fresh: tuple[bytes, dict[str, Page]],
) -> None:
    _, kept = fresh
    file = io.BytesIO()
    assert read_pages(file) == {}
    write_pages(file, kept)
    assert read_pages(file) == kept
    whole = file.getvalue()
    for damaged in (whole[:-1], whole[:40] + b"\xff" + whole[41:], b"other", whole + b"\0"):
        assert read_pages(io.BytesIO(damaged)) == {}
    write_pages(file, {})
    assert read_pages(file) == {}


def near(text: str) -> list[int]:
    """Return the places of a text without those of pairs over one word."""
    words = [seen(word) for word in spoken(normal(text))]
    return [*(place for word in words for place in word.places), *neighbours(words)]


def test_a_page_counts_in_how_many_texts_a_place_is() -> None:
    texts = ["open the door", "open the window", "shut it"]
    page = page_of([Example(text, ("e", ""), late=not place) for place, text in enumerate(texts)])
    assert (page.texts, page.early_texts) == (3, 2)
    (late,) = page.late_rows()
    assert late.tolist() == sorted(near(texts[0]))
    counted = dict(
        zip(np.frombuffer(page.places, "<u2"), np.frombuffer(page.counts, "<u2"), strict=True)
    )
    early = dict(
        zip(np.frombuffer(page.places, "<u2"), np.frombuffer(page.early, "<u2"), strict=True)
    )
    for place, count in counted.items():
        having = [place in near(text) for text in texts]
        assert count == sum(having)
        assert early[place] == sum(having[1:])
    assert page.forms == b"".join(form(text) for text in texts)


def head_of_all(made: Postings) -> Head:
    """Return the head of what was learned, without the daemon's thresholds."""
    routes = [*((each.expert, "") for each in CROWD), (BACKGROUND, "")]
    facts = HeadFacts(
        key="k",
        routes=routes,
        scales=[STEP] * len(routes),
        biases=[0.0] * len(routes),
        thresholds=Thresholds(),
        measures=Measures(),
    )
    return Head(facts, made.pack())


def test_postings_score_as_the_daemon_does() -> None:
    data = fit(CROWD)
    head = decode_head(data)
    pages = [page_of([Example(t, (e.expert, "")) for t in e.utterances]) for e in CROWD]
    nobody = page_of([Example("who knows", (BACKGROUND, ""))])
    made = learn(pages, nobody)
    row = rows_of(["please show the " + name(17)], far=False)
    scores = made.scores([row.places.astype(np.int64)])[0]
    assert scores.argmax() == 17
    told = head.read("please show the " + name(17)).told
    assert told is not None
    assert told[17] > 0
    assert max(told, key=told.__getitem__) == 17
    ours = head_of_all(made).read("please show the " + name(17))
    assert ours.told is not None
    steps = [ours.told.get(route, 0) * ours.step for route in range(len(scores))]
    assert steps == pytest.approx(scores.tolist())


def test_the_state_folder_lends_a_place_to_keep_pages_in(tmp_path: Path) -> None:
    heads = Heads(tmp_path / "heads")
    descriptor = heads.pages()
    assert descriptor is not None
    os.close(descriptor)
    (tmp_path / "file").write_text("")
    assert Heads(tmp_path / "file").pages() is None


def test_a_head_in_a_file_is_read_word_by_word_and_says_the_same(tmp_path: Path) -> None:
    data = fit(CROWD[:3])
    heads = Heads(tmp_path)
    heads.keep("k", data)
    opened = heads.read("k")
    assert opened is not None
    text = "please show me the light"
    assert opened.read(text) == decode_head(data).read(text)
    (tmp_path / "k.head").unlink()
    assert opened.read("another word") == decode_head(data).read("another word")
    assert heads.read("k") is None
    for damaged in (b"", data[:-1], data[:9]):
        (tmp_path / "k.head").write_bytes(damaged)
        assert heads.read("k") is None
