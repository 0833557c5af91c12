"""What the catalogue tells the scheduler of an expert."""

from dataclasses import dataclass

from aiosd.domain.footprint import Footprint


@dataclass(frozen=True)
class ExpertFacts:
    """What the catalogue says of an expert, as far as scheduling cares.

    `load_limit_seconds` is how long a load may take before it counts as failed, `threads` how many
    it can make use of. `planned` says that `need_bytes` is what the engine allocates, and not a
    bound: what a worker does not hold of it yet, any request may make it hold. `known` is what was
    measured of this release before. `shared_model` is the digest of a model that other experts use
    as well, of which `shared_bytes`, a part of the need, are mapped by all of them together.
    `context_bytes` and `mapped_bytes` are the parts of the need that parking gives back, until they
    are measured. After `park_after_seconds` without a request an expert that can be parked is;
    negative: never.
    """

    expert: str
    need_bytes: int
    keep_alive_seconds: float = 300.0
    load_limit_seconds: float = 60.0
    planned: bool = False
    known: Footprint | None = None
    shared_model: str = ""
    shared_bytes: int = 0
    threads: int = 1
    context_bytes: int = 0
    mapped_bytes: int = 0
    park_after_seconds: float = -1.0
