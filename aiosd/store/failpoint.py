"""Named points at which a test makes the process die or the disk fail.

Armed by a program's `__main__` from `AIOSD_FAILPOINT=name:kill|eio|enospc`, or by a test's own
action; else a point costs one comparison. A point stands before or after a step that touches the
disk, and its name says which: `blob.fsync` before, `blob.renamed` after.
"""

import errno
import os
import signal
from collections.abc import Callable

VARIABLE = "AIOSD_FAILPOINT"

Action = Callable[[str], None]


class WrongOrderError(ValueError):
    """The variable holds something that is no order."""


class _Armed:
    """What a point does, for this process."""

    action: Action | None = None


def reach(name: str) -> None:
    """Tell that the point `name` is reached.

    Raises:
        OSError: the point is armed to fail so.
    """
    if _Armed.action is not None:
        _Armed.action(name)


def arm(order: str) -> None:
    """Arm one point by an order such as `blob.fsync:enospc`; an empty one disarms.

    Raises:
        WrongOrderError: it is none.
    """
    if not order:
        act_by(None)
        return
    name, _, how = order.partition(":")
    failure = FAILURES.get(how)
    if not name or failure is None:
        raise WrongOrderError(f"{VARIABLE}={order}: not of the form name:{'|'.join(FAILURES)}")

    def act(reached: str) -> None:
        if reached == name:
            failure(reached)

    act_by(act)


def act_by(action: Action | None) -> None:
    """Have every point call `action` with its name; None disarms."""
    _Armed.action = action


def _kill(name: str) -> None:
    del name
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(number: int) -> Action:
    def fail(name: str) -> None:
        raise OSError(number, os.strerror(number), f"failpoint {name}")

    return fail


FAILURES: dict[str, Action] = {
    "kill": _kill,
    "eio": _fail(errno.EIO),
    "enospc": _fail(errno.ENOSPC),
}
