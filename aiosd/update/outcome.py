"""How a run went for each expert."""

from dataclasses import dataclass

from aiosd.domain.update import Fault


@dataclass(frozen=True)
class Passed:
    """A newer release that this board does not take now, and why."""

    name: str
    release: int
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How it went for one expert.

    `result` is `staged`, `offered` (by a check), `current` (nothing newer for this board),
    `unknown` (nobody offers it), `waiting` (the same may work later) or `failed`. Of an offer
    `fetched_bytes` are what would come; bytes are of blobs, as in `Cost`.
    """

    name: str
    result: str
    release: int = 0
    fault: Fault | None = None
    reason: str = ""
    fetched_bytes: int = 0
    written_bytes: int = 0
    shared_bytes: int = 0
    passed: tuple[Passed, ...] = ()
