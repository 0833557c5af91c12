"""The daemon's composition root: settings → parts → one event loop, until SIGTERM."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sdnotify

from aiosd.daemon.broker import Broker
from aiosd.daemon.cascade import Cascade
from aiosd.daemon.control import ADMIN, Control
from aiosd.daemon.facts import Facts
from aiosd.daemon.fitting import Fitting
from aiosd.daemon.inventory import Change, Inventory, LoadRules
from aiosd.daemon.notify import Notify
from aiosd.daemon.power.energy_keeper import EnergyKeeper
from aiosd.daemon.power.levers import ClockKeeper, PowerHelper
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.daemon.power_caps import PowerCaps
from aiosd.daemon.recall import Recall
from aiosd.daemon.releases.late import LateRollouts
from aiosd.daemon.settings import read_settings
from aiosd.daemon.stock import Stock
from aiosd.daemon.surroundings import look_around, make_state_folder
from aiosd.daemon.views import Views
from aiosd.daemon.wire.events import Events
from aiosd.daemon.wire.frontend import Frontend
from aiosd.daemon.wire.sockets import Sockets, passed_sockets
from aiosd.daemon.workers.control_groups import ControlGroups
from aiosd.daemon.workers.crew import Workers
from aiosd.daemon.workers.hosts import Hosts
from aiosd.daemon.workers.memory_watch import MemoryWatch
from aiosd.domain.errors import ConfigError
from aiosd.policy.memory.governor import SPARE_SHARE, Ledger
from aiosd.policy.routing.head import Head
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.store.footprints import Footprints
from aiosd.store.heads import Heads

if TYPE_CHECKING:
    from aiosd.daemon.releases.rollouts import Rollouts
    from aiosd.daemon.way_up.upward import Upward

log = logging.getLogger(__name__)

# How long a host or worker may take to end once its pipe is closed.
CHILD_SECONDS = 2.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    config: Path
    config_given: bool


class Daemon:
    """Everything that runs, and how it starts, reloads and stops."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: Options, environment: Mapping[str, str]
    ) -> None:
        """Read settings and packages, bind the sockets.

        Raises:
            ConfigError: a setting is wrong.
            TakenError: another daemon serves the sockets.
        """
        self._loop = loop
        self._options = options
        self._settings = read_settings(options.config, must_exist=options.config_given)
        logging.getLogger("aiosd").setLevel(self._settings.log.level.upper())
        self._around = look_around(self._settings)
        settings = self._settings
        # Paths and hosts stay as they are until a restart, whatever a reload reads.
        self._resident = self._around.resident
        self._layout = layout = settings.layout()
        self._started = time.time()
        self._stopping = asyncio.Event()
        self._notify = Notify(loop, environment, sdnotify.SystemdNotifier())
        self._sockets = Sockets(
            layout, passed_sockets(environment, os.getpid()), int(settings.sockets.mode, 8)
        )
        make_state_folder(layout.state)
        self._recall = Recall(loop, Footprints(layout.footprints), self._around.board)
        self._inventory = Inventory(
            layout, self._around.machine, self._load_rules(), self._recall.find
        )
        self._inventory.aside = partial(loop.run_in_executor, None)
        self._open(environment)
        self._environment = environment
        self._rollouts = LateRollouts(self._make_rollouts, settings)
        self._control.on_releases = self._rollouts.on_verb
        self._upward: Upward | None = None
        self._reach_up()

    def _open(self, environment: Mapping[str, str]) -> None:
        """Bind the sockets and put the parts together."""
        loop, settings = self._loop, self._settings
        limits, unread = self._around.limits(), settings.wire.unread_messages
        group, admins = settings.sockets.group, settings.sockets.admin_group
        self._frontends = [
            Frontend(loop, self._sockets.open(name, who), name, limits, unread)
            for name, who in (("api", group), (ADMIN, admins))
        ]
        self._events = Events(loop, self._sockets.open("events", group))
        ledger = Ledger(self._around.cap.cap_bytes, SPARE_SHARE)
        self._hosts = (
            Hosts(loop, environment, self._events.publish, ledger.set_host, ledger.set_common)
            if self._resident
            else None
        )
        root = Path(settings.board.sysroot)
        self._groups = ControlGroups(root, wanted=settings.ram.groups == "auto")
        self._watch = MemoryWatch(loop, root, forked=self._resident)
        self._workers = Workers(loop, self._hosts, environment, self._groups, self._watch)
        self.scheduler = Scheduler(ledger, self._around.scheduler_rules())
        self._telemetry = Telemetry(
            loop,
            root,
            self._around.picked.profile,
            self._layout.calibration,
            self._workers.pids,
        )
        self._energy_keeper = EnergyKeeper(
            loop, self._layout.energy, self._telemetry, self._inventory.packages
        )
        self._helper = PowerHelper(loop, self._layout.powerd_socket)
        self._helper.enable(wanted=settings.power.helper)
        self._clocks = ClockKeeper(loop, self._helper)
        self._telemetry.on_decided = lambda allowance: self._clocks.on_duty(allowance.duty)
        self._recall.watch(self.scheduler.slots)
        self._broker = Broker(
            loop, self.scheduler, self._inventory, self._workers, self._events, self._telemetry
        )
        self._watch.listen(self._broker.loader)
        self._broker.recall = self._recall
        self._power = PowerCaps(loop, self._broker, self._telemetry, self._clocks, self._groups)
        self._open_control()
        self._open_routing(environment)

    def _open_control(self) -> None:
        """Put together who answers everything that is not a request."""
        views = Views(self._loop, self._broker, self._inventory, self._workers, self._hosts)
        views.telemetry, views.clocks = self._telemetry, self._clocks
        views.energy_since = lambda: self._energy_keeper.since
        self._control = Control(self._loop, self._broker, self._inventory, views)
        self._control.helper, self._control.clocks = self._helper, self._clocks

    def _open_routing(self, environment: Mapping[str, str]) -> None:
        """Take up what the router has learned; the rest is learned when packages are known."""
        self._control.on_reload = self.reload
        self._broker.routing.open(self._layout.success)
        self._cascade = Cascade(self._loop, self._broker, self._inventory)
        self._heads = Heads(self._layout.heads)
        self._fitting = Fitting(self._loop, environment, self._heads, self._on_head)
        self._stock = Stock(
            self._loop, self._broker, self._inventory, self._telemetry, self._fitting
        )
        self._stock.on_change = self._climb

    def _reach_up(self) -> None:
        """Open the way up, or close it, as the owner says; who wants none does not import it."""
        if self._upward is None:
            if not self._settings.uplink.on:
                return
            from aiosd.daemon.way_up.upward import Upward  # noqa: PLC0415 - see above

            self._upward = Upward(
                self._loop, self._cascade, self._control, self._inventory, self._events
            )
        self._upward.apply(self._settings, self._environment, self._options.config)

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        for number, act in (
            (signal.SIGTERM, self._stopping.set),
            (signal.SIGINT, self._stopping.set),
            (signal.SIGHUP, self._on_hangup),
        ):
            self._loop.add_signal_handler(number, act)
        if self._layout.ledger.exists():
            self._rollouts.begin()
        self._take_stock()
        self._tell_facts()
        self._energy_keeper.restore()
        for frontend in self._frontends:
            frontend.listen(self._control.on_message, self._control.on_gone)
        self._notify.ready(self._status())
        log.info("ready: %s", self._status())
        # What is there now stays: the collector need not look through it again and again.
        gc.freeze()
        self._loop.call_soon(self._start_hosts)
        self._loop.call_soon(self._telemetry.start)
        self._loop.call_soon(self._cap_power)
        async with asyncio.TaskGroup() as tasks:
            self._rollouts.start(tasks)
            await self._stopping.wait()
            await self._stop()

    def reload(self) -> Change:
        """Read settings and packages again; requests go on.

        Paths, sockets and engine hosts stay as they are until a restart.

        Raises:
            ConfigError: the settings are wrong; nothing has changed then.
        """
        settings = read_settings(self._options.config, must_exist=self._options.config_given)
        around = look_around(settings)
        self._settings, self._around = settings, around
        self._rollouts.apply(settings)
        logging.getLogger("aiosd").setLevel(settings.log.level.upper())
        now = self._loop.time()
        rules = around.scheduler_rules()
        self._broker.perform(self.scheduler.on_rules(rules, around.cap.cap_bytes, now))
        for frontend in self._frontends:
            frontend.limit(around.limits())
        change = self._take_stock()
        self._reach_up()
        self._tell_facts()
        if self._telemetry.recalibrate():
            self._energy_keeper.begin()
            self._telemetry.start()
        self._cap_power()
        log.info("reloaded: %s", self._status())
        return change

    def _cap_power(self) -> None:
        """Hold the board to the owner's caps."""
        self._helper.enable(wanted=self._settings.power.helper)
        self._power.cap(self._settings, self._around.threads)

    def _on_hangup(self) -> None:
        """SIGHUP: reload, or keep what we have and say why."""
        self._notify.reloading()
        try:
            self.reload()
        except ConfigError as error:
            log.error("not reloaded: %s", error)  # noqa: TRY400 - a wrong file needs no traceback
        self._notify.ready(self._status())

    def _take_stock(self) -> Change:
        """Scan the packages and tell everybody what changed."""
        return self._stock.take(self._settings, self._load_rules())

    def _climb(self) -> None:
        """Let answers be looked at from the first package on whose answers can be in doubt."""
        if self._inventory.climbs and self._control.asks is self._broker:
            self._control.asks = self._cascade

    def _make_rollouts(self) -> "Rollouts":
        """Put together what drives the releases that come by updates."""
        from aiosd.daemon.releases.rollouts import Board, make_rollouts  # noqa: PLC0415 - see there

        board = Board(
            self._heads,
            self._environment,
            lambda: self._power.cap_watts,
            self._telemetry.predict,
            self._workers.held_now,
        )
        made = make_rollouts(
            self._loop, self._broker, self._inventory, self._events, (self._layout, board)
        )
        made.swap.renew, made.swap.rescan = self._stock.renew, self._take_stock
        made.swap.end = self._workers.kill
        return made

    def _on_head(self, head: Head | None, learning: bool) -> None:  # noqa: FBT001 - a callback
        """Route texts by this head from now on."""
        self._broker.routing.head, self._broker.routing.learning = head, learning

    def _start_hosts(self) -> None:
        """Start the hosts of the engines that installed experts use, after READY."""
        if self._hosts is None or not self._settings.engines.start_hosts:
            return
        experts = self._inventory.catalogue.experts.values()
        for engine in sorted({each.manifest.engine.name for each in experts}):
            try:
                self._hosts.start(engine)
            except OSError as error:
                log.error("host %s cannot be started: %s", engine, error)  # noqa: TRY400

    async def _stop(self) -> None:
        """Refuse what is new, let what is there end within the limit, then close everything."""
        log.info("stopping: %d requests waiting", self.scheduler.queued)
        self._notify.stopping()
        await self._rollouts.close()
        self._events.publish("daemon.stopping", {"queue": self.scheduler.queued})
        self.scheduler.on_stop()
        if self._upward is not None:
            self._upward.on_stop()
        self._broker.perform([])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained(), self._settings.stop.drain_seconds)
        self._broker.perform(self.scheduler.on_give_up(self._loop.time()))
        if self._upward is not None:
            self._upward.close(CHILD_SECONDS)
        self._fitting.close()
        self._broker.routing.save()
        self._workers.close(CHILD_SECONDS)
        if self._hosts is not None:
            self._hosts.stop(CHILD_SECONDS)
        for frontend in self._frontends:
            frontend.close(linger_seconds=0.5)
        self._recall.close()
        self._events.close()
        await self._energy_keeper.close()
        self._watch.close()
        self._groups.shut()
        self._telemetry.close()
        self._helper.close()
        self._sockets.close()

    async def _drained(self) -> None:
        """Wait until every request has ended."""
        await self._broker.drained.wait()
        if self._upward is not None:
            await self._upward.drained.wait()

    def _load_rules(self) -> LoadRules:
        return self._around.load_rules(resident=self._resident)

    def _tell_facts(self) -> None:
        picked, cap = self._around.picked, self._around.cap
        self._control.views.facts = Facts(
            board=picked.profile.name,
            profile_reason=picked.reason,
            cap_reason=cap.reason,
            config_path=str(self._options.config.absolute()),
            experts_folders=tuple(str(each.absolute()) for each in self._layout.experts),
            state_folder=str(self._layout.state.absolute()),
            started=self._started,
        )

    def _status(self) -> str:
        ledger = self.scheduler.ledger
        loaded = sum(slot.loaded for slot in self.scheduler.slots.values())
        return (
            f"{len(self.scheduler.slots)} experts, {loaded} loaded, "
            f"{ledger.used_bytes >> 20} of {ledger.cap_bytes >> 20} MiB"
        )
