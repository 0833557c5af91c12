"""More made-up names for the Home Assistant templates; for training only.

The held-out sentences are drawn from `tools.train.home_command.households` alone. A name that the
hash of `homes.held_out_value` keeps for them is never drawn from here either.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent.parent / "recipes" / "home-command.names.txt"


@cache
def more_names() -> dict[str, tuple[str, ...]]:
    """Read the names by kind, as `Homes.more` wants them."""
    found = lists_of(FILE)
    words = found["light_word"]
    return found | {
        "thing": (*found["thing"], *_in_rooms(found["thing"], found["area"])),
        "binary_sensor": found["sensor"],
        "light": (*(f"{one} lamp" for one in words[::2]), *(f"{one} light" for one in words[1::3])),
    }


def lists_of(file: Path) -> dict[str, tuple[str, ...]]:
    """Read a file of names: `[kind]`, and below it names with semicolons between."""
    return {
        kind: tuple(dict.fromkeys(" ".join(each.split()) for each in names.split(";")))
        for kind, names in re.findall(
            r"^\[(\w+)\]\n([^[]*)", file.read_text(encoding="utf-8"), re.MULTILINE
        )
    }


def _in_rooms(things: Sequence[str], rooms: Sequence[str]) -> tuple[str, ...]:
    """Return every third thing with a room before it, as people name what they have twice."""
    return tuple(f"{rooms[at % len(rooms)]} {thing}" for at, thing in enumerate(things[::3]))
