"""What systemd is told: READY, STATUS, RELOADING, WATCHDOG from the loop itself, STOPPING."""

import asyncio
import os
from collections.abc import Mapping
from typing import Protocol


class Notifier(Protocol):
    """What sends one state string to systemd; `sdnotify.SystemdNotifier` does."""

    def notify(self, state: str) -> None:
        """Send `state`; without a systemd this does nothing."""


class Notify:
    """Speaks to systemd, if it listens."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
        notifier: Notifier,
    ) -> None:
        """Feed the watchdog twice per period once `ready` was said, if systemd asks for it."""
        self._loop = loop
        self._notifier = notifier
        self._enabled = "NOTIFY_SOCKET" in environment
        self._timer: asyncio.TimerHandle | None = None
        self._period = 0.0
        mine = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        if self._enabled and mine and environment.get("WATCHDOG_USEC", "").isdigit():
            self._period = int(environment["WATCHDOG_USEC"]) / 2e6

    def ready(self, status: str) -> None:
        """Say that requests are answered from now on."""
        self._say(f"READY=1\nSTATUS={status}")
        if self._period and self._timer is None:
            self._feed()

    def status(self, status: str) -> None:
        """Say in one line what the daemon is doing."""
        self._say(f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the settings are being read again; `ready` ends it."""
        self._say("RELOADING=1")

    def stopping(self) -> None:
        """Say that the daemon is on its way out."""
        self._say("STOPPING=1")
        if self._timer is not None:
            self._timer.cancel()

    def _feed(self) -> None:
        """Prove that the loop turns: called by the loop, never by a thread."""
        self._say("WATCHDOG=1")
        self._timer = self._loop.call_later(self._period, self._feed)

    def _say(self, state: str) -> None:
        if self._enabled:
            self._notifier.notify(state)
