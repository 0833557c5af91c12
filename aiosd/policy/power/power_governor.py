"""The power governor: readings in, an allowance out.

The cap (`watt_cap`) is the owner's, moved by heat, supply and battery; the pace says how many busy
cores it pays for; the ladder turns these into threads, duty and admission; the bucket bounds the
joules of an hour or a day. With a meter the pace corrects itself; with none it trusts the profile.
"""

from collections.abc import Iterable

from aiosd.domain.allowance import Admission, Allowance, Draw
from aiosd.domain.energy import MeteredInterval
from aiosd.domain.errors import OverPowerError
from aiosd.domain.power import BatteryReading, HeatReading, ThrottleBits
from aiosd.policy.power.joule_bucket import JouleBucket
from aiosd.policy.power.ladder import Ladder, Rungs
from aiosd.policy.power.pace import Pace
from aiosd.policy.power.power_rules import PowerRules
from aiosd.policy.power.watt_cap import Cap, WattCap

# Work that nobody waits for leaves this part of the cap free, and waits for so long a calm.
_SURPLUS_SHARE = 0.7
_AVERAGE_SECONDS = 10.0
_BATTERY_WATTS_SECONDS = 300.0


class PowerGovernor:
    """The one owner of the power policy's state."""

    def __init__(self, rules: PowerRules) -> None:
        """Start with what the profile says of idle and load."""
        self.rules = rules
        self._cap = WattCap(rules)
        self._idle = rules.idle_watts
        self._pace = Pace(rules.window_seconds, _core_watts(rules))
        self._ladder = Ladder(rules.threads, rules.patience_seconds)
        self._bucket = JouleBucket(rules.bucket_joules, rules.bucket_seconds)
        self._average: float | None = None
        self._slow: float | None = None
        self._last: Allowance | None = None

    # ── readings ──────────────────────────────────────────────────────────────────────────────

    def on_rules(self, rules: PowerRules) -> None:
        """Use other rules from now on; what was learnt of the board stays."""
        if (rules.bucket_joules, rules.bucket_seconds) != (
            self._bucket.bound_joules,
            self._bucket.period_seconds,
        ):
            self._bucket = JouleBucket(rules.bucket_joules, rules.bucket_seconds)
        if (rules.threads, rules.patience_seconds) != (
            self.rules.threads,
            self.rules.patience_seconds,
        ):
            self._ladder = Ladder(rules.threads, rules.patience_seconds)
        self._pace.window_seconds = rules.window_seconds
        self._cap.on_rules(rules)
        self.rules = rules

    def on_interval(self, metered: MeteredInterval) -> None:
        """Take what the energy books settled: who was busy, and what the meter saw."""
        interval, joules = metered.interval, metered.joules
        seconds = interval.end - interval.start
        if seconds <= 0:
            return
        workers = sum(spent for _, spent in interval.experts) / seconds
        watts = None if joules is None else joules / seconds
        cores = (workers, interval.other_seconds / seconds)
        self._pace.on_interval(seconds, watts, cores, self._idle)
        if watts is None:
            return
        self._average = _follow(self._average, watts, seconds / _AVERAGE_SECONDS)
        self._slow = _follow(self._slow, watts, seconds / _BATTERY_WATTS_SECONDS)
        cap = self._cap.cap(interval.end, self._idle).watts
        if cap is None:
            self._pace.forgive()
        else:
            self._pace.on_watts(seconds, watts, cap)

    def on_idle(self, watts: float | None) -> None:
        """Take the idle power as the energy books have it; None leaves the last one."""
        if watts is not None:
            self._idle = watts

    def on_heat(self, readings: Iterable[HeatReading]) -> None:
        """Take the thermal zones."""
        self._cap.on_heat(readings)

    def on_throttle(self, bits: ThrottleBits, now: float) -> None:
        """Take what the firmware says of supply and throttling."""
        self._cap.on_throttle(bits, now)

    def on_battery(self, reading: BatteryReading | None, now: float) -> None:
        """Take the battery, None on a board without one."""
        self._cap.on_battery(reading, self._slow, now)

    # ── decisions ─────────────────────────────────────────────────────────────────────────────

    def allowance(self, now: float) -> Allowance:
        """Return what is allowed now; to be asked once a second or so while anything runs."""
        cap = self._cap.cap(now, self._idle)
        idle = self._idle or 0.0
        cores = self._cores(cap, idle)
        hopeless = cap.watts is not None and cap.watts <= idle
        rungs = self._ladder.step(cores, now, hopeless=hopeless)
        retry = None
        if rungs.admit is not Admission.NOW:
            retry = self._retry(cap, idle)
        allowance = Allowance(
            cap.watts,
            (*_steps(rungs, self.rules.threads), *cap.why),
            rungs.threads,
            rungs.duty,
            background=self._surplus(cap, rungs, now),
            prefer_smaller=rungs.prefer_smaller,
            admit=rungs.admit,
            retry_after_seconds=retry,
        )
        self._last = allowance
        return allowance

    def draw(
        self, request: int, joules: float | None, now: float, *, background: bool = False
    ) -> Draw:
        """Draw a request's predicted joules before it runs, or say when they will be there.

        A request of which nothing can be predicted draws nothing, and is counted when it is done.
        """
        return self._bucket.draw(request, max(0.0, joules or 0.0), now, background=background)

    def ask(self, joules: float | None, now: float, *, background: bool = False) -> Draw:
        """Return what `draw` would say, and take nothing."""
        return self._bucket.ask(max(0.0, joules or 0.0), now, background=background)

    def reconcile(self, request: int, joules: float | None) -> None:
        """Replace what was drawn by what was used; 0 if the request never ran."""
        self._bucket.reconcile(request, joules)

    def refusal(self, draw: Draw | None = None) -> OverPowerError:
        """Return the error for a request that may not run: by its draw, else by the allowance."""
        if draw is not None:
            message = f"the joule bucket has not enough: {draw.why}"
            return _over_power(message, draw.retry_after_seconds, {})
        last = self._last
        why = "; ".join(last.why) if last else "no power reading yet"
        cap = f"{last.cap_watts:.2f} W" if last and last.cap_watts is not None else "unknown"
        details = {"cap_watts": last.cap_watts} if last and last.cap_watts is not None else {}
        if self._idle is not None:
            details["idle_watts"] = self._idle
        retry = last.retry_after_seconds if last else None
        return _over_power(f"no work fits the power cap of {cap}: {why}", retry, details)

    # ── how it is decided ─────────────────────────────────────────────────────────────────────

    def _cores(self, cap: Cap, idle: float) -> float:
        """Return the busy cores that the cap pays for; with no watts known, a share of all."""
        most = float(self.rules.threads)
        if cap.watts is None:
            return most * cap.factor
        if cap.watts <= 0:
            return 0.0
        cores = self._pace.cores(cap.watts, idle)
        # Nothing is known of this board's watts yet: one core shows what a core takes.
        return min(1.0, most * cap.factor) if cores is None else cores

    def _retry(self, cap: Cap, idle: float) -> float:
        """Return after how many seconds a refused request is worth another try."""
        seconds = self._pace.seconds_to_pay(cap.watts, idle) if cap.watts is not None else None
        if seconds is None:
            return self.rules.patience_seconds
        return max(1.0, seconds)

    def _surplus(self, cap: Cap, rungs: Rungs, now: float) -> bool:
        """Tell whether there is power that nobody else will want."""
        if cap.short or rungs.admit is not Admission.NOW or rungs.prefer_smaller:
            return False
        if not self._bucket.surplus(now):
            return False
        calm = self._average is None or cap.watts is None
        return calm or (self._average or 0.0) <= _SURPLUS_SHARE * (cap.watts or 0.0)


def _follow(value: float | None, new: float, weight: float) -> float:
    """Return an exponential average."""
    return new if value is None else value + (new - value) * min(weight, 1.0)


def _core_watts(rules: PowerRules) -> float | None:
    """Return the profile's watts of one busy core: a straight line from idle to load."""
    if rules.idle_watts is None or rules.load_watts is None:
        return None
    return max((rules.load_watts - rules.idle_watts) / max(rules.threads, 1), 1e-3)


def _steps(rungs: Rungs, most: int) -> list[str]:
    """Say which rungs are taken."""
    steps: list[str] = []
    if rungs.admit is not Admission.NOW:
        steps.append("requests wait" if rungs.admit is Admission.WAIT else "requests are refused")
    if rungs.prefer_smaller:
        steps.append("smaller experts")
    if rungs.duty < 1.0:
        steps.append(f"duty {rungs.duty:.0%}")
    if rungs.threads < most:
        steps.append(f"{rungs.threads} of {most} threads")
    return steps


def _over_power(
    message: str, retry_after_seconds: float | None, details: dict[str, float]
) -> OverPowerError:
    """Return the typed error; without a time, trying again later is of no use."""
    if retry_after_seconds is None:
        return OverPowerError(message, **details)
    return OverPowerError(message, retry_after_seconds=round(retry_after_seconds, 3), **details)
