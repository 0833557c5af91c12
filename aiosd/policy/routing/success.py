"""How often an expert answers well, by sub-route: counts that fade, from a prior that hopes.

Feedback, self-checks and schema passes are counted; a count is half after `HALF_LIFE_SECONDS`, and
the table is bounded, so that no flood of feedback weighs for ever or grows without end.
"""

import msgspec

# Nine of ten before anything is known, with the weight of ten observations.
PRIOR_GOOD, PRIOR_BAD = 9.0, 1.0
# No expert is given up for good: it would never be asked, and never be seen to have become better.
FLOOR = 0.05
# Observations count together as at most so many, so that a change is seen within as many.
MOST_WEIGHT = 200.0
HALF_LIFE_SECONDS = 7 * 86_400.0
MOST_ROWS = 1024


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Fading counts of good and bad answers, as of a moment in seconds."""

    good: float
    bad: float
    at: float

    def faded(self, now: float) -> "Tally":
        """Return the counts as they weigh now."""
        share = 0.5 ** (max(0.0, now - self.at) / HALF_LIFE_SECONDS)
        return Tally(self.good * share, self.bad * share, now)


class SuccessTable:
    """One tally for each (expert, sub-route) that anything is known of."""

    def __init__(self, rows: dict[str, dict[str, Tally]] | None = None) -> None:
        """Start from what was kept, or from nothing."""
        self._rows = rows or {}

    def ok(self, expert: str, part: str, now: float) -> float:
        """Return how likely an answer is good: the mean of the Beta distribution, not under 5 %."""
        parts = self._rows.get(expert)
        tally = parts.get(part) if parts else None
        if tally is None:
            return PRIOR_GOOD / (PRIOR_GOOD + PRIOR_BAD)
        now_weighs = tally.faded(now)
        good, bad = PRIOR_GOOD + now_weighs.good, PRIOR_BAD + now_weighs.bad
        return max(FLOOR, good / (good + bad))

    def on_answer(
        self, expert: str, part: str, now: float, *, ok: bool, weight: float = 1.0
    ) -> None:
        """Count an answer as good or bad."""
        parts = self._rows.setdefault(expert, {})
        was = parts.pop(part, Tally(0.0, 0.0, now)).faded(now)
        good, bad = was.good + weight * ok, was.bad + weight * (not ok)
        shrink = min(1.0, MOST_WEIGHT / (good + bad))
        parts[part] = Tally(good * shrink, bad * shrink, now)
        if sum(map(len, self._rows.values())) > MOST_ROWS:
            self._drop_oldest()

    def forget(self, expert: str) -> None:
        """Forget an expert: it was removed, or is another release now."""
        self._rows.pop(expert, None)

    def rows(self) -> dict[str, dict[str, Tally]]:
        """Return everything, to be kept or shown."""
        return {expert: dict(parts) for expert, parts in self._rows.items() if parts}

    def _drop_oldest(self) -> None:
        """Make room: the tally that was touched longest ago goes."""
        expert, part = min(
            ((expert, part) for expert, parts in self._rows.items() for part in parts),
            key=lambda each: self._rows[each[0]][each[1]].at,
        )
        del self._rows[expert][part]
        if not self._rows[expert]:
            del self._rows[expert]
