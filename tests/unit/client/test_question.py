"""Plain Python values as messages of the wire."""

import math
import struct
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.client.question import ATTACH_BYTES, LIST_VALUES, Question, run_question
from aiosd.domain import inputs
from aiosd.domain.errors import InvalidError
from aiosd.domain.request import Options, Priority, Sampling
from aiosd.protocol.codec import Envelope, decode
from aiosd.protocol.limits import Limits
from aiosd.protocol.messages import Run


def asked(question: Question) -> tuple[Run, Envelope]:
    envelope = decode([b"1", *question.frames])
    assert isinstance(envelope.verb, Run)
    return envelope.verb, envelope


def of(**ask: object) -> Run:
    return asked(run_question(None, 9.0, stream=False, **ask))[0]  # type: ignore[arg-type]


def test_each_kind_of_input_has_its_keyword(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"png")
    assert of(text="a").input == inputs.TextInput(text="a")
    assert of(image=b"x").input == inputs.ImageInput(data=b"x")
    assert of(image=picture).input == of(image=str(picture)).input == inputs.ImageInput(data=b"png")
    assert of(audio=b"x").input == inputs.AudioInput(data=b"x")
    assert of(json=[1]).input == inputs.JsonInput(value=[1])
    assert of(json=None).input == inputs.JsonInput(value=None)
    turn = {"role": "user", "content": "hi"}
    assert of(chat=[turn]).input == of(chat=[inputs.Turn(role="user", content="hi")]).input


def test_a_series_may_be_numbers_rows_or_an_array() -> None:
    assert of(series=[1, 2.5]).input == inputs.SeriesInput(values=[1.0, 2.5])
    rows = of(series=[[1, 2], [3, 4]], period_seconds=0.5).input
    assert rows == inputs.SeriesInput(values=[1.0, 2.0, 3.0, 4.0], columns=2, period_seconds=0.5)
    assert of(series=array("f", [1, 2])).input == inputs.SeriesInput(values=[1.0, 2.0])


def test_a_long_series_travels_as_float32() -> None:
    values = [float(number) for number in range(LIST_VALUES * 3)]
    run, envelope = asked(run_question(None, 9.0, stream=False, series=values))
    assert run.input == inputs.SeriesInput(frame=0)
    (data,) = envelope.attachments
    assert struct.unpack(f"<{len(values)}f", data) == tuple(values)


@given(st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=20))
def test_rows_are_laid_out_sample_by_sample(rows: list[list[float]]) -> None:
    value = of(series=rows).input
    assert isinstance(value, inputs.SeriesInput)
    flat = [one for row in rows for one in row]
    assert value.values is not None
    assert all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(value.values, flat, strict=True)
    )


@pytest.mark.parametrize("series", [[[1, 2], [3]], [[1], 2, [3, 4, 5]], ["a"], [None]])
def test_a_series_that_is_none_says_so(series: object) -> None:
    with pytest.raises(InvalidError) as wrong:
        of(series=series)
    assert wrong.value.field == "input.values"


def test_bytes_from_the_limit_on_are_attached() -> None:
    for size, frames in ((ATTACH_BYTES - 1, 1), (ATTACH_BYTES, 2)):
        assert len(run_question(None, 9.0, stream=False, audio=b"x" * size).frames) == frames
    tensor = inputs.TensorInput(dtype="int8", shape=[ATTACH_BYTES], data=b"x" * ATTACH_BYTES)
    run, envelope = asked(run_question(tensor, 9.0, stream=False))
    assert run.input == inputs.TensorInput(dtype="int8", shape=[ATTACH_BYTES], frame=0)
    assert len(envelope.attachments[0]) == ATTACH_BYTES


def test_exactly_one_input_is_taken() -> None:
    for value, ask in ((None, {}), ("a", {"text": "b"}), (None, {"text": "a", "json": 1})):
        with pytest.raises(InvalidError, match="exactly one input") as wrong:
            run_question(value, 9.0, stream=False, **ask)  # type: ignore[arg-type]
        assert wrong.value.field == "input"


def test_options_go_where_they_belong() -> None:
    run = of(
        text="a",
        expert="e",
        task="t",
        deadline_seconds=2,
        priority="background",
        top_k=3,
        max_tokens=5,
        token_top_k=7,
        sampling=Sampling(temperature=0.5, max_tokens=1),
    )
    assert (run.expert, run.task) == ("e", "t")
    assert run.options == Options(
        deadline_seconds=2.0,
        priority=Priority.BACKGROUND,
        top_k=3,
        sampling=Sampling(temperature=0.5, max_tokens=5, top_k=7),
    )


def test_streaming_is_an_option_of_the_method() -> None:
    assert asked(run_question("a", 9.0, stream=True))[0].options.stream is True
    assert asked(run_question("a", 9.0, stream=True, seed=1))[0].options.stream is True


@pytest.mark.parametrize(
    ("ask", "field"),
    [({"colour": 1}, "colour"), ({"top_k": "x"}, "options"), ({"priority": "now"}, "options")],
)
def test_an_option_that_is_wrong_is_named(ask: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidError) as wrong:
        of(text="a", **ask)
    assert wrong.value.field == field


def test_a_deadline_makes_the_clients_own_limit_longer_not_shorter() -> None:
    def limit(**ask: float) -> float:
        return run_question("a", 9.0, stream=False, **ask).limit_seconds  # type: ignore[arg-type]

    assert limit() == 9.0
    assert limit(deadline_seconds=1.0) == 9.0
    assert limit(deadline_seconds=60.0) == 65.0
    assert limit(deadline_seconds=60.0, timeout_seconds=3.0) == 3.0


def test_an_attachment_that_nobody_sent_is_refused() -> None:
    with pytest.raises(InvalidError, match="0 attachment"):
        run_question(inputs.ImageInput(frame=0), 9.0, stream=False)


def test_an_owners_other_limits_are_used() -> None:
    big = b"x" * (40 * 1024 * 1024)
    with pytest.raises(InvalidError, match="at most 33554432"):
        run_question(None, 9.0, stream=False, image=big)
    limits = Limits(attachment_bytes=64 * 1024 * 1024)
    assert run_question(None, 9.0, stream=False, limits=limits, image=big).frames[1] is big
