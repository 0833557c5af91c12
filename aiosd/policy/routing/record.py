"""The last routing decisions, each with what became of it; no text is kept.

One report counts once for each decision: nobody can push an expert by saying the same thing twice.
"""

from msgspec.structs import replace

from aiosd.domain.decision import Actual, Decision
from aiosd.domain.errors import InvalidError

MOST = 256


class Record:
    """A ring of decisions by number."""

    def __init__(self, most: int = MOST) -> None:
        """Keep the last `most`."""
        self._most = most
        self._kept: dict[int, Decision] = {}

    def add(self, decision: Decision) -> None:
        """Keep a decision; the oldest one goes."""
        self._kept[decision.id] = decision
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def find(self, number: int) -> Decision | None:
        """Return a decision, if it is still kept."""
        return self._kept.get(number)

    def on_answer(self, number: int, seconds: float, joules: float | None) -> Decision | None:
        """Note what an answer took; return its decision, if it is still kept."""
        decision = self._kept.get(number)
        if decision is not None:
            actual = Actual(seconds=seconds, joules=joules)
            decision = self._kept[number] = replace(decision, actual=actual)
        return decision

    def on_feedback(self, number: int, *, good: bool) -> Decision:
        """Note what somebody thought of an answer.

        Raises:
            InvalidError: there is no such decision, it was not answered yet, or that was said
                already.
        """
        decision = self._kept.get(number)
        if decision is None:
            raise InvalidError(
                f"no decision {number} among the last {self._most}; see: aiosctl decisions",
                field="id",
            )
        if decision.actual is None:
            raise InvalidError(f"decision {number} has no answer", field="id")
        if decision.actual.ok is not None:
            raise InvalidError(f"decision {number} was judged already", field="id")
        judged = self._kept[number] = replace(decision, actual=replace(decision.actual, ok=good))
        return judged

    def last(self, count: int) -> list[Decision]:
        """Return the newest decisions, the newest first."""
        return list(reversed(self._kept.values()))[: max(0, count)]
