"""A simulated worker: what it holds, and what it is at."""

from dataclasses import dataclass

from tools.replay.traces import Model

_NOTHING = 1e-9


@dataclass
class Worker:
    """One loaded expert: what it really holds, and the work it has left of its request.

    `loading` is what is left of its load, or of its coming back after it was parked; `costs` are
    the seconds of context and pages that its coming back takes.
    """

    model: Model
    held: int
    parked: bool = False
    lean: bool = False
    costs: tuple[float, float | None] | None = None
    ready: bool = False
    leaving: bool = False
    serving: int | None = None
    work: float = 0.0
    cpu: float = 0.0
    loading: float = 0.0

    @property
    def mapped_bytes(self) -> int:
        """What of that is mapped from its file now."""
        return 0 if self.lean else int(self.model.mapped_bytes * self.held / self.model.bytes)

    @property
    def holds_bytes(self) -> int:
        """What it holds now: less while it is parked."""
        model, part = self.model, self.held / self.model.bytes
        context = int(model.context_bytes * part) if self.parked else 0
        mapped = int(model.mapped_bytes * part) if self.lean else 0
        return self.held - context - mapped

    @property
    def runs(self) -> bool:
        """Whether it works on a request."""
        return self.serving is not None and not self.loading

    def is_loaded(self) -> bool:
        """Tell whether its load has just ended."""
        return not self.ready and not self.loading

    def is_back(self) -> bool:
        """Tell whether its coming back has just ended."""
        return self.costs is not None and not self.loading

    def is_done(self) -> bool:
        """Tell whether it has nothing left of its request."""
        return self.runs and self.work <= _NOTHING
