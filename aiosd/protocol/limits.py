"""How large anything on the wire may be, on every axis; beyond it is `invalid`, never a crash.

A header of 512 KiB can at worst become some 35 MB of Python objects (one-byte empty arrays), which
is why pictures, recordings and long series travel as attachment frames and never inside a header.
"""

from dataclasses import dataclass
from functools import cached_property

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one message; `frames` counts the id and the header too."""

    frames: int = 10
    id_bytes: int = 64
    header_bytes: int = 512 * KIB
    attachment_bytes: int = 32 * MIB
    array_items: int = 65_536
    map_items: int = 1024
    string_bytes: int = 256 * KIB
    binary_bytes: int = 256 * KIB
    depth: int = 16

    @cached_property
    def harmless_bytes(self) -> int:
        """Up to how many bytes a header is too short to break any limit."""
        counts = (self.array_items, 2 * self.map_items, self.string_bytes, self.binary_bytes)
        return min(self.header_bytes, *counts)


DEFAULT_LIMITS = Limits()
