"""Starts workers when the machine has the memory, and brings what they take of it to the scheduler.

The books say that an expert fits the cap; other programs may hold that memory all the same. So
MemAvailable is looked at before each load, and while anything runs.
"""

import asyncio
import logging
from collections.abc import Callable

from aiosd.daemon.inventory import Inventory
from aiosd.daemon.wire.events import Events
from aiosd.daemon.workers.crew import Workers
from aiosd.domain.errors import AiosdError
from aiosd.domain.expert import ExpertState
from aiosd.policy.memory.pressure import Growth, Lack, Short
from aiosd.policy.serving.effects import Effect, Limit, Load, Unload
from aiosd.policy.serving.scheduler import Scheduler

log = logging.getLogger(__name__)

# What has just come free may take a moment to be counted.
SETTLE_SECONDS = 0.2


class Loader:
    """The broker's hand for `Load` and `Limit`, and the `Listener` of the memory watch."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        inventory: Inventory,
        workers: Workers,
        events: Events,
    ) -> None:
        """Load nothing yet; the broker sets `perform`, and who hears of failures."""
        self._loop = loop
        self._scheduler = scheduler
        self._inventory = inventory
        self._workers = workers
        self._events = events
        self.perform: Callable[[list[Effect]], None] = lambda _effects: None
        self.on_failed: Callable[[str, str], None] = lambda _expert, _reason: None
        self.loads = 0
        self.gentle: set[str] = set()
        """Experts whose loads are to disturb nobody, unless a request waits for them."""

    # ── effects ───────────────────────────────────────────────────────────────────────────────

    def book(self, effect: Load | Limit) -> None:
        """Have a worker started if the machine has the memory, or held to other bytes."""
        if isinstance(effect, Limit):
            self._workers.limit(effect.expert, effect.booked_bytes)
        elif self._lacking():
            self._loop.call_later(SETTLE_SECONDS, self._load_late, effect)
        else:
            self._load(effect)

    def _load_late(self, effect: Load) -> None:
        """Start a worker for which there was no memory a moment ago, or give the load up."""
        slot = self._scheduler.slots.get(effect.expert)
        if slot is None or slot.state is not ExpertState.LOADING:
            return
        lacking = self._lacking()
        if lacking:
            log.warning("%s is not loaded: %d MiB are lacking", effect.expert, lacking >> 20)
            self.perform(self._scheduler.on_memory(Lack(effect.expert, lacking), self._loop.time()))
        else:
            self._load(effect)

    def _load(self, effect: Load) -> None:
        """Start a worker; what goes wrong counts as a failed load."""
        expert = effect.expert
        self._events.publish("expert.loading", {"expert": expert})
        self.loads += 1
        try:
            awaited = len(self._scheduler.slots[expert].queue) > 0
            engine, order = self._inventory.order(expert, awaited=awaited)
            gentle = not awaited and expert in self.gentle
            self._workers.start(expert, engine, order, effect.reserved_bytes, gentle=gentle)
        except (OSError, AiosdError) as error:
            self._loop.call_soon(self.on_failed, expert, f"cannot start: {error}")

    def _lacking(self) -> int:
        """Return the bytes that the machine lacks for all that is loading."""
        return self._workers.watch.lacks(self._scheduler.residency.loading_bytes)

    # ── the memory watch ──────────────────────────────────────────────────────────────────────

    def watched(self) -> list[tuple[str, int, int]]:
        """Return who answers or loads: name, process, and bytes in the books."""
        pid_of = self._workers.pid
        rows = [
            (name, pid_of(name), booked) for name, booked in self._scheduler.residency.watched()
        ]
        return [(name, pid, booked) for name, pid, booked in rows if pid is not None]

    def on_growth(self, expert: str, held_bytes: int) -> None:
        """A worker grew while it answers or loads."""
        self.perform(self._scheduler.on_memory(Growth(expert, held_bytes), self._loop.time()))

    def on_pressure(self) -> bool:
        """The machine is short of memory; tell whether anybody goes."""
        effects = self._scheduler.on_memory(Short(), self._loop.time())
        self.perform(effects)
        return any(isinstance(effect, Unload) for effect in effects)
