"""What a request cost in joules, and what the books hold of all the rest."""

from dataclasses import dataclass, field

from aiosd.domain.power import EnergySource, Scope


@dataclass(frozen=True)
class EnergyFigure:
    """The energy of one request; never printed without its source and scope.

    `marginal_joules` is what the request added to the idle board, `gross_joules` that and its part
    of the idle for as long as it ran; what others used meanwhile is in neither.
    `uncertainty_joules` is one standard deviation of the marginal figure within the scope.
    `samples` are the meter's samples within the request. `fitted` says that the figure comes from
    the expert's fit over many requests, because this one was too short to be measured alone or
    fell into a gap of the meter. `gap_seconds` of it the meter had no figure for.
    """

    source: EnergySource
    scope: Scope
    gross_joules: float
    marginal_joules: float
    uncertainty_joules: float
    samples: int
    fitted: bool = False
    gap_seconds: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """What a request is expected to add, and one standard deviation of it; both in joules."""

    joules: float
    uncertainty_joules: float


@dataclass(frozen=True)
class CpuInterval:
    """Who was busy between two moments of the monotonic clock: CPU seconds, not shares.

    `experts` holds each worker's CPU time by its expert's name, `other_seconds` all other busy time
    of the machine, this daemon's included.
    """

    start: float
    end: float
    experts: tuple[tuple[str, float], ...]
    other_seconds: float


@dataclass(frozen=True)
class MeteredInterval:
    """An interval of CPU time and the energy that the meter saw in it; None is a gap."""

    interval: CpuInterval
    joules: float | None


@dataclass(frozen=True)
class ExpertEnergy:
    """The sums of one expert: its requests, and what its worker used without one (loads, idling).

    `units` are tokens, frames or whatever its answers count, so that units / joules is its yield.
    """

    request_joules: float = 0.0
    resident_joules: float = 0.0
    requests: int = 0
    cpu_seconds: float = 0.0
    units: float = 0.0

    @property
    def joules(self) -> float:
        """All that the expert added to the idle board."""
        return self.request_joules + self.resident_joules


@dataclass(frozen=True)
class EnergyTotals:
    """Where all of the meter's joules went since the books were opened.

    `meter_joules` = the sum over `experts` + `idle_joules` + `other_joules`; that is how the books
    are kept, and tests hold it. Nothing is known of `gap_seconds`.
    """

    source: EnergySource
    scope: Scope
    meter_joules: float
    idle_joules: float
    other_joules: float
    gap_seconds: float
    idle_watts: float | None
    experts: dict[str, ExpertEnergy] = field(default_factory=dict)
    clients: dict[str, float] = field(default_factory=dict)

    @property
    def request_joules(self) -> float:
        """What all requests added to the idle board."""
        return sum(each.request_joules for each in self.experts.values())

    @property
    def resident_joules(self) -> float:
        """What workers used while they answered nobody."""
        return sum(each.resident_joules for each in self.experts.values())
