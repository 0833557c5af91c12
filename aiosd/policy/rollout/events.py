"""What may happen to a release on its way, and what is to be done for it: values only."""

from enum import StrEnum

import msgspec

from aiosd.domain.rollout import Cost, Report


class Fault(StrEnum):
    """Whose fault a failure is.

    `release`: it will fail again, so it is never tried again. `chance`: it may not, so it is tried
    once more. `world`: network, disk or RAM in use; it counts for nothing.
    """

    RELEASE = "release"
    CHANCE = "chance"
    WORLD = "world"


class _Value(msgspec.Struct, frozen=True):
    """An event or an effect."""


# ── events ───────────────────────────────────────────────────────────────────────────────────


class Fetch(_Value, frozen=True):
    """The updater begins to fetch, or goes on."""


class Progressed(_Value, frozen=True):
    """More of it is on the disk than before; what that cost."""

    cost: Cost = Cost()


class Verified(_Value, frozen=True):
    """Every blob is here, and every digest is right; what the last of it cost."""

    cost: Cost = Cost()


class Staged(_Value, frozen=True):
    """Its folder is whole and durable."""


class Probing(_Value, frozen=True):
    """A probe begins: a try, which counts from now on."""


class Probed(_Value, frozen=True):
    """Its self-tests passed, and it fits this board."""

    report: Report


class Diverted(_Value, frozen=True):
    """From now on it answers what its expert is asked."""


class Answered(_Value, frozen=True):
    """It answered a request of somebody's, or failed to; `slow` as `canary.py` has it."""

    good: bool
    slow: bool = False


class Checked(_Value, frozen=True):
    """After its first requests it still passes its self-tests."""


class Drained(_Value, frozen=True):
    """The old release's worker is gone; the longest that a request was kept waiting for that."""

    hold_seconds: float = 0.0


class Collected(_Value, frozen=True):
    """What is not needed any more is off the disk."""


class Failed(_Value, frozen=True):
    """A step did not end well."""

    reason: str
    fault: Fault = Fault.RELEASE


class Expired(_Value, frozen=True):
    """The state's deadline has passed.

    `lacking` says for want of what that which was to be tried out is not even loaded, if it is not.
    """

    lacking: str = ""


class Cancelled(_Value, frozen=True):
    """Somebody does not want it any more; nothing is known against it."""

    reason: str


class Held(_Value, frozen=True):
    """The owner stops it where it is, or lets it go on."""

    on: bool


class RolledBack(_Value, frozen=True):
    """The owner wants the release before it."""

    reason: str


class Stopped(_Value, frozen=True):
    """Whoever drives it ends as it should."""


class Resumed(_Value, frozen=True):
    """Whoever drives it has started; without `Stopped` before, it had crashed or lost power."""


class Lived(_Value, frozen=True):
    """The daemon has lived long enough with it."""


Event = (
    Fetch
    | Progressed
    | Verified
    | Staged
    | Probing
    | Probed
    | Diverted
    | Answered
    | Checked
    | Drained
    | Collected
    | Failed
    | Expired
    | Cancelled
    | Held
    | RolledBack
    | Stopped
    | Resumed
    | Lived
)


# ── effects: each may be carried out twice, as after a crash ─────────────────────────────────


class DoFetch(_Value, frozen=True):
    """Updater: fetch what is missing, after so many seconds."""

    after_seconds: float = 0.0


class DoStage(_Value, frozen=True):
    """Updater: make its folder."""


class DoProbe(_Value, frozen=True):
    """Daemon: load it beside what serves and run its self-tests, after so many seconds."""

    after_seconds: float = 0.0


class DoDivert(_Value, frozen=True):
    """Daemon: let it answer what its expert is asked."""


class DoCheck(_Value, frozen=True):
    """Daemon: run its self-tests again."""


class DoActivate(_Value, frozen=True):
    """Daemon: make this release the active one, and let what served before it drain.

    With `force` end what serves before it now.
    """

    release: int
    force: bool = False


class DoReturn(_Value, frozen=True):
    """Daemon: this release answers nothing any more; `old_release` is, or becomes, the active one.

    Release 0 stands for none: the expert was not there before.
    """

    release: int
    old_release: int


class DoCollect(_Value, frozen=True):
    """Daemon: take off the disk what neither this release nor the one before it needs."""


class DoDiscard(_Value, frozen=True):
    """Updater or daemon: this release is not needed on the disk any more."""

    release: int


class DoWatch(_Value, frozen=True):
    """Daemon: say `Lived` once the trial's time is over."""


Effect = (
    DoFetch
    | DoStage
    | DoProbe
    | DoDivert
    | DoCheck
    | DoActivate
    | DoReturn
    | DoCollect
    | DoDiscard
    | DoWatch
)
