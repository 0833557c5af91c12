"""Power without an instrument: the idle, and what each busy core adds at its clock.

watts = idle + Σ over clock groups of cost(clock) × busy cores

`cost` is straight between its points and never falls with the clock. It counts energy, not power:
busy seconds are what the kernel gives, so that nothing lies between two samples unseen.
"""

import bisect
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from aiosd.domain.board import PowerFacts
from aiosd.domain.calibration import Calibration
from aiosd.domain.power import CounterSample, CpuPolicy, CpuReading, EnergySource, Scope
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.kernel_file import ROOT, SensorError, read_text

# What the reference figures of a kind of board say of one of them: kernel, supply and what is
# plugged in move them by this much.
_DEFAULT_SHARE = 0.30
# A calibrated model is no better than this, whatever its fit leaves: the GPU, the radio and the
# disks are not in it.
_CALIBRATED_SHARE = 0.10
_STATE_BYTES = 65536

Curve = tuple[tuple[int, float], ...]


class _Gauge(Protocol):
    """What reads the CPUs."""

    def read(self, now: float) -> CpuReading: ...

    def close(self) -> None: ...


class BusyModel:
    """A power meter that computes: idle watts, and a curve of watts a busy core for each policy.

    A CPU in no policy costs `flat_watts` while busy.
    """

    rails: tuple[str, ...] = ()
    step_watts = 0.0

    def __init__(
        self,
        gauge: _Gauge,
        origin: tuple[EnergySource, Scope],
        idle_watts: float,
        curves: Mapping[str, Curve],
        *,
        flat_watts: float,
        uncertainty_share: float,
    ) -> None:
        """Take the CPUs and the coefficients; counting starts with the first sample."""
        self.source, self.scope = origin
        self.idle_watts = idle_watts
        self._gauge, self._curves, self._flat_watts = gauge, curves, flat_watts
        self._share = uncertainty_share
        self._last: CpuReading | None = None
        self._joules = 0.0

    def sample(self, now: float) -> CounterSample:
        """Count on by what the CPUs did since the last sample.

        Raises:
            SensorError: the CPUs cannot be read.
        """
        reading = self._gauge.read(now)
        last, self._last = self._last, reading
        if last is not None and now > last.at_seconds:
            self._joules += self.joules_between(last, reading)
        return CounterSample(self._joules, now, self._share)

    def joules_between(self, first: CpuReading, second: CpuReading) -> float:
        """Return the energy between two readings; at least the idle, never negative."""
        seconds = second.at_seconds - first.at_seconds
        before = dict(first.busy_seconds)
        # The kernel's counters of idle time may fall, and its ticks are coarse.
        busy = {
            cpu: min(max(0.0, total - before.get(cpu, total)), seconds)
            for cpu, total in second.busy_seconds
        }
        joules = self.idle_watts * seconds
        earlier = {policy.name: policy for policy in first.policies}
        for policy in second.policies:
            spent = sum(busy.pop(cpu, 0.0) for cpu in policy.cpus)
            joules += spent * self._cost(earlier.get(policy.name, policy), policy)
        return joules + self._flat_watts * sum(busy.values())

    def _cost(self, before: CpuPolicy, policy: CpuPolicy) -> float:
        """Return the watts of one busy core of the policy in the interval."""
        curve = self._curves.get(policy.name)
        if not curve:
            return self._flat_watts
        past = dict(before.time_in_state)
        spent = [(khz, max(0.0, total - past.get(khz, 0.0))) for khz, total in policy.time_in_state]
        total = sum(seconds for _, seconds in spent)
        if total > 0:
            return sum(watts_at(curve, khz) * seconds for khz, seconds in spent) / total
        clocks = [khz for khz in (before.current_khz, policy.current_khz) if khz > 0]
        if not clocks:
            return curve[-1][1]
        return sum(watts_at(curve, khz) for khz in clocks) / len(clocks)

    def close(self) -> None:
        """Close the CPUs' files."""
        self._gauge.close()


def watts_at(curve: Curve, khz: int) -> float:
    """Return the curve's watts at a clock: straight between points, from (0, 0) below the first.

    Above the last point it stays: no calibration has seen such a clock.
    """
    index = bisect.bisect_left(curve, khz, key=lambda point: point[0])
    if index == len(curve):
        return curve[-1][1]
    low_khz, low_watts = curve[index - 1] if index else (0, 0.0)
    high_khz, high_watts = curve[index]
    if high_khz == low_khz:
        return high_watts
    return low_watts + (high_watts - low_watts) * (khz - low_khz) / (high_khz - low_khz)


def open_default_model(facts: PowerFacts, root: Path = ROOT) -> BusyModel:
    """Open the model of the profile's idle and load watts: a straight line in busy cores and clock.

    All cores busy at full clock take the load. On boards with unlike cores each is weighted with
    the kernel's `cpu_capacity`.

    Raises:
        SensorError: the profile has no such figures, or there is no /proc/stat.
    """
    idle, load = facts.idle_watts, facts.load_watts
    if idle is None or load is None:
        raise SensorError(
            "the profile has no idle_watts and load_watts",
            advice="calibrate with a meter at the plug, or add them to a profile of your own",
        )
    gauge = CpuGauge(root)
    try:
        reading = gauge.read(0.0)
    except SensorError:
        gauge.close()
        raise
    weights = _weights(reading)
    unit = (load - idle) / sum(weights.values())
    curves: dict[str, Curve] = {}
    for policy in reading.policies:
        if policy.max_khz > 0 and policy.cpus:
            curves[policy.name] = ((policy.max_khz, unit * weights.get(policy.cpus[0], 1.0)),)
    return BusyModel(
        gauge,
        (EnergySource.DEFAULT_MODEL, facts.watts_scope),
        idle,
        curves,
        flat_watts=unit,
        uncertainty_share=_DEFAULT_SHARE,
    )


def _weights(reading: CpuReading) -> dict[int, float]:
    """Return each CPU's part in the load, by its capacity; all alike where that is unknown."""
    weights = dict.fromkeys((cpu for cpu, _ in reading.busy_seconds), 1.0)
    if all(policy.capacity > 0 for policy in reading.policies):
        known = {cpu: policy.capacity for policy in reading.policies for cpu in policy.cpus}
        if known.keys() >= weights.keys():
            fastest = max(known.values())
            weights = {cpu: known[cpu] / fastest for cpu in weights}
    return weights


def read_calibration(path: Path, board: str) -> Calibration:
    """Read the state file of a calibration (JSON).

    Raises:
        SensorError: there is none, it is damaged, or it is of another board.
    """
    text = read_text(path, _STATE_BYTES)
    if text is None:
        raise SensorError(
            f"{path}: no calibration", advice="run one with a meter at the plug for better figures"
        )
    try:
        calibration = msgspec.json.decode(text, type=Calibration)
    except msgspec.DecodeError as error:
        raise SensorError(f"{path}: {error}", advice="calibrate again") from error
    if calibration.board != board:
        raise SensorError(
            f"{path}: is of the board {calibration.board!r}, this is {board!r}",
            advice="calibrate again",
        )
    return calibration


def open_calibrated_model(calibration: Calibration, root: Path = ROOT) -> BusyModel:
    """Open the model of a calibration; its scope is the whole board, which the meter saw.

    A CPU of a policy that the calibration has not costs what the dearest core of it does.

    Raises:
        SensorError: there is no /proc/stat.
    """
    curves = {cost.policy: cost.curve() for cost in calibration.policies}
    dearest = max(itertools.chain.from_iterable(curves.values()), key=lambda point: point[1])[1]
    share = max(_CALIBRATED_SHARE, calibration.residual_watts / calibration.idle_watts)
    return BusyModel(
        CpuGauge(root),
        (EnergySource.CALIBRATED_MODEL, Scope.BOARD),
        calibration.idle_watts,
        curves,
        flat_watts=dearest,
        uncertainty_share=min(share, _DEFAULT_SHARE),
    )
