"""A request that has not been answered yet, and how many have been."""

from dataclasses import dataclass, field

import msgspec

from aiosd.daemon.cost import usage_of
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.energy import EnergyFigure
from aiosd.domain.request import Outcome, Usage
from aiosd.policy.routing.router import Route
from aiosd.protocol.codec import Buffer
from aiosd.protocol.messages import Run
from aiosd.protocol.pipe import Done


class Pending(msgspec.Struct):
    """A request from its arrival to its end; `name` is its client's, and seconds say what for.

    `seat` is whose worker answers: the expert's own, or another release's (see `detours.py`).
    """

    client: Client
    name: str
    id: bytes
    run: Run
    payload: Buffer | None
    size: int
    route: Route
    seat: str
    chunks: int = 0
    queue_seconds: float = 0.0
    load_seconds: float = 0.0
    resume_seconds: float = 0.0

    def outcome(
        self, done: Done, release: int, ram_bytes: int, cost: EnergyFigure | None
    ) -> Outcome:
        """Return what its client is told of the answer; one that was resumed is not `cold`."""
        return Outcome(
            expert=self.route.expert,
            release=release,
            why=self.route.why,
            output=done.output,
            cold=self.load_seconds > 0,
            usage=Usage(
                queue_ms=self.queue_seconds * 1e3,
                load_ms=(self.load_seconds + self.resume_seconds) * 1e3,
                run_ms=done.run_ms,
                engine_ms=done.engine_ms,
                cpu_ms=done.cpu_ms,
                first_token_ms=done.first_token_ms,
                tokens_in=done.tokens_in,
                tokens_out=done.tokens_out,
                ram_bytes=ram_bytes,
                **usage_of(cost),
            ),
            decision=self.route.decision,
        )


@dataclass
class Counts:
    """What has happened since the daemon started."""

    answered: int = 0
    failed: int = 0
    by_expert: dict[str, int] = field(default_factory=dict)
