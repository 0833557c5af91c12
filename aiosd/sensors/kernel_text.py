"""A small file of the kernel's as text, whatever becomes of the read."""

import contextlib
import re
from pathlib import Path

_FIELD = re.compile(r"^(?P<key>[A-Za-z_()]+):\s+(?P<kilobytes>\d+) kB", re.MULTILINE)


def read_text(path: Path) -> str:
    """Return a small kernel file as text, empty if it cannot be read.

    A file may exist and still refuse: pressure that is switched off answers EOPNOTSUPP, a process
    that ends ESRCH.
    """
    with contextlib.suppress(OSError):
        return path.read_bytes().decode("utf-8", "replace")
    return ""


def kilobyte_fields(text: str) -> dict[str, int]:
    """Return the `Key: n kB` lines of a kernel text, in bytes."""
    return {match["key"]: int(match["kilobytes"]) * 1024 for match in _FIELD.finditer(text)}
