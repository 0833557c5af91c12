"""A model in several files, as llama.cpp knows it: what the files are called, and which belong.

The first of 13 is `NAME-00001-of-00013.gguf` (llama.h, `llama_split_path`). It has the role "model"
and stands for the whole; the others have the role "part" and lie beside it.
"""

import re
from collections.abc import Collection

PART = "part"
# A worker may have 256 files open at once, and llama.cpp opens all parts together.
MAX_PARTS = 200

_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def part_name(stem: str, number: int, count: int) -> str:
    """Return what one part is called; the first has the number 1."""
    return f"{stem}-{number:05d}-of-{count:05d}.gguf"


def part_names(first: str) -> tuple[str, ...]:
    """Return the names of all files of the model that begins with `first`, in their order.

    A name that is not the first's of several is that of a whole model, and of its one file.
    """
    found = _NAME.fullmatch(first)
    if found is None or int(found["number"]) != 1 or not 1 < int(found["count"]) <= MAX_PARTS:
        return (first,)
    count = int(found["count"])
    return tuple(part_name(found["stem"], number, count) for number in range(1, count + 1))


def parts_fault(first: str, others: Collection[str]) -> str:
    """Say what is wrong with a model of these files, by their names; empty if nothing is.

    `first` is the file of role "model", empty if there is none; `others` have the role "part".
    """
    if not first:
        return "there are parts of a model, and no first one (role 'model')" if others else ""
    names = part_names(first)
    if len(names) == 1 and others:
        return (
            f"{first!r} is no first of at most {MAX_PARTS} parts by its name "
            "(NAME-00001-of-00013.gguf), but there are files of role 'part'"
        )
    for name in names[1:]:
        if name not in others:
            return f"part {name!r} of the model is missing (role 'part')"
    for name in sorted(others):
        if name not in names:
            return f"{name!r} is no part of the model {first!r}"
    return ""
