"""When an expert that crashed, or would not load, may be tried again.

A failed load is never retried at once: the rest doubles from `first_rest_seconds` up to
`longest_rest_seconds`, as LocalAI does. Crashes while answering spend a budget of `crashes` that
comes back whole once `window_seconds` pass without one, so that unrelated crashes over months
never add up.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartRules:
    """The numbers of the policy; seconds."""

    first_rest_seconds: float = 10.0
    longest_rest_seconds: float = 300.0
    crashes: int = 3
    window_seconds: float = 60.0


class RestartBudget:
    """The history of one expert's failures, and what follows from it."""

    def __init__(self, rules: RestartRules) -> None:
        """Start with a full budget."""
        self.rules = rules
        self._crashes: list[float] = []
        self._failed_loads = 0
        self._rests_until: float | None = None
        self.reason = ""

    def on_load_failed(self, reason: str, now: float) -> None:
        """Take note of a load that failed, and rest."""
        rest = min(
            self.rules.first_rest_seconds * 2.0 ** min(self._failed_loads, 32),
            self.rules.longest_rest_seconds,
        )
        self._failed_loads += 1
        self._rests_until = now + rest
        self.reason = reason

    def on_crash(self, reason: str, now: float) -> None:
        """Take note of a crash; rest once the budget is spent."""
        horizon = now - self.rules.window_seconds
        self._crashes = [at for at in self._crashes if at > horizon]
        self._crashes.append(now)
        self.reason = reason
        if len(self._crashes) > self.rules.crashes:
            self.on_load_failed(
                f"crashed {len(self._crashes)} times within "
                f"{self.rules.window_seconds:.0f} s, last: {reason}",
                now,
            )

    def on_answer(self) -> None:
        """Take note that the expert answered: loading it works."""
        self._failed_loads = 0

    def forgive(self) -> None:
        """Forget everything: the owner asked, or the package changed."""
        self._crashes.clear()
        self._failed_loads = 0
        self._rests_until = None
        self.reason = ""

    def rest_seconds(self, now: float) -> float:
        """Return how long the expert must still rest; 0 if it may be loaded."""
        if self._rests_until is None:
            return 0.0
        return max(0.0, self._rests_until - now)
