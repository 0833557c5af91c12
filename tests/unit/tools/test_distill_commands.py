"""The distillery's command line: what it says where the extra is not installed."""

import sys

import pytest

from tools.distill import __main__ as commands


def fails_with(name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command that needs a module which is not there."""

    def act(_: object) -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(commands, "_methods", act)
    return commands.main(["methods"])


def test_a_module_of_the_extra_that_is_missing_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails_with("torch.nn", monkeypatch) == 1
    said = capsys.readouterr().err
    assert said == "the module torch.nn is missing here: pip install 'aiosd[distill]'\n"


def test_a_module_of_our_own_that_is_missing_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        fails_with("tools.distill.nowhere", monkeypatch)
    assert "tools.distill.nowhere" not in sys.modules
