"""What is shown of an expert whose model is in parts: one file of it, and how many there are."""

import argparse
import io
import json
from types import SimpleNamespace
from typing import cast

from aiosd.cli.failure import Exit
from aiosd.cli.look import show
from aiosd.cli.render import Paper
from aiosd.client import Client
from aiosd.domain.model_parts import PART, part_name

NAMES = [part_name("m", each, 3) for each in (1, 2, 3)]


def shown(names: list[str], *, as_json: bool = False) -> str:
    files = [
        {"path": name, "role": PART if number else "model"} for number, name in enumerate(names)
    ]
    body = {"folder": "/x", "manifest": {"name": "one", "files": files}}
    client = cast("Client", SimpleNamespace(show=lambda _: body))
    out = io.StringIO()
    options = argparse.Namespace(name="one")
    assert show(options, client, Paper(as_json=as_json, out=out)) == Exit.OK
    return out.getvalue()


def test_people_see_the_first_file_and_the_number_of_parts() -> None:
    text = shown(NAMES)
    assert NAMES[0] in text
    assert NAMES[1] not in text
    assert "model_parts" in text
    assert "model_parts" not in shown(NAMES[:1])


def test_programs_see_all_of_them() -> None:
    files = json.loads(shown(NAMES, as_json=True))["manifest"]["files"]
    assert [row["path"] for row in files] == NAMES
