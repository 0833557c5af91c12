"""What a daemon does first about releases: go on where the last one ended, or take one back.

Blocking, and before any package is read, so that a release which brings the daemon down is not
loaded once more.
"""

import logging

from aiosd.domain.errors import PackageError
from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import DoReturn, Effect, Resumed
from aiosd.policy.rollout.rules import Rules
from aiosd.policy.rollout.table import advance
from aiosd.store.ledger import Ledger, LedgerError
from aiosd.store.packages import Installed
from aiosd.store.releases import Releases

log = logging.getLogger(__name__)

# The updater's own, or the owner's: the daemon leaves them as they are.
NOT_OURS = (State.PLANNED, State.FETCHING, State.VERIFIED, State.HELD)


def resume(
    ledger: Ledger, releases: Releases, now: float, rules: Rules
) -> list[tuple[Rollout, list[Effect]]]:
    """Return the releases that go on, with what is to be done; what must go back has gone.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = []
    for row in ledger.rows():
        if row.state in NOT_OURS:
            continue
        after, effects = advance(row, Resumed(), now, rules)
        try:
            if after != row and (not row.ended or row.trial):
                ledger.put(after)
            if any(isinstance(effect, DoReturn) for effect in effects):
                take_back(releases, after)
        except (LedgerError, OSError, PackageError) as error:
            log.error("%s release %d: %s", row.name, row.release, error)  # noqa: TRY400
            continue
        if after.trial or not after.ended:
            found.append((after, effects))
    return found


def tidy(releases: Releases) -> None:
    """Clear up after a process that died; whoever is at work now does it itself.

    Raises:
        OSError: the disk says no.
    """
    try:
        with releases.alone():
            releases.recover()
    except PackageError as error:
        log.info("%s", error)


def take_back(releases: Releases, row: Rollout) -> Installed | None:
    """Have the disk say again that the old release serves; return it if it is a release.

    Where another than the given release is active, nothing is changed.

    Raises:
        OSError, PackageError: the disk says no.
    """
    old = row.old_release
    if releases.active(row.name) == row.release:
        if old in releases.installed(row.name):
            releases.activate(row.name, old)
        else:
            releases.deactivate(row.name)  # what was shipped with the system shows again
    return releases.open(row.name, old) if old in releases.installed(row.name) else None
