"""Whether an answer is what a package's self-test expects: every difference, named."""

from collections.abc import Iterator


def differences(expected: object, given: object, tolerance: float, at: str = "") -> Iterator[str]:
    """Yield where `given` is not what was expected.

    A map must hold every expected key and may hold others; a list must be as long; numbers may
    differ by `tolerance`; everything else must be equal.
    """
    if isinstance(expected, dict):
        if not isinstance(given, dict):
            yield f"{at or 'the answer'} is {given!r}, not a map"
            return
        for key, value in expected.items():
            place = f"{at}.{key}" if at else str(key)
            if key not in given:
                yield f"{place} is missing"
            else:
                yield from differences(value, given[key], tolerance, place)
    elif isinstance(expected, list):
        if not isinstance(given, list) or len(given) != len(expected):
            yield f"{at} is {given!r}, not {expected!r}"
            return
        for number, (value, other) in enumerate(zip(expected, given, strict=True)):
            yield from differences(value, other, tolerance, f"{at}[{number}]")
    elif not _same(expected, given, tolerance):
        yield f"{at} is {given!r}, not {expected!r}"


def _same(expected: object, given: object, tolerance: float) -> bool:
    """Tell whether two plain values agree; True and 1 are not the same."""
    if isinstance(expected, bool) or isinstance(given, bool):
        return expected is given
    if isinstance(expected, (int, float)) and isinstance(given, (int, float)):
        return abs(expected - given) <= tolerance
    return expected == given
