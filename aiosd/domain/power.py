"""What the power side of the board says: watts, joules, heat, throttling, battery, busy cores.

A figure is never without its origin: a meter has one `EnergySource` and one `Scope` for as long as
it is open, and each of its samples has its own uncertainty.
"""

from dataclasses import dataclass
from enum import StrEnum


class EnergySource(StrEnum):
    """Where a figure of energy comes from."""

    MEASURED_TOTAL = "measured_total"
    """An instrument on the supply of all that the scope names."""
    MEASURED_PARTIAL = "measured_partial"
    """An instrument on some rails; the rest is left out, or corrected by the profile's line."""
    RAPL_PACKAGE = "rapl_package"
    """The processor's own count for its package."""
    BATTERY = "battery"
    """What the battery's gauge says is drawn from it."""
    CALIBRATED_MODEL = "calibrated_model"
    """Computed from busy cores with coefficients fitted to a meter on this very board."""
    DEFAULT_MODEL = "default_model"
    """Computed from busy cores with a published idle and load figure of this kind of board."""
    NONE = "none"
    """No figure at all."""


class Scope(StrEnum):
    """What a figure of power covers."""

    BOARD = "board"
    """All that the supply feeds."""
    MODULE = "module"
    """The compute module without its carrier."""
    PACKAGE = "package"
    """The processor package."""
    RAILS = "rails"
    """The sum of the rails that the meter lists, which is no whole."""


@dataclass(frozen=True)
class PowerSample:
    """Power at one moment of the monotonic clock.

    `uncertainty_watts` is one standard deviation within the meter's scope; it says nothing of what
    the scope leaves out. `rails` holds what each rail had, uncorrected, if there are any.
    """

    watts: float
    at_seconds: float
    uncertainty_watts: float
    rails: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class CounterSample:
    """Energy since the meter's first sample, at one moment of the monotonic clock.

    `joules` never falls; what lies between two samples is their difference, with an uncertainty of
    `uncertainty_share` of it (one standard deviation). No sampling rate is needed.
    """

    joules: float
    at_seconds: float
    uncertainty_share: float


@dataclass(frozen=True)
class NoSample:
    """The meter has no figure now; it has had none since `since_seconds`, for this reason."""

    reason: str
    at_seconds: float
    since_seconds: float


Sample = PowerSample | CounterSample | NoSample


@dataclass(frozen=True)
class HeatReading:
    """A thermal zone, by the type that the kernel gives it; two of one type count as the hotter."""

    zone: str
    celsius: float


@dataclass(frozen=True)
class ThrottleBits:
    """What the firmware says of the supply and of its own slowing down; None where it cannot say.

    `had_` fields say that it has happened since boot. They are no full history: the kernel's own
    driver clears them as it reads them.
    """

    under_voltage: bool | None = None
    frequency_capped: bool | None = None
    throttled: bool | None = None
    soft_limit: bool | None = None
    had_under_voltage: bool | None = None
    had_frequency_capped: bool | None = None
    had_throttled: bool | None = None
    had_soft_limit: bool | None = None


class BatteryState(StrEnum):
    """What a battery is doing; `unknown` where its gauge does not say, or contradicts itself."""

    CHARGING = "charging"
    DISCHARGING = "discharging"
    FULL = "full"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class BatteryReading:
    """A battery and its charger.

    `share` is what is left, 0 to 1. `watts` flow into it while it charges and out of it while it
    discharges; always positive. `charger` says whether any supply is plugged in, None where none
    is known. `stuck` means that the gauge has not moved for so long that it is to be believed no
    more than a missing one.
    """

    share: float | None = None
    state: BatteryState = BatteryState.UNKNOWN
    watts: float | None = None
    charger: bool | None = None
    stuck: bool = False


@dataclass(frozen=True)
class CpuPolicy:
    """A group of CPUs with one clock: its frequencies in kHz, 0 where unknown.

    `max_khz` is what the hardware can, `limit_khz` what is allowed now. `time_in_state` holds the
    seconds spent at each frequency since boot, empty where the kernel does not count.
    `capacity` is the kernel's relative speed of one of its CPUs (1024 for the fastest), 0 if unset.
    """

    name: str
    cpus: tuple[int, ...]
    current_khz: int = 0
    limit_khz: int = 0
    max_khz: int = 0
    capacity: int = 0
    time_in_state: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class CpuReading:
    """The busy seconds of each online CPU since boot, by its number, and the clock groups."""

    at_seconds: float
    busy_seconds: tuple[tuple[int, float], ...]
    policies: tuple[CpuPolicy, ...] = ()


@dataclass(frozen=True)
class PowerMode:
    """The board's own power mode: what it is called now, and all names that there are."""

    name: str
    names: tuple[str, ...]
