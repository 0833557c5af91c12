"""Brings the owner's power caps to the governor, and what that allows to the scheduler."""

import asyncio

from aiosd.daemon.broker import Broker
from aiosd.daemon.power.levers import ClockKeeper
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.daemon.settings import Settings
from aiosd.daemon.workers.control_groups import ControlGroups
from aiosd.domain.allowance import Admission, Allowance


class PowerCaps:
    """Between telemetry, which decides what may be used, and everybody who must keep to it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        telemetry: Telemetry,
        clocks: ClockKeeper,
        groups: ControlGroups,
    ) -> None:
        """Listen to `telemetry`; nothing is capped yet."""
        self._loop = loop
        self._broker = broker
        self._telemetry = telemetry
        self._clocks = clocks
        self._groups = groups
        self._threads = 1
        self.cap_watts = 0.0
        telemetry.listen(self._on_allowance, broker.scheduler.turns.awaits_power)

    def cap(self, settings: Settings, threads: int) -> None:
        """Hold the board to the owner's caps; all workers may use so many threads without one."""
        power, self._threads = settings.power, threads
        self.cap_watts = power.cap_watts
        self._clocks.saves = self._telemetry.slower_clock_saves()
        if not (power.cap_watts or power.joules_per_hour):
            self._clocks.on_duty(None)
        self._telemetry.cap(
            power.cap_watts, power.joules_per_hour, threads, settings.queue.power_seconds
        )
        bucket = power.joules_per_hour and self._telemetry.enabled
        self._broker.scheduler.turns.pay_from(self._telemetry.purse if bucket else None)

    def _on_allowance(self, allowance: Allowance | None) -> None:
        """Not at once: it may have been decided in the midst of the broker's work."""
        self._loop.call_soon(self._allow, allowance)

    def _allow(self, allowance: Allowance | None) -> None:
        """Let the scheduler act on what the power governor allows."""
        refused = allowance is not None and allowance.admit is Admission.REFUSE
        error = self._telemetry.governor.refusal() if refused else None
        now, scheduler = self._loop.time(), self._broker.scheduler
        scheduler.turns.paced = not self._quota(allowance)
        self._broker.perform(scheduler.on_power(allowance, error, now))

    def _quota(self, allowance: Allowance | None) -> bool:
        """Have the kernel keep all workers to the cores that a cap pays for, if it can."""
        if self._groups.simulated or not self._groups.has_quota:
            return False
        if allowance is None or (allowance.duty >= 1.0 and allowance.threads >= self._threads):
            return self._groups.quota(None)
        return self._groups.quota(allowance.threads * allowance.duty)
