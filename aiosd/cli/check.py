"""What a check of `aiosctl doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check went: only `fail` keeps aiosd from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: the verdict, what was found, and the next step."""

    name: str
    verdict: Verdict
    found: str
    step: str = ""


def ok(name: str, found: str) -> Check:
    """Return a check that went well."""
    return Check(name, Verdict.OK, found)


def warn(name: str, found: str, step: str) -> Check:
    """Return a check that found something that costs, but does not stop aiosd."""
    return Check(name, Verdict.WARN, found, step)


def fail(name: str, found: str, step: str) -> Check:
    """Return a check that found what stops aiosd."""
    return Check(name, Verdict.FAIL, found, step)
