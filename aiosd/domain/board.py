"""What a board is: the machine as it was found, and the profile its owner or we wrote for it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.power import BatteryReading, BatteryState, Scope

Watts = Annotated[float, Meta(gt=0)]
Celsius = Annotated[float, Meta(ge=-40, le=150)]
Factor = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]

# Means that lower a board's power: a worker's threads and CPU share need no privilege, the rest
# does.
Cap = Literal["threads", "cpu.max", "cpufreq", "gpu-devfreq", "nvpmodel", "rapl"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a board profile: frozen, and an unknown key is an error."""


class RamShare(_Table, frozen=True, kw_only=True):
    """How much of the board's RAM experts may have when the settings do not say.

    The smaller of `share` of all RAM and of what is left when `reserve_bytes` are kept for the
    system; both are taken of MemTotal, never of what a board is sold with.
    """

    share: Annotated[float, Meta(gt=0.0, le=0.95)] = 0.6
    reserve_bytes: Annotated[int, Meta(ge=0)] = 268_435_456


class BoardFacts(_Table, frozen=True, kw_only=True):
    """What the board is, shown to its owner; no decision is taken from it.

    `ram_gib` are the sizes it is sold with: what there is to share is measured. An unknown figure
    is absent.
    """

    cores: Annotated[int, Meta(ge=1)] | None = None
    isa: list[str] = msgspec.field(default_factory=list)
    ram_gib: list[Annotated[float, Meta(gt=0)]] = msgspec.field(default_factory=list)


class Correction(_Table, frozen=True, kw_only=True):
    """A published straight line from the sum of the rails to the whole of the profile's scope.

    watts = `scale` × sum + `offset_watts`, right to `uncertainty_share`.
    """

    scale: Annotated[float, Meta(gt=0)]
    offset_watts: Annotated[float, Meta(ge=0)]
    uncertainty_share: Share


class Mode(_Table, frozen=True, kw_only=True):
    """A power mode by the name that the board's own tool gives it, never by number.

    `watts` is its budget; absent where it has none (MAXN) or none is known.
    """

    name: Annotated[str, Meta(min_length=1)]
    watts: Watts | None = None


class PowerFacts(_Table, frozen=True, kw_only=True):
    """How the board's power is measured, and what it takes.

    `meters` are instruments in order of preference (`aiosd/sensors/meter.py` has their names);
    where none opens, the model of `idle_watts` and `load_watts` stands in, figures of the whole
    `watts_scope`. `rails` are what the instrument measures, by name, with their meaning;
    `total_rails` those whose sum is the whole of `scope`. Empty: no sum is the whole, and `scope`
    is then what `correction` leads to. `uncertainty_share` is the instrument's own error.
    `caps` are the means that can lower the board's power; `slower_clock_saves` says that work at a
    lower clock takes fewer joules than the same work with pauses. `under_voltage_detector` says
    whether the board notices a sagging supply. An unknown figure is absent.

    `window_seconds` is a decision: over how long power is averaged before it is held to a cap.
    """

    meters: list[Annotated[str, Meta(min_length=1)]] = msgspec.field(default_factory=list)
    rails: dict[str, str] = msgspec.field(default_factory=dict)
    total_rails: list[str] = msgspec.field(default_factory=list)
    scope: Scope = Scope.BOARD
    uncertainty_share: Share = 0.03
    correction: Correction | None = None
    watts_scope: Scope = Scope.BOARD
    idle_watts: Watts | None = None
    load_watts: Watts | None = None
    caps: list[Cap] = msgspec.field(default_factory=list)
    modes: list[Mode] = msgspec.field(default_factory=list)
    slower_clock_saves: bool = False
    under_voltage_detector: bool | None = None
    window_seconds: Annotated[float, Meta(gt=0, le=120)] = 5.0

    def __post_init__(self) -> None:
        """Refuse a total of unknown rails, and a load below the idle."""
        unknown = [rail for rail in self.total_rails if rail not in self.rails]
        if unknown:
            raise ValueError(f"total_rails names {unknown[0]!r}, which [power.rails] has not")
        if self.total_rails and self.correction:
            raise ValueError("a total needs no correction; remove one of the two")
        idle, load = self.idle_watts, self.load_watts
        if (idle is None) != (load is None):
            raise ValueError("idle_watts and load_watts come together; one alone is no model")
        if idle is not None and load is not None and load < idle:
            raise ValueError(f"load_watts {load:g} is less than idle_watts {idle:g}")


class HeatZone(_Table, frozen=True, kw_only=True):
    """A thermal zone by its type as /sys/class/thermal has it, never by its index.

    Facts: from `soft_celsius` on kernel or firmware slow the board down, at `hard_celsius` they
    stop it or slow it to the utmost; absent where not known.
    """

    type: Annotated[str, Meta(min_length=1)]
    soft_celsius: Celsius | None = None
    hard_celsius: Celsius | None = None


class HeatStep(_Table, frozen=True, kw_only=True):
    """From `at_celsius` on the watt cap is `watts_factor` of what it was set to."""

    at_celsius: Celsius
    watts_factor: Factor


class HeatRules(_Table, frozen=True, kw_only=True):
    """The zones that count (empty: all), and what their hottest does to the watt cap.

    `zones` are facts, `steps` a decision: hotter is never a larger factor.
    """

    zones: list[HeatZone] = msgspec.field(default_factory=list)
    steps: list[HeatStep] = msgspec.field(
        default_factory=lambda: [
            HeatStep(at_celsius=75.0, watts_factor=0.8),
            HeatStep(at_celsius=80.0, watts_factor=0.6),
            HeatStep(at_celsius=85.0, watts_factor=0.4),
        ]
    )

    def __post_init__(self) -> None:
        """Refuse steps out of order, or that allow more when hotter."""
        for lower, higher in pairwise(self.steps):
            if higher.at_celsius <= lower.at_celsius or higher.watts_factor > lower.watts_factor:
                raise ValueError("steps must grow hotter and never allow more")

    def factor(self, celsius: float) -> float:
        """Return the share of the watt cap that this temperature leaves, 1 below the first step."""
        return next(
            (step.watts_factor for step in reversed(self.steps) if celsius >= step.at_celsius), 1.0
        )


class BatteryStep(_Table, frozen=True, kw_only=True):
    """Below `below_share` of a full battery the watt cap is `watts_factor` of what was set."""

    below_share: Annotated[float, Meta(gt=0, le=1)]
    watts_factor: Factor


class BatteryRules(_Table, frozen=True, kw_only=True):
    """What the battery does to the watt cap; a decision, and nothing on a board without one.

    While a charger is plugged in `charger_factor` holds; a battery that is missing, unknown or
    stuck changes nothing.
    """

    steps: list[BatteryStep] = msgspec.field(
        default_factory=lambda: [
            BatteryStep(below_share=0.5, watts_factor=0.8),
            BatteryStep(below_share=0.3, watts_factor=0.6),
            BatteryStep(below_share=0.15, watts_factor=0.4),
        ]
    )
    charger_factor: Factor = 1.0

    def __post_init__(self) -> None:
        """Refuse steps out of order, or that allow more when emptier."""
        for fuller, emptier in pairwise(self.steps):
            if (
                emptier.below_share >= fuller.below_share
                or emptier.watts_factor > fuller.watts_factor
            ):
                raise ValueError("steps must grow emptier and never allow more")

    def factor(self, battery: BatteryReading | None) -> float:
        """Return the share of the watt cap that this battery leaves."""
        if battery is None or battery.stuck:
            return 1.0
        if battery.charger or battery.state in {BatteryState.CHARGING, BatteryState.FULL}:
            return self.charger_factor
        if battery.share is None or battery.state is not BatteryState.DISCHARGING:
            return 1.0
        share = battery.share
        return next(
            (step.watts_factor for step in reversed(self.steps) if share < step.below_share), 1.0
        )


class BoardProfile(_Table, frozen=True, kw_only=True):
    """The whole of one file of `board-profiles/`.

    `compatible` holds exact entries of a device tree's list, boards before their SoC; `cpu_models`
    exact "model name"s of /proc/cpuinfo for machines without a device tree. `hosts` says whether
    an engine host per engine stays resident (fast loads) or each worker is a fresh interpreter
    (least RAM). `threads` is the most an expert gets.

    Facts are `compatible`, `cpu_models`, `[facts]`, `[power]` and `[[heat.zones]]`; decisions,
    which an owner may see otherwise, are `hosts`, `threads`, `[ram]`, `window_seconds`,
    `[[heat.steps]]` and `[battery]`.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    summary: str
    compatible: list[str] = msgspec.field(default_factory=list)
    cpu_models: list[str] = msgspec.field(default_factory=list)
    hosts: bool = True
    threads: Annotated[int, Meta(ge=1, le=64)] = 4
    ram: RamShare = RamShare()
    facts: BoardFacts = BoardFacts()
    power: PowerFacts = PowerFacts()
    heat: HeatRules = HeatRules()
    battery: BatteryRules = BatteryRules()


@dataclass(frozen=True)
class Machine:
    """This machine as its kernel and interpreter describe it.

    `cores` are those this process may run on. `isa` holds the kernel's names of CPU features that
    every core has. `word_bits` is the interpreter's, which may be less than the kernel's.
    """

    ram_bytes: int
    cores: int
    isa: frozenset[str]
    architecture: str
    kernel: str
    cpu_model: str
    board_model: str
    word_bits: int

    def lacks(self, isa: list[str]) -> list[str]:
        """Return the CPU features of `isa` that this machine has not, in their order."""
        return [feature for feature in isa if feature not in self.isa]
