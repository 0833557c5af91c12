"""How a SIMULATED board behaves: clocks, watts, heat, throttling and battery, step by step.

Pure: no clock and no file. The formulas are assumptions (`docs/boardsim.md`):

* watts = idle + leak + Σ cores busy × unit × weight × (f/fmax) × (V/Vmax)², with V straight in f
  from 0.7 of Vmax at the lowest clock to Vmax; leak = idle × 0.2 % per °C over 40 °C;
* heat: two bodies, the die (7 °C over the board at full load, 4 s) and the board, whose resistance
  to the air lets it settle at the shape's `load_celsius`;
* the clock follows the load as schedutil does (1.25 × the busiest core), within what is allowed;
  from the profile's soft limit on it falls by one step a second (not below the shape's `soft_khz`),
  and rises again 3 °C below; at the hard limit it is the lowest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiosd.domain.power import Scope
from tools.boardsim.shape import Board, Cluster

_LOWEST_VOLTS = 0.7
_LEAK_PER_CELSIUS, _LEAK_CELSIUS = 0.002, 40.0
_DIE_CELSIUS, _DIE_SECONDS = 7.0, 4.0
_CALIBRATION_AIR = 25.0
_HEADROOM = 1.25
_THROTTLE_SECONDS, _THROTTLE_CELSIUS = 1.0, 3.0
_STEP_SECONDS = 0.5
# Between battery and board, a boost converter; and what a charger gives the battery beside it.
_CONVERTER, _CHARGE_WATTS = 0.95, 10.0


@dataclass(frozen=True)
class Limits:
    """What is allowed now: each cluster's clock in kHz (scaling_max_freq), and watts in a scope.

    `cores` is the most that may be busy, as a power mode or a quota over all has it. None and a
    missing cluster mean no limit. A limit of watts lowers all clocks, never below the lowest.
    """

    khz: Mapping[int, int] = field(default_factory=dict)
    watts: tuple[Scope, float] | None = None
    cores: float | None = None


@dataclass(frozen=True)
class Surroundings:
    """What is around the board: air, supply, charger, and what hangs on its 5 V."""

    air_celsius: float = 25.0
    under_voltage: bool = False
    charger: bool = False
    peripheral_watts: float = 0.0


@dataclass(frozen=True)
class State:
    """The truth about the simulated board at one moment.

    `watts` and `joules` are by scope, joules since the start. `busy` is the share of each CPU,
    `busy_seconds` its sum since the start, `khz` each cluster's clock and `khz_seconds` the time
    at each. `work_seconds` counts core seconds at full clock of the largest cores: what got done.
    `throttled` says that heat slows the board down, `had_` fields that it ever did. `battery` is
    what is left, 0 to 1; `battery_watts` flow out of it, below zero into it. `load_share` is the
    part of the watts that busy cores add, `peripheral_watts` what hangs on 5 V.
    """

    seconds: float
    watts: Mapping[Scope, float]
    joules: Mapping[Scope, float]
    celsius: float
    board_celsius: float
    busy: tuple[float, ...]
    busy_seconds: tuple[float, ...]
    khz: tuple[int, ...]
    khz_seconds: tuple[tuple[float, ...], ...]
    work_seconds: float
    throttled: bool = False
    had_throttled: bool = False
    under_voltage: bool = False
    had_under_voltage: bool = False
    battery: float | None = None
    battery_watts: float = 0.0
    charger: bool = False
    load_share: float = 0.0
    peripheral_watts: float = 0.0


class SimulatedBoard:
    """A board that is stepped through time.

    `battery` is its share at the start, None without one, of `battery_wh` (assumed: 10 Ah of one
    lithium cell). `speed` makes heat and battery run so many times faster than all else. `unit`
    scales all watts: this copy against the published one. `limits` and `around` may be set between
    steps.

    Raises:
        ValueError: the battery is not between 0 and 1, or another figure is not above 0.
    """

    def __init__(
        self,
        board: Board,
        *,
        battery: float | None = None,
        battery_wh: float = 37.0,
        speed: float = 1.0,
        unit: float = 1.0,
    ) -> None:
        """Start idle, at the temperature where idling settles in 25 °C."""
        if battery is not None and not 0 <= battery <= 1:
            raise ValueError(f"a battery holds 0 to 1 of itself, not {battery:g}")
        if min(battery_wh, speed, unit) <= 0:
            raise ValueError("battery_wh, speed and unit are above 0")
        self.board, self._speed = board, speed
        self.limits, self.around = Limits(), Surroundings()
        clusters = board.shape.clusters
        idle, load = (unit * watts for watts in board.idle_load_watts)
        self._idle = idle
        weights = sum(cluster.cores * cluster.weight for cluster in clusters)
        self._unit = (load - idle) / weights
        published = _heat(board, board.idle_load_watts[1])
        self._ohms = (board.shape.load_celsius - _DIE_CELSIUS - _CALIBRATION_AIR) / published
        self._die_ohms = _DIE_CELSIUS / published
        self._capacity_joules = battery_wh * 3600
        # Steps of the clock that heat takes away.
        self._held, self._held_for = 0, 0.0
        cores = board.shape.cores
        warm = _CALIBRATION_AIR + _heat(board, idle) * self._ohms
        self._state = State(
            seconds=0.0,
            watts=board.convert(idle),
            joules=dict.fromkeys(board.convert(idle), 0.0),
            celsius=warm + _heat(board, idle) * self._die_ohms,
            board_celsius=warm,
            busy=(0.0,) * cores,
            busy_seconds=(0.0,) * cores,
            khz=tuple(cluster.khz[0] for cluster in clusters),
            khz_seconds=tuple((0.0,) * len(cluster.khz) for cluster in clusters),
            work_seconds=0.0,
            battery=battery,
            battery_watts=board.convert(idle)[Scope.BOARD] / _CONVERTER if battery else 0.0,
        )

    @property
    def state(self) -> State:
        """The truth now."""
        return self._state

    def step(self, dt: float, busy_cores: float) -> State:
        """Go on by `dt` seconds in which so many cores had work; return the truth at their end.

        More work than there are cores, or than `limits` allow, is not done.
        """
        allowed = min(float(self.board.shape.cores), self.limits.cores or math.inf)
        busy = self._spread(max(0.0, min(busy_cores, allowed)))
        count = max(1, math.ceil(dt / _STEP_SECONDS - 1e-9))
        for _ in range(count):
            self._state = self._advance(dt / count, busy)
        return self._state

    def _advance(self, dt: float, busy: tuple[float, ...]) -> State:
        """Return the state a short time later."""
        old = self._state
        clocks = self._clocks(busy)
        native = self._watts(busy, clocks, old.celsius)
        watts = self.board.convert(native)
        watts[Scope.BOARD] += self.around.peripheral_watts
        celsius, board_celsius = self._warm(dt * self._speed, _heat(self.board, native))
        self._throttle(dt * self._speed, celsius)
        battery, flow = self._drain(dt * self._speed, watts[Scope.BOARD])
        clusters = self.board.shape.clusters
        khz = tuple(cluster.khz[index] for cluster, index in zip(clusters, clocks, strict=True))
        return State(
            seconds=old.seconds + dt,
            watts=watts,
            joules={scope: old.joules[scope] + value * dt for scope, value in watts.items()},
            celsius=celsius,
            board_celsius=board_celsius,
            busy=busy,
            busy_seconds=tuple(
                total + share * dt for total, share in zip(old.busy_seconds, busy, strict=True)
            ),
            khz=khz,
            khz_seconds=tuple(
                tuple(total + dt * (place == index) for place, total in enumerate(totals))
                for totals, index in zip(old.khz_seconds, clocks, strict=True)
            ),
            work_seconds=old.work_seconds + dt * self._work(busy, clocks),
            throttled=self._held > 0,
            had_throttled=old.had_throttled or self._held > 0,
            under_voltage=self.around.under_voltage,
            had_under_voltage=old.had_under_voltage or self.around.under_voltage,
            battery=battery,
            battery_watts=flow,
            charger=self.around.charger,
            load_share=self._dynamic(busy, clocks) / max(native, 1e-9),
            peripheral_watts=self.around.peripheral_watts,
        )

    def _spread(self, busy_cores: float) -> tuple[float, ...]:
        """Return each CPU's share: the largest cores fill up first, each before the next."""
        clusters = self.board.shape.clusters
        first = 0
        cpus: list[tuple[int, int]] = []
        for cluster in clusters:
            cpus.extend((-cluster.capacity, first + offset) for offset in range(cluster.cores))
            first += cluster.cores
        shares = [0.0] * first
        for _, cpu in sorted(cpus):
            shares[cpu] = min(1.0, busy_cores)
            busy_cores -= shares[cpu]
        return tuple(shares)

    def _groups(self, busy: tuple[float, ...]) -> list[tuple[Cluster, tuple[float, ...]]]:
        """Return each cluster with the shares of its CPUs."""
        groups, first = [], 0
        for cluster in self.board.shape.clusters:
            groups.append((cluster, busy[first : first + cluster.cores]))
            first += cluster.cores
        return groups

    def _clocks(self, busy: tuple[float, ...]) -> list[int]:
        """Return each cluster's clock, by its place in the table."""
        clocks = []
        for number, (cluster, shares) in enumerate(self._groups(busy)):
            top = len(cluster.khz) - 1
            limit = self.limits.khz.get(number, cluster.khz[-1])
            while top and cluster.khz[top] > limit:
                top -= 1
            top = max(0, top - self._held)
            if self.around.under_voltage:
                top = 0
            wanted = _HEADROOM * max(shares) * cluster.khz[-1]
            clocks.append(next((i for i in range(top) if cluster.khz[i] >= wanted), top))
        if self.limits.watts:
            scope, most = self.limits.watts
            while any(clocks) and self._scoped(busy, clocks, scope) > most:
                clocks = [max(0, index - 1) for index in clocks]
        return clocks

    def _scoped(self, busy: tuple[float, ...], clocks: list[int], scope: Scope) -> float:
        """Return the watts of a scope at these clocks."""
        watts = self.board.convert(self._watts(busy, clocks, self._state.celsius))
        return watts.get(scope, watts[Scope.BOARD])

    def _watts(self, busy: tuple[float, ...], clocks: list[int], celsius: float) -> float:
        """Return the watts in the profile's scope."""
        leak = self._idle * _LEAK_PER_CELSIUS * max(0.0, celsius - _LEAK_CELSIUS)
        return self._idle + leak + self._dynamic(busy, clocks)

    def _dynamic(self, busy: tuple[float, ...], clocks: list[int]) -> float:
        """Return what the busy cores add."""
        watts = 0.0
        for (cluster, shares), index in zip(self._groups(busy), clocks, strict=True):
            khz, low, high = cluster.khz[index], cluster.khz[0], cluster.khz[-1]
            volts = _LOWEST_VOLTS + (1 - _LOWEST_VOLTS) * (khz - low) / (high - low)
            watts += sum(shares) * self._unit * cluster.weight * khz / high * volts**2
        return watts

    def _work(self, busy: tuple[float, ...], clocks: list[int]) -> float:
        """Return how many of the largest cores at full clock would do the same."""
        return sum(
            sum(shares) * cluster.khz[index] / cluster.khz[-1] * (cluster.capacity or 1024) / 1024
            for (cluster, shares), index in zip(self._groups(busy), clocks, strict=True)
        )

    def _warm(self, dt: float, heat: float) -> tuple[float, float]:
        """Return die and board after `dt` at so many watts, each nearing where it would settle."""
        old = self._state
        settled = self.around.air_celsius + heat * self._ohms
        board = settled + (old.board_celsius - settled) * math.exp(
            -dt / self.board.shape.heat_seconds
        )
        above = heat * self._die_ohms
        over = above + (old.celsius - old.board_celsius - above) * math.exp(-dt / _DIE_SECONDS)
        return board + over, board

    def _throttle(self, dt: float, celsius: float) -> None:
        """Hold the clock down by one step a second while too hot, and let it up again."""
        self._held_for += dt
        steps = max(len(cluster.khz) for cluster in self.board.shape.clusters) - 1
        if celsius >= self.board.hard_celsius:
            self._held, self._held_for = steps, 0.0
        elif self._held_for >= _THROTTLE_SECONDS:
            self._held_for = 0.0
            if celsius >= self.board.soft_celsius:
                self._held = min(self._soft_steps(steps), self._held + 1)
            elif celsius < self.board.soft_celsius - _THROTTLE_CELSIUS:
                self._held = max(0, self._held - 1)

    def _soft_steps(self, steps: int) -> int:
        """Return how many steps heat below the hard limit may take."""
        floor = self.board.shape.soft_khz
        table = self.board.shape.clusters[0].khz
        return min(steps, sum(khz > floor for khz in table)) if floor else steps

    def _drain(self, dt: float, watts: float) -> tuple[float | None, float]:
        """Return what is left in the battery, and what flows out of it."""
        share = self._state.battery
        if share is None:
            return None, 0.0
        flow = watts / _CONVERTER
        if self.around.charger:
            flow = -_CHARGE_WATTS if share < 1 else 0.0
        return min(1.0, max(0.0, share - flow * dt / self._capacity_joules)), flow


def _heat(board: Board, native: float) -> float:
    """Return the watts that warm the board: all of it, from the profile's own scope."""
    return board.convert(native)[Scope.BOARD]
