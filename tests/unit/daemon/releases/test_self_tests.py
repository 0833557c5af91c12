"""A release proves itself case by case, and a board that is busy is not its fault."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from aiosd.daemon.releases.self_tests import Verdict, examine, questions
from aiosd.domain.errors import AiosdError, BusyError, ExpertFailedError
from aiosd.domain.inputs import ImageInput, JsonInput, SeriesInput, TextInput
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, SelfTest, SelfTestCase, Task
from aiosd.domain.request import Outcome, Usage
from aiosd.protocol.codec import Buffer
from aiosd.protocol.messages import Run


def manifest(kind: str, *cases: SelfTestCase, pass_mark: float = 1.0) -> Manifest:
    return Manifest(
        name="one",
        release=2,
        summary="s",
        licence="MIT",
        task=Task.TEXT_CLASSIFY,
        engine=EngineNeed(name="echo"),
        input=InputNeed(type=kind),  # type: ignore[arg-type]
        self_test=SelfTest(pass_mark=pass_mark, cases=list(cases)),
    )


def says(label: str) -> Outcome:
    return Outcome(
        expert="one@2",
        release=2,
        why="named",
        output={"label": label},
        cold=False,
        usage=Usage(run_ms=2.0),
    )


CASES = [SelfTestCase(text=text, expect={"label": text}) for text in ("a", "b", "c")]


async def verdict(answers: dict[str, Outcome | AiosdError], pass_mark: float = 1.0) -> Verdict:
    tested = manifest("text", *CASES, pass_mark=pass_mark)

    async def ask(run: Run, _attachments: Sequence[Buffer]) -> Outcome:
        assert run.expert == "one@2"
        assert isinstance(run.input, TextInput)
        answer = answers.get(run.input.text) or says(run.input.text)
        if isinstance(answer, AiosdError):
            raise answer
        return answer

    return await examine(tested, questions(tested, Path()), "one@2", ask)


async def test_a_release_that_answers_as_expected_passes() -> None:
    assert await verdict({}) == Verdict(3, [], 2.0)


async def test_each_failure_is_named_with_its_case() -> None:
    found = await verdict({"b": says("x"), "c": ExpertFailedError("it died", reason="r")})
    assert found.failures == ["self-test 2: label is 'x', not 'b'", "self-test 3: it died"]
    assert not found.good(0.5)
    assert found.good(0.3)


async def test_a_board_without_room_just_now_fails_no_release() -> None:
    with pytest.raises(BusyError):
        await verdict({"a": BusyError("full", retry_after_seconds=1.0)})


def test_a_case_is_asked_as_the_kind_of_input_that_the_package_takes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"png")
    (image,) = questions(manifest("image", SelfTestCase(file="x.png", expect={})), tmp_path)
    assert image == (ImageInput(frame=0), (b"png",))
    (series,) = questions(manifest("series", SelfTestCase(values=[1.0], expect={})), tmp_path)
    assert series == (SeriesInput(values=[1.0]), ())
    (value,) = questions(manifest("json", SelfTestCase(json="[1]", expect={})), tmp_path)
    assert value == (JsonInput(value=[1]), ())
