"""What the publisher does: stages of a rollout, a rest between them, a stop at too many failures.

With a static server there is no way back for news, and boards alone protect themselves. Where
failures are reported (hawkBit's feedback, or anything else), the share of boards that quarantined a
release stops its rollout.
"""

from dataclasses import dataclass, field

STAGES = (1, 5, 20, 50, 100)


@dataclass(frozen=True)
class Plan:
    """Percentages, hours between them, and the share of tried boards that may fail."""

    stages: tuple[int, ...] = STAGES
    hours: float = 24.0
    most_failures: float = 0.1
    least_tried: int = 5


@dataclass
class Rollout:
    """One release on its way to the fleet."""

    release: int
    began: float
    plan: Plan = field(default_factory=Plan)
    stopped_at: float | None = None
    stage: int = 0

    def percent(self) -> int:
        """Return the percentage in the signed manifest now; 0 once it is stopped."""
        return 0 if self.stopped_at is not None else self.plan.stages[self.stage]

    def step(self, now: float, tried: int, failed: int, *, hears: bool) -> None:
        """Go a stage further when its time has come; stop if too many boards failed."""
        if self.stopped_at is not None:
            return
        if hears and tried >= self.plan.least_tried and failed > self.plan.most_failures * tried:
            self.stopped_at = now
            return
        due = int((now - self.began) / (self.plan.hours * 3600.0))
        self.stage = min(due, len(self.plan.stages) - 1)
