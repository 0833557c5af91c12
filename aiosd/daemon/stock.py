"""What is installed, brought to everybody who must know: scheduler, router and books, in one go."""

import asyncio
import logging
from collections.abc import Callable

from aiosd.daemon.broker import Broker
from aiosd.daemon.fitting import Fitting
from aiosd.daemon.inventory import Change, Inventory, LoadRules, Needs
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.daemon.settings import Settings
from aiosd.policy.serving.effects import Effect
from aiosd.store.heads import lessons_of
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)


class Stock:
    """Between the inventory, which reads packages, and those that use them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        telemetry: Telemetry,
        fitting: Fitting,
    ) -> None:
        """Read nothing yet."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self._telemetry = telemetry
        self._fitting = fitting
        self._pinned: set[str] = set()
        self.on_change: Callable[[], None] = lambda: None

    def take(self, settings: Settings, rules: LoadRules) -> Change:
        """Scan the packages, tell everybody what changed, and load who is always to be there."""
        change = self._inventory.scan(settings.layout(), rules)
        effects = self._learn(change)
        broker, scheduler, now = self._broker, self._broker.scheduler, self._loop.time()
        broker.max_deadline_seconds = settings.wire.max_deadline_seconds
        broker.max_held_bytes = settings.queue_bytes
        experts = settings.experts
        for name in self._pinned | set(experts.pin):
            if name in scheduler.slots:
                scheduler.on_pin(name, pinned=name in experts.pin)
        self._pinned = set(experts.pin)
        for name in dict.fromkeys([*experts.pin, *experts.preload]):
            if name in scheduler.slots:
                effects += scheduler.on_load(name, now)
            else:
                log.warning("%s is to be loaded at start, but is not installed", name)
        for name in settings.ram.needs.keys() - scheduler.slots.keys():
            log.warning("ram.needs names %s, which is not installed", name)
        broker.perform(effects)
        return change

    def renew(self, installed: Installed, needs: Needs) -> None:
        """Put one release in the place of another, without a look at any other package."""
        self._broker.perform(self._learn(self._inventory.replace(installed, needs)))

    def _learn(self, change: Change) -> list[Effect]:
        """Tell the others what changed; return what follows from it."""
        for name in change.changed:
            self._telemetry.books.on_replaced(name)
        self._broker.routing.forget([*change.changed, *change.removed])
        self._fitting.want(lessons_of(self._inventory.catalogue.experts.values()))
        self.on_change()
        facts, now = self._inventory.facts(), self._loop.time()
        return self._broker.scheduler.on_catalogue(facts, change.changed, now)
