"""A need of RAM in its parts."""

from dataclasses import dataclass

# A forked worker alone, with an engine that is nothing but Python: the pages of its host that it
# writes to, and its own heap. Measured with the echo expert: 3.7 MB on x86-64, Python 3.11.
WORKER_BYTES = 3_800_000


@dataclass(frozen=True)
class RamNeed:
    """Bytes an expert needs while loaded.

    `weights_bytes` are mapped from the file, and the kernel may take them back and read them again;
    the others are anonymous, and nothing but their release gives them back: `packed_bytes` are
    copies of weights in another layout and `tables_bytes` the vocabulary and the like, which stay
    as long as the model; `cache_bytes` grows with the context and `compute_bytes` with the batch,
    and both go with the context; `worker_bytes` is the process around the model.
    `loading_bytes` is what it holds at most before the context is there.
    """

    weights_bytes: int
    cache_bytes: int = 0
    compute_bytes: int = 0
    packed_bytes: int = 0
    tables_bytes: int = 0
    worker_bytes: int = WORKER_BYTES
    loading_bytes: int = 0

    @property
    def private_bytes(self) -> int:
        """What is not mapped from a file."""
        return (
            self.cache_bytes
            + self.compute_bytes
            + self.packed_bytes
            + self.tables_bytes
            + self.worker_bytes
        )

    @property
    def total_bytes(self) -> int:
        """The most that it holds: loaded, with the whole model in RAM, or on the way there."""
        return max(self.weights_bytes + self.private_bytes, self.loading_bytes)
