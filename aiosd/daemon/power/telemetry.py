"""The power side of the daemon: reads the meters while something runs, keeps the energy books.

Where the board has neither a meter nor a model there is nothing to read, and nothing is. With one,
samples are taken while a request runs and for a moment after, and rarely in between, so that an
idle daemon stays asleep.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path

from aiosd.daemon.power.instrument import (
    ModeWatch,
    coefficients_of,
    meter_identity,
    open_board_meter,
    open_books,
    slower_clock_saves,
)
from aiosd.daemon.workers.worker_times import Pids, WorkerTimes
from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.board import BoardProfile
from aiosd.domain.energy import CpuInterval, EnergyFigure, EnergyTotals
from aiosd.domain.power import BatteryReading, EnergySource, HeatReading, NoSample, PowerSample
from aiosd.domain.request import Priority
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.power.power_rules import PowerRules
from aiosd.policy.power.purse import JoulePurse
from aiosd.sensors.battery import BatteryGauge
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.heat import Thermometer
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.meter import NoMeter, OpenMeter
from aiosd.sensors.throttle import ThrottleGauge

log = logging.getLogger(__name__)

# While requests run: often enough for ten samples in a second; a slow instrument is read less.
BUSY_SECONDS = 0.1
READ_SHARE = 0.02
# Looking may take this part of a core; on a slow board it looks less often. What each request takes
# comes on top, and both together stay under half a percent.
OWN_SHARE = 0.002
_COST_WEIGHT = 0.1
# After the last request the board needs a moment to fall back to its idle.
LINGER_SECONDS = 2.0
# Between requests, for the idle baseline of a real instrument.
IDLE_SECONDS = 30.0
# The watts that people are shown are a mean over so long.
SHOWN_SECONDS = 1.0
# How often the governor is asked while it has a cap to hold.
DECIDE_SECONDS = 0.5
# How often it is asked while only work that nobody waits for waits for it.
SURPLUS_SECONDS = 5.0
# Two samples closer together than this say nothing more than one.
FRESH_SECONDS = 0.02

COUNTERS = {
    EnergySource.RAPL_PACKAGE,
    EnergySource.CALIBRATED_MODEL,
    EnergySource.DEFAULT_MODEL,
}
MODELS = {EnergySource.CALIBRATED_MODEL, EnergySource.DEFAULT_MODEL, EnergySource.NONE}

OnAllowance = Callable[[Allowance | None], None]


class Telemetry:
    """Samples power and CPU time, and answers what a request cost."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        root: Path,
        profile: BoardProfile,
        calibration: Path,
        pids: Pids,
        *,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        """Open what the board has below `root`; `pids` names the experts' workers.

        `spent` is the CPU time of this thread in seconds.
        """
        self._spent_here, self._cost = spent, 0.0
        self._loop = loop
        self.root, self.calibration = root, calibration
        self._workers = WorkerTimes(pids)
        self._profile = profile
        self._on_allowance: OnAllowance = lambda _allowance: None
        self._awaits: Callable[[], Priority | None] = lambda: None
        self._throttle = ThrottleGauge(root)
        self.allowance: Allowance | None = None
        self.capped = self._refusing = False
        self._mode = ModeWatch(profile, root)
        self._cpu: CpuGauge | None = None
        # Told of every answered request, and of every decision, changed or not.
        self.on_news: Callable[[], None] = lambda: None
        self.on_decided: Callable[[Allowance], None] = lambda _allowance: None
        self.meter = self._open()
        self.governor = PowerGovernor(PowerRules.of(profile, None, self.meter.scope))
        self.purse = JoulePurse(self.predict, self.governor)
        self._heat = Thermometer(root, [zone.type for zone in profile.heat.zones])
        self._battery = BatteryGauge(root)
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[int] = set()
        self._busy_until = self._at = self._asked = 0.0
        self._busy_total: float | None = None
        self.watts: float | None = None
        self.silence = ""

    def _open(self) -> OpenMeter | NoMeter:
        """Open the best meter there is now, and books of it."""
        self._coefficients = coefficients_of(self.calibration)
        meter = open_board_meter(self._profile, self.root, self.calibration, self._loop.time)
        self._counts = meter.source in COUNTERS
        self.books = open_books(self._profile, meter)
        if self._cpu is None and not isinstance(meter, NoMeter):
            try:
                self._cpu = CpuGauge(self.root, clocks=False)
            except SensorError as error:
                log.warning("no joules: %s", error)
        return meter

    def recalibrate(self) -> bool:
        """Use a calibration that came, changed or went, in place of the model; True if so.

        The books begin anew, since joules of another model do not add up with these; requests
        that run meanwhile get no figure. An instrument stays as it is.
        """
        if (
            self.meter.source not in MODELS
            or coefficients_of(self.calibration) == self._coefficients
        ):
            return False
        self.meter.close()
        for request in self._running:
            self.governor.reconcile(request, None)
        self._running.clear()
        self.meter = self._open()
        self.watts, self._busy_total = None, None
        self._mode = ModeWatch(self._profile, self.root)
        log.info("joules come from %s now", self.meter.name)
        return True

    @property
    def identity(self) -> tuple[str, str]:
        """The board, and the meter with all that its figures depend on."""
        return self._profile.name, meter_identity(self.meter, self._coefficients)

    def slower_clock_saves(self) -> bool:
        """Whether work at a lower clock takes less: as the profile says, or a calibration found."""
        return slower_clock_saves(self._profile, self.meter, self.calibration)

    def cap(
        self, watts: float, joules_per_hour: float, threads: int, patience_seconds: float
    ) -> None:
        """Hold the board to a cap (0: none), for so many threads of all workers.

        Requests wait for power up to `patience_seconds`.
        """
        self.capped = bool(watts or joules_per_hour)
        rules = dataclasses.replace(
            PowerRules.of(self._profile, watts or None, self.meter.scope),
            bucket_joules=joules_per_hour or None,
            threads=threads,
            patience_seconds=patience_seconds,
            lasting=self.capped,
        )
        self.governor.on_rules(rules)
        if not self.capped:
            self.allowance = None
            self._on_allowance(None)
        if self.enabled:
            self._decide()
        elif self.capped:
            log.warning("the power cap cannot be held: this board has neither meter nor model")

    def listen(self, on_allowance: OnAllowance, awaits: Callable[[], Priority | None]) -> None:
        """Tell `on_allowance` what is allowed, whenever that changes; None: there is no cap.

        `awaits` names the most urgent priority of those who wait for power, None while nobody does.
        """
        self._on_allowance, self._awaits = on_allowance, awaits

    @property
    def frugal(self) -> bool:
        """Whether a request that may go to several experts goes to the one that takes least."""
        return self.allowance is not None and self.allowance.prefer_smaller

    def predict(self, expert: str) -> float | None:
        """Return the joules that a request is expected to add to the idle; None: nobody knows."""
        predicted = self.books.predict(expert)
        return predicted.joules if predicted else None

    def admit(self, expert: str, *, background: bool) -> None:
        """Let a request wait for its turn; nothing is drawn before it begins.

        Raises:
            OverPowerError: waiting is of no use, or is over.
        """
        if self.allowance is None:
            return
        self._decide_if_due()
        self._wake_in(DECIDE_SECONDS)
        if background:
            return
        if self._refusing:
            raise self.governor.refusal()
        draw = self.governor.ask(self.predict(expert), self._loop.time())
        wait = draw.retry_after_seconds or 0.0
        if draw.admit is Admission.REFUSE or wait > self.governor.rules.patience_seconds:
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
        self.on_news()
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
        own = self._cost / OWN_SHARE
        return max(BUSY_SECONDS, self.meter.read_seconds / READ_SHARE, min(own, 1.0))

    # ── sampling ──────────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        self._timer = None
        begun = self._spent_here()
        self._read()
        self._cost += (self._spent_here() - begun - self._cost) * _COST_WEIGHT
        self._schedule()

    def _schedule(self) -> None:
        """Set the timer for the next sample, if there is to be one."""
        now = self._loop.time()
        wait: float | None
        if self._running or now < self._busy_until:
            wait = self._busy_wait()
        elif self.meter.source not in MODELS:
            wait = IDLE_SECONDS
        else:
            wait = None
        for_power = self._power_wait()
        if for_power is not None:
            wait = for_power if wait is None else min(wait, for_power)
        if wait is not None:
            self._wake_in(wait)

    def _power_wait(self) -> float | None:
        """Return how soon those who wait for power want to hear of it; None: nobody does."""
        if self.allowance is None:
            return None
        match self._awaits():
            case None:
                return None
            case Priority.BACKGROUND:
                return SURPLUS_SECONDS
            case _:
                return DECIDE_SECONDS

    def _wake_in(self, seconds: float) -> None:
        """Take the next sample after so long, or sooner if that was planned."""
        due = self._loop.time() + seconds
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
        self._mode.note(now, self.books)
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
            experts = self._workers.since_last()
            mine = sum(seconds for _, seconds in experts)
            other = max(0.0, busy - self._busy_total - mine)
            self.books.on_cpu(CpuInterval(self._at, now, experts, other))
        else:
            self._workers.since_last()
        self._busy_total, self._at = busy, now
        for metered in self.books.take_metered():
            span = metered.interval.end - metered.interval.start
            if metered.joules is not None and span > 0:
                self._show(metered.joules / span, span)
            self.governor.on_interval(metered)
        self.governor.on_idle(self.books.idle_watts)
        self._decide_if_due()

    def _show(self, watts: float, seconds: float) -> None:
        """Keep the watts that people are shown: a mean over the last second or so."""
        if self.watts is None:
            self.watts = watts
        self.watts += (watts - self.watts) * min(1.0, seconds / SHOWN_SECONDS)

    def _decide_if_due(self) -> None:
        """Decide anew, if the last decision is old."""
        if self._loop.time() - self._asked >= DECIDE_SECONDS:
            self._decide()

    def _decide(self) -> None:
        """Ask the governor what is allowed now, and pass it on.

        Heat and a weak supply count without an owner's cap too; while nothing is short there is
        then no allowance at all.
        """
        self._asked = now = self._loop.time()
        self.governor.on_heat(self._heat.read())
        bits = self._throttle.read()
        if bits is not None:
            self.governor.on_throttle(bits, now)
        self.governor.on_battery(self._battery.read(now), now)
        allowance = self.governor.allowance(now)
        told = allowance if self.capped or allowance.why else None
        if told != self.allowance:
            self.allowance = told
            self._refusing = told is not None and told.admit is Admission.REFUSE
            self._on_allowance(told)
        self.on_decided(allowance)
