"""What follows releases, made once there is one; who has none imports nothing of it."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from aiosd.daemon.settings import Settings
from aiosd.daemon.wire.frontend import Client
from aiosd.protocol.messages import ReleaseVerb

if TYPE_CHECKING:
    from aiosd.daemon.releases.rollouts import Rollouts

_ROOM = "aiosd.daemon.releases.rollouts"


class LateRollouts:
    """Stands where `Rollouts` will be."""

    def __init__(self, make: Callable[[], "Rollouts"], settings: Settings) -> None:
        """Make nothing yet; `make` may import what it needs."""
        self._make = make
        self._settings = settings
        self._made: Rollouts | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def begin(self) -> None:
        """Take up what the ledger says was going on, before anybody is served."""
        self._rollouts().begin()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Drive what there is, now and later, as tasks of this group."""
        self._tasks = tasks
        if self._made is not None:
            self._made.start(tasks)

    def apply(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        if self._made is not None:
            self._tell(self._made)

    def on_verb(self, client: Client, request: bytes, verb: ReleaseVerb) -> None:
        """Hand a verb on; the first one has to wait for imports, nobody else has."""
        if self._made is None and self._tasks is not None:
            self._tasks.create_task(self._on_first(client, request, verb))
        else:
            self._rollouts().on_verb(client, request, verb)

    async def _on_first(self, client: Client, request: bytes, verb: ReleaseVerb) -> None:
        await asyncio.to_thread(import_module, _ROOM)
        self._rollouts().on_verb(client, request, verb)

    async def close(self) -> None:
        """End what goes on; it is taken up after the next start."""
        if self._made is not None:
            await self._made.close()

    def _rollouts(self) -> "Rollouts":
        if self._made is None:
            self._made = self._make()
            self._tell(self._made)
            if self._tasks is not None:
                self._made.start(self._tasks)
        return self._made

    def _tell(self, made: "Rollouts") -> None:
        made.settings = self._settings.rollout
        made.desk.budget_bytes = self._settings.store_budget_bytes
