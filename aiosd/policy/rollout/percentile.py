"""Which devices a staged rollout reaches: a fixed place of each device for each release.

No server is needed: the percentage stands in the signed manifest, and each device knows its own
place. The place differs from release to release, so that the same boards are not always first.
"""

import hashlib

_WHOLE = 2**64


def percentile(device: str, name: str, release: int) -> float:
    """Return the device's place, evenly spread over [0, 100)."""
    digest = hashlib.sha256(f"{device}\n{name}\n{release}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _WHOLE * 100.0


def reached(device: str, name: str, release: int, percent: float) -> bool:
    """Tell whether a rollout to so many percent reaches the device; more percent never lose one."""
    return percentile(device, name, release) < percent
