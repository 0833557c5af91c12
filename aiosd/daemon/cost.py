"""What an answer cost, as the broker asks for it and as a reply says it."""

from typing import Any, Protocol

from aiosd.domain.energy import EnergyFigure


class Energy(Protocol):
    """Who knows what a request costs; `Telemetry` does."""

    @property
    def frugal(self) -> bool:
        """Whether a request that may go to several experts goes to the one that takes least."""

    def predict(self, expert: str) -> float | None:
        """Return the joules that a request is expected to add to the idle; None: nobody knows."""

    def admit(self, request: int, expert: str, *, background: bool) -> None:
        """Let a request begin.

        Raises:
            OverPowerError: the power cap does not allow it now.
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
