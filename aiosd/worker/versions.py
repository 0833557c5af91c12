"""Version ranges such as ">=0.3.30,<0.4": enough for engines, which all use dotted numbers."""

import operator
import re
from collections.abc import Callable

from aiosd.domain.errors import PackageError

_CLAUSE = re.compile(r"^\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*$")
_NUMBERS = re.compile(r"\d+")
_TESTS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def within(version: str, wanted: str) -> bool:
    """Tell whether `version` is in the range `wanted` (empty: any).

    Raises:
        PackageError: the range is not a list of comparisons.
    """
    for clause in filter(None, (part.strip() for part in wanted.split(","))):
        found = _CLAUSE.match(clause)
        if not found:
            raise PackageError(f"engine.versions: {clause!r} is no comparison like >=1.2")
        left, right = _numbers(version), _numbers(found[2])
        width = max(len(left), len(right))
        if not _TESTS[found[1]](_pad(left, width), _pad(right, width)):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """Return the dotted numbers of a version, up to the first part that is none."""
    numbers: list[int] = []
    for part in version.split("."):
        found = _NUMBERS.match(part)
        if not found:
            break
        numbers.append(int(found[0]))
    return tuple(numbers)


def _pad(numbers: tuple[int, ...], width: int) -> tuple[int, ...]:
    return numbers + (0,) * (width - len(numbers))
