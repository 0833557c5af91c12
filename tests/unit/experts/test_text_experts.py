"""The bundled text experts answer their own self-test cases in the real pipeline and engine."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.bundled import LIBRARIES, opened, read
from fakes.effort import cpu_at_most

from aiosd.domain.errors import InvalidError
from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Manifest

AskText = Callable[[str], dict[str, Any]]
EXPERTS = ("sms-spam", "assistant-intent", "safety-filter")


@pytest.fixture(params=[(name, library) for name in EXPERTS for library in LIBRARIES], ids="-".join)
def expert(repo: Path, request: pytest.FixtureRequest) -> tuple[Manifest, AskText]:
    name, library = request.param
    ask = opened(repo, name, library)
    return read(repo, name), lambda text: ask(TextInput(text=text))


def test_every_self_test_case_is_answered_as_expected(expert: tuple[Manifest, AskText]) -> None:
    manifest, ask = expert
    assert len(manifest.self_test.cases) >= 6
    for case in manifest.self_test.cases:
        assert case.text is not None
        output = ask(case.text)
        assert output["label"] == case.expect["label"], (case.text, output)


def test_scores_are_probabilities_in_falling_order(expert: tuple[Manifest, AskText]) -> None:
    manifest, ask = expert
    output = ask("hello, are we still on for lunch at noon")
    scores = [each["score"] for each in output["top"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1
    assert sum(scores) <= 1 + 1e-5
    assert {each["label"] for each in output["top"]} <= set(manifest.routing.labels)


def test_a_text_of_a_quarter_megabyte_is_answered_at_once(expert: tuple[Manifest, AskText]) -> None:
    _, ask = expert
    with cpu_at_most(2.0):
        assert ask("Free entry! £100 " * 3_500)["label"]


def test_an_empty_text_is_an_invalid_request(expert: tuple[Manifest, AskText]) -> None:
    _, ask = expert
    with pytest.raises(InvalidError) as caught:
        ask(" \n ")
    assert caught.value.field == "input.text"


@pytest.mark.parametrize("name", EXPERTS)
def test_the_two_libraries_agree(repo: Path, name: str) -> None:
    first, second = (opened(repo, name, library) for library in LIBRARIES)
    for case in read(repo, name).self_test.cases:
        assert case.text is not None
        one, other = (each(TextInput(text=case.text)) for each in (first, second))
        assert one["label"] == other["label"]
        assert np.isclose(one["score"], other["score"], atol=0.02)


@pytest.mark.parametrize("name", EXPERTS)
def test_files_are_those_of_the_manifest_and_small(repo: Path, name: str) -> None:
    manifest, folder = read(repo, name), repo / "experts" / name
    for file in manifest.files:
        data = (folder / file.path).read_bytes()
        assert len(data) == file.size
        assert hashlib.sha256(data).hexdigest() == file.sha256
    labels = (folder / "labels.txt").read_text(encoding="utf-8").split()
    assert manifest.routing.labels == labels
    assert manifest.model is not None
    sizes = {file.path: file.size for file in manifest.files}
    assert manifest.model.size + sizes.get("pieces.txt", 0) < 3_000_000


@pytest.mark.parametrize("name", EXPERTS)
def test_the_card_gives_figures_with_their_intervals(repo: Path, name: str) -> None:
    card = read(repo, name).card
    accuracy = next(figure for figure in card.figures if figure.name == "accuracy")
    assert accuracy.samples > 500
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < accuracy.value < accuracy.high
    assert card.attribution
    assert card.rebuild
