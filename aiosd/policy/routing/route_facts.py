"""What routing looks at: the request, each expert's declaration, how it stands, and the result."""

import msgspec

from aiosd.domain.decision import Decision, Kind
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy


class RouteFacts(msgspec.Struct, frozen=True):
    """What routing looks at of one expert.

    `kind` is where its worker runs; a request for the board alone is never routed beyond it.
    `privacy` is the package's word on a request that it cannot answer: whether that may go up then,
    if the request and the owner say so too. Its own worker is walled in whatever that word is.
    `labels` are what it says that it answers; empty where it says nothing of that.
    """

    expert: str
    task: str
    input_type: InputType
    max_bytes: int
    privacy: Privacy = Privacy.LOCAL
    kind: Kind = Kind.LOCAL
    labels: frozenset[str] = frozenset()


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for: an expert, a task, or neither, with this kind of input.

    `frugal` says that power is short; `max_joules` and `max_cost` are the most that the answer may
    be expected to take; `seconds` is what is left until its deadline.
    """

    expert: str | None
    task: str | None
    input_type: InputType
    input_bytes: int
    frugal: bool = False
    max_joules: float | None = None
    max_cost: float | None = None
    seconds: float | None = None
    privacy: Privacy = Privacy.LOCAL


class Route(msgspec.Struct, frozen=True):
    """The expert that answers, and why in a few words.

    `id` is the number of the decision, 0 where an expert was named and nothing was decided.
    `decision` is sent with the reply where the request asks for it.
    """

    expert: str
    why: str
    id: int = 0
    decision: Decision | msgspec.UnsetType = msgspec.UNSET


class Standing(msgspec.Struct, frozen=True):
    """How an expert stands right now: loaded or not, what it needs, what an answer takes.

    What is None is not known yet, and no expert is removed for what is not known. `rest_seconds`
    is how long it still rests after failures, `room_bytes` the most that it could ever have,
    `run_seconds` the 95th percentile of its answers, `load_seconds` what loading it took.
    """

    ready: bool
    need_bytes: int
    joules: float | None = None
    rest_seconds: float = 0.0
    room_bytes: int | None = None
    run_seconds: float | None = None
    load_seconds: float = 0.0
    cost: float = 0.0

    @property
    def seconds(self) -> float | None:
        """What an answer takes with the load, if one is needed; None before it is known."""
        if self.run_seconds is None:
            return None
        return self.run_seconds + (0.0 if self.ready else self.load_seconds)
