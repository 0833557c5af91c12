"""How many blows a board has taken, kept in a file so that a long run can be interrupted."""

import json
import time
from pathlib import Path


class Tally:
    """Counts by name, and what was found broken."""

    def __init__(self, path: Path | None) -> None:
        """Go on from the file, if there is one."""
        self._path = path
        self.counts: dict[str, int] = {}
        self.broken: list[str] = []
        self.seconds = 0.0
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.counts, self.broken = kept["counts"], kept["broken"]
            self.seconds = kept["seconds"]
        self._began = time.monotonic() - self.seconds

    def count(self, name: str) -> None:
        """Count one."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def total(self, prefix: str) -> int:
        """Return the sum of all whose name begins so."""
        return sum(count for name, count in self.counts.items() if name.startswith(prefix))

    def keep(self) -> None:
        """Write the file."""
        self.seconds = time.monotonic() - self._began
        if self._path is not None:
            draft = self._path.with_suffix(".new")
            kept = {"counts": self.counts, "broken": self.broken, "seconds": self.seconds}
            draft.write_text(json.dumps(kept, indent=1, sort_keys=True))
            draft.replace(self._path)

    def table(self) -> str:
        """Return what was done, as people read it."""
        rows = [f"{name:<34}{count:>9}" for name, count in sorted(self.counts.items())]
        self.seconds = time.monotonic() - self._began
        rows.append(f"{'seconds':<34}{self.seconds:>9.0f}")
        rows.append(f"{'found broken':<34}{len(self.broken):>9}")
        return "\n".join([*rows, *self.broken[:20]])
