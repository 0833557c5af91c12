"""The daemon's power policies on a simulated board, in simulated time: meter, books, governor."""

from dataclasses import replace
from pathlib import Path

from fakes.simulated import Simulated

from aiosd.domain.allowance import Allowance
from aiosd.domain.energy import CpuInterval
from aiosd.domain.power import Scope
from aiosd.policy.energy.energy import EnergyBooks
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.power.power_rules import PowerRules
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.heat import Thermometer
from aiosd.sensors.meter import open_meter
from tools.boardsim.live import Start

STEP = 0.5


class CappedBoard:
    """A board whose one expert always wants all that it may have, once `demand` is set."""

    def __init__(self, name: str, root: Path, *, calibration: Path | None = None) -> None:
        """Hold it to 40 % of what load adds, in the meter's scope, after half a minute's idle."""
        # Heat hurries, or a board needs ten minutes to warm up.
        self.board = Simulated(name, root, Start(speed=60.0))
        self.live = self.board.live
        profile = self.board.pick().profile
        self.board.meter = self.meter = open_meter(
            profile.power,
            root,
            board=profile.name,
            calibration=calibration,
            clock=lambda: self.live.now,
        )
        self.scope = self.meter.scope
        idle, load = self.bounds()
        self.cap_watts = idle + 0.4 * (load - idle)
        rules = PowerRules.of(profile, self.cap_watts, self.scope)
        self.rules = replace(rules, threads=min(rules.threads, self.live.tree.board.shape.cores))
        self.governor = PowerGovernor(self.rules)
        self.books = EnergyBooks(self.meter.source, self.scope, self.rules.idle_watts)
        self.gauge = CpuGauge(root, clocks=False)
        self.thermometer = Thermometer(root, [zone.type for zone in profile.heat.zones])
        self.demand = False
        self.allowance: Allowance | None = None
        self.joules: list[float] = []
        self._busy = self._total()
        self.go(30.0)

    def bounds(self) -> tuple[float, float]:
        """The idle and the full load of the simulated board, in the meter's scope."""
        made = self.live.tree.board
        return tuple(  # type: ignore[return-value]
            made.convert(watts)[self.scope] for watts in made.idle_load_watts
        )

    def go(self, seconds: float) -> None:
        """Let time pass: work as it is allowed, read, settle, decide."""
        for _ in range(round(seconds / STEP)):
            cores = 0.0
            if self.demand and self.allowance is not None:
                cores = self.allowance.threads * self.allowance.duty
            start = self.live.now
            self.live.tree.set("busy", f"{cores:.4f}")
            state = self.live.tick(start + STEP)
            self.joules.append(state.joules[self.scope])
            total = self._total()
            spent, self._busy = total - self._busy, total
            self.books.on_sample(self.meter.sample(self.live.now))
            self.books.on_cpu(CpuInterval(start, self.live.now, (("llm", spent),), 0.0))
            for metered in self.books.take_metered():
                self.governor.on_interval(metered)
            self.governor.on_idle(self.books.idle_watts)
            self.governor.on_heat(self.thermometer.read())
            self.allowance = self.governor.allowance(self.live.now)

    def mean_watts(self, seconds: float) -> float:
        """The largest true mean over so many seconds of what is in `joules`."""
        steps = round(seconds / STEP)
        return max(
            (later - sooner) / seconds
            for sooner, later in zip(self.joules, self.joules[steps:], strict=False)
        )

    def warm_to(self, celsius: float) -> None:
        """Bring the die near a temperature, by the air around it."""
        for _ in range(60):
            state = self.live.state
            air = self.live.model.around.air_celsius
            if abs(state.celsius - celsius) < 0.5:
                return
            self.live.tree.set("air", f"{air + celsius - state.celsius:.3f}")
            self.go(4.0)

    def close(self) -> None:
        self.gauge.close()
        self.thermometer.close()

    def _total(self) -> float:
        return sum(seconds for _, seconds in self.gauge.read(self.live.now).busy_seconds)

    @property
    def stated_share(self) -> float:
        """The error that the meter itself states, as a share."""
        if self.scope is Scope.RAILS:
            return 0.05
        sample = self.meter.sample(self.live.now)
        watts = getattr(sample, "watts", None)
        if watts is not None:
            return float(getattr(sample, "uncertainty_watts", 0.0)) / float(watts)
        return float(getattr(sample, "uncertainty_share", 0.0))
