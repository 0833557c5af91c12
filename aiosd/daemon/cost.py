"""What answers cost, as the broker asks for it and as replies say it."""

from typing import Any, Protocol

from aiosd.domain.energy import EnergyFigure, EnergyTotals
from aiosd.domain.power import EnergySource


class Energy(Protocol):
    """Who knows what a request costs; `Telemetry` does."""

    @property
    def frugal(self) -> bool:
        """Whether a request that may go to several experts goes to the one that takes least."""

    def predict(self, expert: str) -> float | None:
        """Return the joules that a request is expected to add to the idle; None: nobody knows."""

    def admit(self, expert: str, *, background: bool) -> None:
        """Let a request wait for its turn.

        Raises:
            OverPowerError: waiting is of no use, or is over.
        """

    def started(self, request: int, expert: str, client: str) -> None:
        """Take note that a worker begins to answer."""

    def ended(
        self, request: int, cpu_seconds: float | None = None, units: float = 0.0
    ) -> EnergyFigure | None:
        """Take note that it is answered, and return its figure; None where nobody knows it."""


def usage_of(figure: EnergyFigure | None) -> dict[str, Any]:
    """Return the fields of `Usage` that say what an answer cost; none where nobody knows."""
    if figure is None:
        return {}
    return {
        "joules": figure.marginal_joules,
        "joules_gross": figure.gross_joules,
        "joules_uncertainty": figure.uncertainty_joules,
        "joules_source": f"{'fitted ' if figure.fitted else ''}{figure.source}",
        "joules_scope": figure.scope.value,
    }


def books_of(totals: EnergyTotals, since: float) -> dict[str, object]:
    """Return where all joules went since a moment (Unix seconds), as `energy` says it."""
    if totals.source is EnergySource.NONE:
        return {"source": totals.source.value}  # and no zeros that look like joules
    experts = {
        name: {
            "joules": each.joules,
            "request_joules": each.request_joules,
            "resident_joules": each.resident_joules,
            "requests": each.requests,
            "cpu_seconds": each.cpu_seconds,
            "units": each.units,
            "units_per_joule": each.units / each.joules if each.joules > 0 else None,
        }
        for name, each in totals.experts.items()
    }
    return {
        "source": totals.source.value,
        "scope": totals.scope.value,
        "meter_joules": totals.meter_joules,
        "idle_joules": totals.idle_joules,
        "other_joules": totals.other_joules,
        "gap_seconds": totals.gap_seconds,
        "since": since,
        "idle_watts": totals.idle_watts,
        "experts": experts,
        "clients": totals.clients,
    }
