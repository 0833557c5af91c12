"""How long to follow events: until a limit of silence, or until the daemon stays away."""

from pathlib import Path

from aiosd.client.address import unreachable
from aiosd.client.link import Link
from aiosd.client.patience import Patience


class Watch:
    """Tells a follower of events how long to wait; no clock of its own."""

    def __init__(self, path: Path, patience: Patience, silence: float | None, now: float) -> None:
        """End after `silence` seconds without an event; None never ends."""
        self._path = path
        self._patience = patience
        self._silence = silence
        self._heard_at = now
        self._down_since: float | None = now

    def heard(self, now: float) -> None:
        """Take note of an event that was wanted."""
        self._heard_at = now

    def wait(self, link: Link, now: float) -> float | None:
        """Return the seconds to wait at most, None for no limit; 0 or less means: end.

        Raises:
            UnreachableError: the daemon was away for longer than the client's patience.
        """
        limit = None if self._silence is None else self._heard_at + self._silence - now
        if link.up:
            self._down_since = None
            return limit
        if self._down_since is None:
            self._down_since = now
        allowed = self._patience.restart if link.ever_up else self._patience.connect
        left = self._down_since + allowed - now
        if left <= 0 and (limit is None or limit > 0):
            raise unreachable(self._path, allowed)
        return left if limit is None else min(left, limit)
