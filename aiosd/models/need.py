"""How much RAM an expert will need, from its files alone, before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.manifest import Manifest

OVERHEAD_BYTES = 24 * 2**20


@dataclass(frozen=True)
class RamNeed:
    """Weights (mapped, reclaimable) and what no file backs, in bytes."""

    weights_bytes: int
    private_bytes: int

    @property
    def total_bytes(self) -> int:
        """Both together."""
        return self.weights_bytes + self.private_bytes


def ram_need(manifest: Manifest, model: Path | None) -> RamNeed:
    """Return an upper bound of what the expert will need."""
    size = manifest.model.size if model is not None and manifest.model else 0
    return RamNeed(size, OVERHEAD_BYTES + size)
