"""How much CPU time each expert's worker has used since it was asked last."""

from collections.abc import Callable, Iterable

from aiosd.sensors.process_time import read_cpu_seconds

Pids = Callable[[], Iterable[tuple[str, int]]]


class WorkerTimes:
    """Remembers where each worker's count stood; a new process begins at nothing."""

    def __init__(self, pids: Pids) -> None:
        """Take who names the experts' workers."""
        self._pids = pids
        self._spent: dict[str, tuple[int, float]] = {}

    def since_last(self) -> tuple[tuple[str, float], ...]:
        """Return the CPU seconds of each worker since the last call."""
        news: dict[str, tuple[int, float]] = {}
        spent: list[tuple[str, float]] = []
        for expert, pid in self._pids():
            seconds = read_cpu_seconds(pid)
            if seconds is None:
                continue
            before = self._spent.get(expert)
            base = before[1] if before is not None and before[0] == pid else 0.0
            news[expert] = (pid, seconds)
            spent.append((expert, max(0.0, seconds - base)))
        self._spent = news
        return tuple(spent)
