"""One release in the place of another while requests come: beside each other where RAM allows.

The other release answers under its alias while the expert's own worker ends what it has, leaves,
and comes back with the new one. Where there is no room for two, requests wait in their queues
for as long as the load takes, which is told.
"""

import asyncio
import logging
from collections.abc import Callable

from aiosd.daemon.broker import Broker
from aiosd.daemon.detours import Detours
from aiosd.daemon.inventory import Inventory, Needs
from aiosd.daemon.releases.probe import Probe, UnworthyError, alias_of
from aiosd.daemon.releases.release_desk import ReleaseDesk
from aiosd.daemon.releases.resumption import take_back
from aiosd.daemon.releases.self_tests import questions
from aiosd.domain.errors import AiosdError
from aiosd.domain.rollout import Rollout
from aiosd.policy.serving.slots import Slot
from aiosd.protocol.messages import Run
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)

# How often to look whether a worker is done, while one waits for that: a swap only.
LOOK_SECONDS = 0.01


class Swap:
    """Makes a release the one that serves, or takes it back."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        desk: ReleaseDesk,
        probe: Probe,
    ) -> None:
        """Change nothing yet; the daemon sets how all its parts learn of another release."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self._desk = desk
        self._probe = probe
        self.detours = Detours()
        self.renew: Callable[[Installed, Needs], None] = lambda _installed, _needs: None
        self.rescan: Callable[[], object] = lambda: None
        self.end: Callable[[str, str], None] = lambda _expert, _why: None

    def divert(self, row: Rollout) -> None:
        """Let a release that was taken in answer what its expert is asked."""
        self._divert(row.name, alias_of(row.name, row.release))

    def _divert(self, name: str, alias: str) -> None:
        """Have another worker answer what an expert is asked, and what was held back for it."""
        self.detours.seats[name] = alias
        for ticket in self._probe.holding.take_out(name):
            self._broker.reseat(self.detours.send(ticket))

    async def commit(self, row: Rollout, *, force: bool = False) -> float:
        """Make a release the one that serves; return how long requests had to wait, at most.

        With `force` what serves is ended now.

        Raises:
            OSError, PackageError: the disk says no; what served serves on.
        """
        releases = self._desk.releases
        await self._desk.do(lambda: releases.activate(row.name, row.release))
        installed = await self._desk.do(lambda: releases.open(row.name, row.release))
        if force:
            self.end(row.name, "it did not leave for the new release in time")
        held = await self._switch(row.name, installed)
        return max(held, self._probe.holding.waited(row.name))

    async def give_back(self, row: Rollout) -> None:
        """Let a release answer nothing any more; the old one is, or becomes, the one that serves.

        Raises:
            OSError, PackageError: the disk says no.
        """
        name, releases = row.name, self._desk.releases
        alias = alias_of(name, row.release)
        if self.detours.seats.get(name) == alias:
            del self.detours.seats[name]
        self._probe.unseat(alias)
        self._probe.holding.end(name)
        old = await self._desk.do(lambda: take_back(releases, row))
        now = self._inventory.catalogue.experts.get(name)
        if now is None or now.folder != releases.folder(name, row.release):
            return
        if old is None:
            self.rescan()
            return
        self.detours.seats.pop(name, None)
        try:
            beside = alias_of(name, old.manifest.release)
            await self._probe.seat(name, old)
            if not self._probe.holding.crowded(name, beside):
                await self._probe.house.load(beside)
        except (UnworthyError, AiosdError) as error:
            log.warning("%s: requests wait for the old release: %s", name, error)
        await self._switch(name, old)

    async def _switch(self, name: str, installed: Installed) -> float:
        """Have the expert's own worker leave and come back as `installed`.

        Raises:
            PackageError: this machine cannot run it.
        """
        needs = await self._probe.look_ahead(installed)
        alias = alias_of(name, installed.manifest.release)
        beside, slot = self._slot(alias), self._slot(name)
        busy = slot is not None and (
            slot.loaded or name in self.detours.seats or self._probe.holding.holds(name)
        )
        if slot is not None and beside is not None and beside.loaded:
            self._divert(name, alias)
            await self._until(lambda: not (len(slot.queue) or slot.serving))
        self._probe.holding.end(name)
        self.renew(installed, needs)
        held = 0.0
        if slot is not None and busy:
            await self._until(lambda: not slot.stale)
            held = await self._come_back(name, slot)
        self.detours.seats.pop(name, None)
        self._probe.unseat(alias)
        return held

    async def _come_back(self, name: str, slot: Slot) -> float:
        """Load the expert's own worker; return how long requests waited for that, at most."""
        scheduler = self._broker.scheduler
        alias = self.detours.seats.get(name)
        short = scheduler.residency.need_bytes(slot) > scheduler.ledger.free_bytes
        if alias and (short or self._probe.holding.crowded(name, alias)):
            # No room for two: the requests wait here until the one has gone and the other come.
            del self.detours.seats[name]
            self._probe.unseat(alias)
            alias = None
        start, waited = self._loop.time(), False
        try:
            await self._probe.house.load(name, gentle=alias is not None)
        except AiosdError as error:
            log.warning("%s: not loaded again after the swap: %s", name, error)
        else:
            if alias is not None:
                await self._warm_up(name)
        waited = alias is None and (len(slot.queue) > 0 or slot.serving is not None)
        return self._loop.time() - start if waited else 0.0

    async def _warm_up(self, name: str) -> None:
        """Have a worker answer once before others wait for it: its first answer takes longest."""
        installed = self._inventory.find(name)
        try:
            asked = await self._desk.do(lambda: questions(installed.manifest, installed.folder))
            for value, attachments in asked[:1]:
                run = Run(input=value, expert=name)
                await self._probe.house.run(run, attachments, straight=True)
        except (AiosdError, OSError) as error:
            log.info("%s: not warmed up: %s", name, error)

    def _slot(self, name: str) -> Slot | None:
        return self._broker.scheduler.slots.get(name)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so; the deadline of the release's state bounds it."""
        while not done():  # noqa: ASYNC110 - nobody tells: it would cost each request something
            await asyncio.sleep(LOOK_SECONDS)
