"""What other model servers do, for comparison: least recently used by count, and by bytes.

They answer the same calls as the real scheduler with the same effects, so that both run in the
same simulated world.
"""

from collections import deque
from collections.abc import Iterable

from aiosd.policy.serving.effects import Effect, Load, Serve, Unload
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.queues import Ticket


class LruScheduler:
    """At most `count` experts loaded, or at most `cap_bytes`; who was used last stays.

    `in_order` serves strictly in order of arrival: only the oldest request may run or load.
    """

    def __init__(
        self, facts: Iterable[ExpertFacts], *, count: int = 0, cap_bytes: int = 0, in_order: bool
    ) -> None:
        self.needs = {each.expert: each.need_bytes for each in facts}
        self.count, self.cap_bytes, self.in_order = count, cap_bytes, in_order
        self.evictions = 0
        self._line: deque[Ticket] = deque()
        self._used: dict[str, float] = {}
        self._state: dict[str, str] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of those that are loaded, by their estimates."""
        return sum(self.needs[name] for name in self._state)

    def on_request(self, ticket: Ticket, _now: float) -> list[Effect]:
        """Queue a request."""
        self._line.append(ticket)
        return self._plan()

    def on_done(self, expert: str, now: float) -> list[Effect]:
        """Take note that a worker is free."""
        self._state[expert] = "ready"
        self._used[expert] = now
        return self._plan()

    def on_loaded(self, expert: str, _held: int, now: float) -> list[Effect]:
        """Take note that a worker is ready."""
        self._state[expert] = "ready"
        self._used[expert] = now
        return self._plan()

    def on_exited(self, expert: str, _reason: str, _now: float) -> list[Effect]:
        """Take note that a worker is gone."""
        self._state.pop(expert, None)
        return self._plan()

    def on_tick(self, _now: float) -> list[Effect]:
        """Do nothing that was not done before."""
        return self._plan()

    def next_wake(self, _now: float) -> float | None:
        """Return None: time alone changes nothing."""
        return None

    def _plan(self) -> list[Effect]:
        """Serve and load, oldest request first."""
        effects: list[Effect] = []
        seen: set[str] = set()
        for ticket in list(self._line):
            expert = ticket.expert
            if expert not in seen:
                seen.add(expert)
                state = self._state.get(expert)
                if state == "ready":
                    self._line.remove(ticket)
                    self._state[expert] = "busy"
                    effects.append(Serve(ticket.id, expert, 0.0, 0.0))
                    continue
                if state is None:
                    effects += self._room(expert, seen)
            if self.in_order:
                break
        return effects

    def _room(self, expert: str, wanted: set[str]) -> list[Effect]:
        """Load an expert if there is room, else send the least recently used away."""
        if self._fits(self.needs[expert], 1):
            self._state[expert] = "loading"
            return [Load(expert, self.needs[expert])]
        if "leaving" in self._state.values():
            return []
        idle = [name for name, state in self._state.items() if state == "ready"]
        idle = [name for name in idle if name not in wanted]
        if not idle:
            return []
        victim = min(idle, key=self._used.__getitem__)
        self._state[victim] = "leaving"
        self.evictions += 1
        return [Unload(victim, "least recently used")]

    def _fits(self, need: int, more: int) -> bool:
        """Tell whether one more fits."""
        if self.count:
            return len(self._state) + more <= self.count
        return self.used_bytes + need <= self.cap_bytes


def safe_count(facts: Iterable[ExpertFacts], cap_bytes: int) -> int:
    """Return how many experts may be loaded so that any of them together stay under the cap."""
    sizes = sorted((each.need_bytes for each in facts), reverse=True)
    total = count = 0
    for size in sizes:
        total += size
        if total > cap_bytes:
            break
        count += 1
    return max(count, 1)
