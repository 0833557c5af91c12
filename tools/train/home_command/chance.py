"""Seeded chance, so that every run makes the same choices."""

from __future__ import annotations

import random


def dice(seed: int) -> random.Random:
    """Return a generator of its own for ``seed``."""
    return random.Random(seed)  # noqa: S311 - reproducible, not secret
