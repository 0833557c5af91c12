"""The examples of docs/protocol.md are decoded for ever, and mean what the page says."""

import dataclasses
import re
from pathlib import Path

import pytest

from aiosd.client.event import decode_event
from aiosd.domain.errors import ERRORS
from aiosd.domain.inputs import SeriesInput, TextInput
from aiosd.domain.request import Options, Outcome, Sampling, Usage
from aiosd.protocol.codec import decode, decode_answer, encode
from aiosd.protocol.limits import DEFAULT_LIMITS
from aiosd.protocol.messages import (
    Answer,
    Cancel,
    Chunk,
    End,
    Error,
    Pin,
    Ping,
    Reply,
    Run,
    Staged,
    Uplink,
    Verb,
)

FENCE = re.compile(r"^```hex (?P<name>[\w-]+)\n(?P<hex>[0-9a-f \n]+)^```$", re.MULTILINE)
STREAMED = Options(
    stream=True, deadline_seconds=5.0, sampling=Sampling(max_tokens=16, temperature=0.0)
)
VERBS: dict[str, Verb] = {
    "ping": Ping(),
    "run-smallest": Run(input=TextInput(text="hello")),
    "run-attachment": Run(expert="anomaly", input=SeriesInput(frame=0, columns=2)),
    "run-stream": Run(task="text.generate", input=TextInput(text="Say hi"), options=STREAMED),
    "cancel": Cancel(),
    "unpin": Pin(expert="spam", pinned=False),
    "staged": Staged(expert="digits", release=3),
    "uplink-log": Uplink(action="log"),
}
OUTCOME = Outcome(
    expert="spam",
    release=3,
    why="named",
    output={"label": "ham", "score": 0.75},
    cold=False,
    usage=Usage(run_ms=1.5, engine_ms=1.0),
)
ANSWERS: dict[str, Answer] = {
    "pong": Reply(body={"version": "0.1.0", "wire": 1, "pid": 123}),
    "chunk": Chunk(n=0, text="Hi"),
    "end": End(outcome=OUTCOME),
    "error": Error(code="busy", message="the queue is full", details={"retry_after_seconds": 0.5}),
}


@pytest.fixture(scope="module")
def page(repo: Path) -> str:
    return (repo / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def examples(page: str) -> dict[str, bytes]:
    return {found["name"]: bytes.fromhex(found["hex"]) for found in FENCE.finditer(page)}


def test_every_example_of_the_page_is_checked_here(examples: dict[str, bytes]) -> None:
    assert examples.keys() == VERBS.keys() | ANSWERS.keys() | {"event"}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_of_the_page_means_what_it_says(name: str, examples: dict[str, bytes]) -> None:
    envelope = decode([b"1", examples[name], b"\0" * 8])
    assert envelope.verb == VERBS[name]
    if name != "run-smallest":
        assert encode(VERBS[name]) == examples[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_the_page_means_what_it_says(name: str, examples: dict[str, bytes]) -> None:
    assert decode_answer(examples[name]) == ANSWERS[name]
    assert encode(ANSWERS[name]) == examples[name]


def test_the_event_of_the_page_means_what_it_says(examples: dict[str, bytes]) -> None:
    event = decode_event([b"expert.loading", examples["event"]])
    assert (event.at, event.facts) == (1700000000.5, {"expert": "spam"})


def test_the_page_names_every_verb_answer_and_error(page: str) -> None:
    tags = [str(kind.__struct_config__.tag) for kind in (*Verb.__args__, *Answer.__args__)]
    assert [tag for tag in tags if f"| `{tag}` |" not in page] == []
    assert [code for code in ERRORS if f"| `{code}` |" not in page] == []


def test_the_page_names_every_field_of_a_request(page: str) -> None:
    fields = [*Options.__struct_fields__, *Sampling.__struct_fields__, *Usage.__struct_fields__]
    assert [name for name in fields if f"`{name}`" not in page] == []


def test_the_page_gives_the_limits_that_hold(page: str) -> None:
    table = page.partition("## Limits")[2].partition("## Ordering")[0].replace(" ", "")
    numbers = {int(number) for number in re.findall(r"(?<=\|)\d+", table)}
    assert set(dataclasses.astuple(DEFAULT_LIMITS)) == numbers
