"""The power side of the daemon: reads the meters while something runs, keeps the energy books.

Where the board has neither a meter nor a model there is nothing to read, and nothing is. With one,
samples are taken while a request runs and for a moment after, and rarely in between, so that an
idle daemon stays asleep.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.board import BoardProfile
from aiosd.domain.energy import CpuInterval, EnergyFigure, EnergyTotals
from aiosd.domain.power import BatteryReading, EnergySource, HeatReading, NoSample, PowerSample
from aiosd.policy.energy import EnergyBooks
from aiosd.policy.power import PowerGovernor
from aiosd.policy.power_rules import PowerRules
from aiosd.sensors.battery import BatteryGauge
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.heat import Thermometer
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.meter import NoMeter, open_meter
from aiosd.sensors.process_time import read_cpu_seconds
from aiosd.sensors.throttle import ThrottleGauge

log = logging.getLogger(__name__)

# While requests run: often enough for ten samples in a second; a slow instrument is read less.
BUSY_SECONDS = 0.1
READ_SHARE = 0.02
# After the last request the board needs a moment to fall back to its idle.
LINGER_SECONDS = 2.0
# Between requests, for the idle baseline of a real instrument.
IDLE_SECONDS = 30.0
# The watts that people are shown are a mean over so long.
SHOWN_SECONDS = 1.0
# How often the governor is asked while it has a cap to hold.
DECIDE_SECONDS = 0.5
# Two samples closer together than this say nothing more than one.
FRESH_SECONDS = 0.02

COUNTERS = {
    EnergySource.RAPL_PACKAGE,
    EnergySource.CALIBRATED_MODEL,
    EnergySource.DEFAULT_MODEL,
}
MODELS = {EnergySource.CALIBRATED_MODEL, EnergySource.DEFAULT_MODEL, EnergySource.NONE}

Pids = Callable[[], Iterable[tuple[str, int]]]


class Telemetry:
    """Samples power and CPU time, and answers what a request cost."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        root: Path,
        profile: BoardProfile,
        calibration: Path,
        pids: Pids,
    ) -> None:
        """Open what the board has below `root`; `pids` names the experts' workers."""
        self._loop = loop
        self._pids = pids
        self._profile = profile
        self._on_allowance: Callable[[Allowance], None] = lambda _allowance: None
        self._throttle = ThrottleGauge(root)
        self._asked = 0.0
        self.allowance: Allowance | None = None
        self.meter = open_meter(
            profile.power, root, board=profile.name, calibration=calibration, clock=loop.time
        )
        self._counts = self.meter.source in COUNTERS
        self.books = EnergyBooks(self.meter.source, self.meter.scope, profile.power.idle_watts)
        self.governor = PowerGovernor(PowerRules.of(profile))
        self._cpu: CpuGauge | None = None
        if not isinstance(self.meter, NoMeter):
            try:
                self._cpu = CpuGauge(root)
            except SensorError as error:
                log.warning("no joules: %s", error)
        self._heat = Thermometer(root, [zone.type for zone in profile.heat.zones])
        self._battery = BatteryGauge(root)
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[int] = set()
        self._busy_until = 0.0
        self._at = 0.0
        self._busy_total: float | None = None
        self._spent: dict[str, tuple[int, float]] = {}
        self.watts: float | None = None
        self.silence = ""

    def cap(
        self,
        watts: float,
        joules_per_hour: float,
        threads: int,
        on_allowance: Callable[[Allowance], None],
    ) -> None:
        """Hold the board to a cap (0: none); `on_allowance` hears what follows from it."""
        rules = PowerRules.of(self._profile, watts or None)
        bucket = joules_per_hour or None
        self.governor.on_rules(dataclasses.replace(rules, bucket_joules=bucket, threads=threads))
        self._on_allowance = on_allowance
        if not self.capped:
            self.allowance = None
        elif self.enabled:
            self._decide()
        else:
            log.warning("the power cap cannot be held: this board has neither meter nor model")

    @property
    def capped(self) -> bool:
        """Whether the owner has set a cap."""
        rules = self.governor.rules
        return rules.cap_watts is not None or rules.bucket_joules is not None

    @property
    def frugal(self) -> bool:
        """Whether a request that may go to several experts goes to the one that takes least."""
        return self.allowance is not None and self.allowance.prefer_smaller

    def predict(self, expert: str) -> float | None:
        """Return the joules that a request is expected to add to the idle; None: nobody knows."""
        predicted = self.books.predict(expert)
        return predicted.joules if predicted else None

    def admit(self, request: int, expert: str, *, background: bool) -> None:
        """Draw a request's predicted joules.

        Raises:
            OverPowerError: it may not run now.
        """
        if not (self.capped and self.enabled):
            return
        self._decide()
        if self.allowance is not None and self.allowance.admit is not Admission.NOW:
            raise self.governor.refusal()
        joules = self.predict(expert)
        draw = self.governor.draw(request, joules, self._loop.time(), background=background)
        if draw.admit is not Admission.NOW:
            raise self.governor.refusal(draw)

    @property
    def enabled(self) -> bool:
        """Whether there is any figure of power on this board."""
        return self._cpu is not None

    def start(self) -> None:
        """Take the first sample, and go on with the slow ones if there is a real instrument."""
        if self.enabled:
            self._read()
            self._schedule()

    def started(self, request: int, expert: str, client: str) -> None:
        """Take note that a worker begins to answer a request."""
        if not self.enabled:
            return
        if self._loop.time() - self._at > self._stale_seconds():
            self._read()
        self._running.add(request)
        self.books.on_started(request, expert, client, self._loop.time())
        self._schedule()

    def ended(
        self, request: int, cpu_seconds: float | None = None, units: float = 0.0
    ) -> EnergyFigure | None:
        """Take note that it is answered, and return what it cost; None where nobody knows."""
        if request not in self._running:
            return None
        self._running.discard(request)
        now = self._loop.time()
        if self._counts and now - self._at > FRESH_SECONDS:
            self._read()
        self._busy_until = now + LINGER_SECONDS
        figure = self.books.on_ended(request, self._loop.time(), cpu_seconds, units)
        if self.capped:
            self.governor.reconcile(request, figure.marginal_joules if figure else None)
        return figure

    def totals(self) -> EnergyTotals:
        """Return where all joules went, up to this moment."""
        if self.enabled and self._loop.time() - self._at > FRESH_SECONDS:
            self._read()
        return self.books.totals()

    def heat(self) -> tuple[HeatReading, ...]:
        """Read the thermal zones."""
        return self._heat.read()

    def battery(self) -> BatteryReading | None:
        """Read the battery; None on a board without one."""
        return self._battery.read(self._loop.time())

    def close(self) -> None:
        """Stop, and let go of all files."""
        if self._timer is not None:
            self._timer.cancel()
        self.meter.close()
        self._heat.close()
        if self._cpu is not None:
            self._cpu.close()

    def _stale_seconds(self) -> float:
        """Return how old a reading may be when a request begins.

        A counter may be read at any moment. A meter of watts is read by the clock alone while
        requests run: read at their ends, where the load changes, it would err by 1 to 15 %.
        """
        return FRESH_SECONDS if self._counts else 2 * self._busy_wait()

    def _busy_wait(self) -> float:
        """Return the seconds between two readings while requests run."""
        return max(BUSY_SECONDS, self.meter.read_seconds / READ_SHARE)

    # ── sampling ──────────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        self._timer = None
        self._read()
        self._schedule()

    def _schedule(self) -> None:
        """Set the timer for the next sample, if there is to be one."""
        now = self._loop.time()
        if self._running or now < self._busy_until:
            wait = self._busy_wait()
        elif self.meter.source not in MODELS:
            wait = IDLE_SECONDS
        else:
            return
        due = now + wait
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _read(self) -> None:
        """Read the meter and everybody's CPU time at one moment, into the books."""
        if self._cpu is None:
            return
        now = self._loop.time()
        sample = self.meter.sample(now)
        self.silence = sample.reason if isinstance(sample, NoSample) else ""
        if isinstance(sample, PowerSample) and self.watts is None:
            self.watts = sample.watts
        try:
            busy = sum(seconds for _, seconds in self._cpu.read(now).busy_seconds)
        except SensorError as error:
            self.silence = str(error)
            busy = self._busy_total or 0.0
        self.books.on_sample(sample)
        if self._busy_total is not None and now > self._at:
            experts = self._worker_seconds()
            mine = sum(seconds for _, seconds in experts)
            other = max(0.0, busy - self._busy_total - mine)
            self.books.on_cpu(CpuInterval(self._at, now, experts, other))
        else:
            self._worker_seconds()
        self._busy_total, self._at = busy, now
        for metered in self.books.take_metered():
            span = metered.interval.end - metered.interval.start
            if metered.joules is not None and span > 0:
                self._show(metered.joules / span, span)
            self.governor.on_interval(metered)
        self.governor.on_idle(self.books.idle_watts)
        if self.capped and now - self._asked >= DECIDE_SECONDS:
            self._decide()

    def _show(self, watts: float, seconds: float) -> None:
        """Keep the watts that people are shown: a mean over the last second or so."""
        if self.watts is None:
            self.watts = watts
        self.watts += (watts - self.watts) * min(1.0, seconds / SHOWN_SECONDS)

    def _decide(self) -> None:
        """Ask the governor what is allowed now, and pass it on."""
        now = self._loop.time()
        if self.allowance is not None and now - self._asked < DECIDE_SECONDS:
            return
        self._asked = now
        self.governor.on_heat(self._heat.read())
        bits = self._throttle.read()
        if bits is not None:
            self.governor.on_throttle(bits, now)
        self.governor.on_battery(self._battery.read(now), now)
        self.allowance = self.governor.allowance(now)
        self._on_allowance(self.allowance)

    def _worker_seconds(self) -> tuple[tuple[str, float], ...]:
        """Return the CPU seconds of each worker since the last call."""
        news: dict[str, tuple[int, float]] = {}
        spent: list[tuple[str, float]] = []
        for expert, pid in self._pids():
            seconds = read_cpu_seconds(pid)
            if seconds is None:
                continue
            before = self._spent.get(expert)
            base = before[1] if before is not None and before[0] == pid else 0.0
            news[expert] = (pid, seconds)
            spent.append((expert, max(0.0, seconds - base)))
        self._spent = news
        return tuple(spent)
