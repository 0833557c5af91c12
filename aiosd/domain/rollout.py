"""The life of one release on this board: its states, and the row that is kept of it."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**50)]
Bytes = Annotated[int, Meta(ge=0, le=2**50)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Reason = Annotated[str, Meta(max_length=1000)]


class State(StrEnum):
    """How far a release has come.

    `verified` to `probed`, `committed` and `drained` say what is done; `fetching` and `canary` what
    goes on. The last four are ends, but that `held` goes back to where it was once it may.
    """

    PLANNED = "planned"
    FETCHING = "fetching"
    VERIFIED = "verified"
    STAGED = "staged"
    PROBED = "probed"
    CANARY = "canary"
    COMMITTED = "committed"
    DRAINED = "drained"
    COLLECTED = "collected"
    HELD = "held"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """How the first requests to a release went: answered well, slow among them, and failed."""

    good: Count = 0
    slow: Count = 0
    failed: Count = 0

    @property
    def asked(self) -> int:
        """How many requests have ended."""
        return self.good + self.failed


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found: self-tests passed, the most RAM held, load time, median answer.

    `collisions` names the experts that lose more of their own texts to the release than they may;
    the rest is 0 where it was not measured.
    """

    passed: Count = 0
    cases: Count = 0
    peak_bytes: Bytes = 0
    load_ms: Seconds = 0.0
    run_ms: Seconds = 0.0
    joules: Seconds = 0.0
    collisions: tuple[str, ...] = ()


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What bringing a release cost, in bytes of its blobs.

    `fetched` came over the network. `written` went to the disk: what was fetched, and what was
    copied from blobs that were here. `shared` is what the file system let both have (reflinks of
    btrfs and xfs): neither fetched nor written.
    """

    fetched: Bytes = 0
    written: Bytes = 0
    shared: Bytes = 0

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(
            fetched=self.fetched + other.fetched,
            written=self.written + other.written,
            shared=self.shared + other.shared,
        )

    def less(self, other: "Cost") -> "Cost":
        """Return what came on top of `other`."""
        return Cost(
            fetched=self.fetched - other.fetched,
            written=self.written - other.written,
            shared=self.shared - other.shared,
        )


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One release of one expert on its way, as the ledger keeps it.

    `since` is when it came into its state, `deadline` when that must have ended (0: never): seconds
    of the wall clock. `attempts` counts tries that began and did not end well; while one goes on
    `trying` is true, and `checking` while its last self-tests run. `old_release` serves until this
    one does, 0 if nothing did. `back` is the state that `held` returns to. `trial` says that a
    crash of the daemon counts against it, `crashes` how many there were, `paused` that the daemon
    ended as it should. `hold_seconds` is how long a request was kept waiting by the swap, at most.
    `cost` is what bringing it took so far.
    """

    name: Annotated[str, Meta(max_length=64)]
    release: Annotated[int, Meta(ge=1, le=2**50)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    state: State = State.PLANNED
    since: float = 0.0
    deadline: float = 0.0
    attempts: Count = 0
    reason: Reason = ""
    old_release: Count = 0
    back: State | None = None
    trying: bool = False
    checking: bool = False
    canary: Canary = Canary()
    report: Report | None = None
    trial: bool = False
    crashes: Count = 0
    paused: bool = False
    hold_seconds: Seconds = 0.0
    cost: Cost = Cost()

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.state in (State.COLLECTED, State.CANCELLED, State.QUARANTINED)
