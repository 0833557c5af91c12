"""A publisher's own trial of a package: the real daemon, a real worker."""

import json
from pathlib import Path

import pytest

from tools.expert import template
from tools.expert.__main__ import main

pytestmark = pytest.mark.process


def test_a_package_is_tried_as_a_board_tries_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hello"
    template.make(folder, "echo", model=None, licence="MIT")
    assert main(["test", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 passed, 100% must" in shown
    assert "ram_bytes = " in shown
    path = folder / "expert.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('expect = { text = "hello', 'expect = { text = "goodbye'))
    assert main(["test", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"]
    assert found["outcomes"][0]["wrong"] == ["text is 'hello there', not 'goodbye there'"]
