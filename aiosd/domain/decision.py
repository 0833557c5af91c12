"""A routing decision as a frozen record: who was removed for what, who was left, who won and why.

Numbers are in the unit of their reason: bytes, seconds, joules, or a share from 0 to 1.
"""

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Why an expert does not answer a request, in the order in which it is looked at.

    The first eight need no learning; privacy and budgets never depend on a classifier.
    """

    UNKNOWN = "unknown"
    TASK = "task"
    INPUT_TYPE = "input_type"
    SIZE = "size"
    PRIVACY = "privacy"
    HEALTH = "health"
    RAM = "ram"
    DEADLINE = "deadline"
    JOULES = "joules"
    COST = "cost"
    TEXT = "text"
    """The text is not of the kind that the expert is asked; `found` is its probability."""


class Kind(StrEnum):
    """Which layer a survivor is of; a layer is asked if all before it cannot."""

    LOCAL = "local"
    UPLINK = "uplink"


class _Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A part of the record; what is None is not sent.

    No part can hold one that holds it, so that Python need not look for circles among thousands.
    """


class Removed(_Fact, frozen=True, kw_only=True):
    """An expert that does not answer, with what was found and what would have been allowed."""

    expert: str
    reason: Reason
    found: float | str | None = None
    limit: float | str | None = None


class Survivor(_Fact, frozen=True, kw_only=True):
    """An expert that could answer, and what is expected of it.

    `probability` is how likely the text is meant for it, calibrated; `part` its sub-route;
    `ok` how often it answers such texts well; `seconds` (p95, with the load) and `joules` what an
    answer is expected to take, None where nobody knows; `utility` is what is compared.
    """

    expert: str
    kind: Kind = Kind.LOCAL
    part: str = ""
    probability: float | None = None
    ok: float | None = None
    ready: bool = False
    need_bytes: int = 0
    seconds: float | None = None
    joules: float | None = None
    utility: float = 0.0


class Gate(_Fact, frozen=True, kw_only=True):
    """A threshold that a text passed or not: "scope" (any of these at all?), "sure" (which?)."""

    name: str
    value: float
    threshold: float
    passed: bool


class Gram(_Fact, frozen=True, kw_only=True):
    """An n-gram of the text and what it added to the winner's score: exact, the head is linear."""

    gram: str
    weight: float


class Near(_Fact, frozen=True, kw_only=True):
    """One of the experts that a text came closest to."""

    expert: str
    part: str = ""
    probability: float = 0.0


class Actual(_Fact, frozen=True, kw_only=True):
    """What became of it, once it is answered; `ok` is what feedback said."""

    seconds: float
    joules: float | None = None
    ok: bool | None = None


class Decision(_Fact, frozen=True, kw_only=True):
    """The whole record of one decision.

    `winner` is None where nobody answers. `propensity` is how likely this choice was, below 1
    where one in a hundred is drawn to explore. `head` is the key of the text head that was used.
    """

    id: int
    winner: str | None
    why: str
    removed: tuple[Removed, ...] = ()
    others: int = 0
    """How many experts were not looked at one by one, because the text is not for them."""
    survivors: tuple[Survivor, ...] = ()
    gates: tuple[Gate, ...] = ()
    nearest: tuple[Near, ...] = ()
    grams: tuple[Gram, ...] = ()
    propensity: float = 1.0
    explored: bool = False
    head: str = ""
    micros: float | None = None
    """How long the decision took, microseconds."""
    actual: Actual | None = None
