"""Chance from a seed and a number: the same two give the same draw, so that a record can be rerun.

SplitMix64 (Steele, Lea, Flood 2014).
"""

_MASK = (1 << 64) - 1


def draw(seed: int, number: int) -> float:
    """Return a number from 0 up to 1."""
    state = (seed + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((state ^ (state >> 31)) >> 11) / (1 << 53)
