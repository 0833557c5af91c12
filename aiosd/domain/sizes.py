"""Sizes as people write them."""

import re

_SIZE = re.compile(r"^\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([KMGT]i?)?B?\s*$")
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def parse_size(text: str) -> int:
    """Return a size such as "512 MiB", "1.5G" or "1000000" in bytes.

    Raises:
        ValueError: this is no size.
    """
    found = _SIZE.match(text)
    if not found:
        raise ValueError(f"{text!r} is no size; write it like 512 MiB or 2G")
    return int(float(found[1]) * _UNITS[found[2] or ""])
