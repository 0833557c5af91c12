"""A question and its answer: the request with its options, and the outcome with what it cost."""

from enum import StrEnum

import msgspec

from aiosd.domain.decision import Decision
from aiosd.domain.inputs import Input


class Priority(StrEnum):
    """How urgent a request is."""

    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BACKGROUND = "background"


class Privacy(StrEnum):
    """Where a request may go: `local` never leaves the board."""

    LOCAL = "local"
    UPLINK = "uplink"


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a text expert picks its tokens; what is None comes from the manifest.

    `json_schema` and `grammar` (GBNF) exclude each other.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    json_schema: dict[str, object] | None = None
    grammar: str | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the caller asks for beside the answer.

    `deadline_seconds` counts from the moment the daemon receives the request.
    `keep_alive_seconds` overrides how long the expert stays loaded after this request;
    negative means until evicted. `explain` asks for the record of the routing decision.
    """

    stream: bool = False
    deadline_seconds: float | None = None
    priority: Priority = Priority.NORMAL
    privacy: Privacy = Privacy.LOCAL
    keep_alive_seconds: float | None = None
    max_joules: float | None = None
    max_cost: float | None = None
    top_k: int | None = None
    explain: bool = False
    sampling: Sampling = Sampling()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one expert, one task, or (neither given) whoever fits."""

    input: Input
    expert: str | None = None
    task: str | None = None
    options: Options = Options()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer cost, as far as it is known.

    Times are milliseconds. `queue_ms` is waiting for other requests, `load_ms` waiting for the
    expert to be loaded (0 if warm), `run_ms` the worker's own time from bytes to answer,
    `engine_ms` the part of it spent inside the engine, `cpu_ms` the CPU time of all its threads.

    `joules` is what the request added to the idle board, `joules_gross` that and its part of the
    idle, `joules_uncertainty` one standard deviation; None on a board without meter or model.
    `joules_source` and `joules_scope` are `EnergySource` and `Scope` of aiosd.domain.power, with
    "fitted " before the source where the figure comes from many requests like this one.
    """

    queue_ms: float = 0.0
    load_ms: float = 0.0
    run_ms: float = 0.0
    engine_ms: float = 0.0
    cpu_ms: float | None = None
    first_token_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    ram_bytes: int | None = None
    joules: float | None = None
    joules_gross: float | None = None
    joules_uncertainty: float | None = None
    joules_source: str = "none"
    joules_scope: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a successful answer: who answered, why, what, and what it cost.

    `decision` is there if the request asked for it and named no expert; `doubt` if a check that was
    measured says that the answer may well be wrong, and nobody better could be asked.
    """

    expert: str
    release: int
    why: str
    output: dict[str, object]
    cold: bool
    usage: Usage
    decision: Decision | msgspec.UnsetType = msgspec.UNSET
    doubt: str | msgspec.UnsetType = msgspec.UNSET
