"""What the power governor allows now, and why."""

from dataclasses import dataclass
from enum import StrEnum


class Admission(StrEnum):
    """Whether a request may begin."""

    NOW = "now"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Allowance:
    """How much power experts may turn into work, until the next one is asked for.

    `cap_watts` is the cap after heat, supply and battery, None where nothing limits the watts;
    `why` says what moved it and which steps of the ladder are taken, most telling first.
    `threads` are those of all workers together, `duty` the share of time that each of them may run
    (0.1 to 1): as cpu.max, or as pauses between tokens. `background` says whether there is surplus
    for work that nobody waits for. `prefer_smaller` asks for a smaller expert of the same task.
    `admit` holds for requests that have not begun; `retry_after_seconds` comes with a refusal.
    """

    cap_watts: float | None
    why: tuple[str, ...]
    threads: int
    duty: float
    background: bool
    prefer_smaller: bool
    admit: Admission
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Draw:
    """Whether the joule bucket gives what a request is expected to take; else when it will."""

    admit: Admission
    retry_after_seconds: float | None = None
    why: str = ""
