"""A package's self-tests, asked as requests and judged case by case."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from aiosd.domain.errors import AiosdError, ErrorCode
from aiosd.domain.inputs import (
    AudioInput,
    ImageInput,
    Input,
    InputType,
    JsonInput,
    SeriesInput,
    TextInput,
)
from aiosd.domain.manifest import Manifest, SelfTestCase
from aiosd.domain.request import Outcome
from aiosd.policy.rollout.self_test import differences
from aiosd.protocol.codec import Buffer
from aiosd.protocol.messages import Run

Ask = Callable[[Run, Sequence[Buffer]], Awaitable[Outcome]]

# What says nothing of the release: the board has no room or power for it just now.
_ELSEWHERE = frozenset(
    {ErrorCode.BUSY, ErrorCode.OVER_RAM, ErrorCode.OVER_POWER, ErrorCode.CANCELLED}
)


class Verdict(NamedTuple):
    """How the self-tests went; `run_ms` is the median of the answers."""

    cases: int
    failures: list[str]
    run_ms: float

    def good(self, pass_mark: float) -> bool:
        """Tell whether enough of them passed."""
        return len(self.failures) <= (1 - pass_mark) * self.cases


def questions(manifest: Manifest, folder: Path) -> list[tuple[Input, tuple[Buffer, ...]]]:
    """Return what the cases ask, with the bytes that travel beside; reads the package's files.

    Raises:
        OSError: a file cannot be read.
    """
    return [_question(manifest, case, folder) for case in manifest.self_test.cases]


async def examine(
    manifest: Manifest, asked: Sequence[tuple[Input, tuple[Buffer, ...]]], expert: str, ask: Ask
) -> Verdict:
    """Ask `expert` every case of the manifest, and return what differs from what is expected.

    Raises:
        AiosdError: the board could not have it answered at all just now.
    """
    failures: list[str] = []
    times: list[float] = []
    cases = manifest.self_test.cases
    for number, (case, (value, attachments)) in enumerate(zip(cases, asked, strict=True), 1):
        try:
            outcome = await ask(Run(input=value, expert=expert), attachments)
        except AiosdError as error:
            if error.code in _ELSEWHERE:
                raise
            failures.append(f"self-test {number}: {error.message}")
            continue
        times.append(outcome.usage.run_ms)
        found = list(differences(case.expect, outcome.output, case.tolerance))
        if found:
            failures.append(f"self-test {number}: {'; '.join(found)}")
    return Verdict(len(cases), failures, statistics.median(times) if times else 0.0)


def _question(
    manifest: Manifest, case: SelfTestCase, folder: Path
) -> tuple[Input, tuple[Buffer, ...]]:
    """Return the input of one case."""
    data = (folder / case.file).read_bytes() if case.file else None
    beside: tuple[Buffer, ...] = (data,) if data is not None else ()
    frame = 0 if beside else None
    match manifest.input.type:
        case InputType.IMAGE:
            return ImageInput(frame=frame), beside
        case InputType.AUDIO:
            return AudioInput(frame=frame), beside
        case InputType.SERIES:
            return SeriesInput(values=case.values, frame=frame), beside
        case InputType.JSON:
            return JsonInput(value=msgspec.json.decode(case.json or "null")), ()
        case _:
            return TextInput(text=case.text or ""), ()
