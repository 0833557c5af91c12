"""How much memory tensors need when it is reused: the largest first, each in the first gap.

Greedy by size, as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference" (2020), which TensorFlow Lite's own planner follows.
"""

from bisect import insort
from dataclasses import dataclass

ALIGNMENT = 64
MAX_PLANNED = 4_096


@dataclass(frozen=True)
class Lifetime:
    """A tensor's size, and the first and last operator (counted in order) that need it."""

    size_bytes: int
    first: int
    last: int


def arena_bytes(tensors: list[Lifetime]) -> int:
    """Return the size of an arena that holds all tensors, none overlapping another in use.

    Of very many tensors it returns the plain sum, as the search is quadratic.
    """
    sized = [(-(-one.size_bytes // ALIGNMENT) * ALIGNMENT, one) for one in tensors]
    if len(sized) > MAX_PLANNED:
        return sum(size for size, _ in sized)
    placed: list[tuple[int, int, int, int]] = []
    top = 0
    for size, one in sorted(sized, key=lambda pair: (-pair[0], pair[1].first)):
        at = 0
        for begin, end, first, last in placed:
            if last < one.first or one.last < first:
                continue
            if begin - at >= size:
                break
            at = max(at, end)
        insort(placed, (at, at + size, one.first, one.last))
        top = max(top, at + size)
    return top
