"""`aiosctl update`: where releases are and why, and the process that it runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from aiosd.cli import update as verb
from aiosd.cli.completion import completion
from aiosd.cli.failure import Exit
from aiosd.cli.main import main, make_parser
from aiosd.domain.rollout import Rollout, State
from aiosd.store.ledger import Ledger

Ctl = Callable[..., int]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "aiosd.toml"
    path.write_text(
        f'[paths]\nstate = "{tmp_path}"\n[update]\nurl = "https://models.example/board"\n'
    )
    return path


@pytest.fixture
def ctl(config: Path) -> Ctl:
    return lambda *words: main(["update", *words, "--config", str(config)])


def put(folder: Path, row: Rollout) -> None:
    ledger = Ledger(folder / "releases.db")
    ledger.put(row)
    ledger.close()


def row(**changes: object) -> Rollout:
    facts = {"name": "one", "release": 2, "sha256": "0" * 64, "state": State.FETCHING, "since": 1.0}
    return Rollout(**{**facts, **changes})


def test_nothing_yet_is_said_and_makes_no_ledger(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("status") == Exit.OK
    out = capsys.readouterr().out
    assert "https://models.example/board, channel stable" in out
    assert "no release has come" in out
    assert not (tmp_path / "releases.db").exists()


def test_status_says_where_a_release_is_and_why(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, row(state=State.PLANNED, reason="out_of_window: fetching waits for 22:00-05:00"))
    put(tmp_path, row(name="two", state=State.QUARANTINED, reason="canary: 3 of 5 failed"))
    assert ctl("status") == Exit.OK
    out = capsys.readouterr().out
    assert "waits to be fetched" in out
    assert "one 2: out_of_window: fetching waits for 22:00-05:00" in out
    assert "two 2: canary: 3 of 5 failed" in out


def test_status_as_json_is_one_document_of_facts(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, row(deadline=5.0))
    put(tmp_path, row(name="two"))
    assert ctl("status", "one", "--json") == Exit.OK
    (found,) = json.loads(capsys.readouterr().out)["experts"]
    assert (found["expert"], found["state"], found["seconds_left"]) == ("one", "fetching", 0.0)


def test_a_clock_before_a_time_that_has_been_is_said(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(tmp_path / "releases.db")
    ledger.raise_time_floor(1e11)
    ledger.close()
    assert ctl("status") == Exit.OK
    assert "clock_untrusted" in capsys.readouterr().out


def test_cancel_gives_up_what_is_being_fetched(ctl: Ctl, tmp_path: Path) -> None:
    put(tmp_path, row())
    assert ctl("cancel", "one") == Exit.OK
    ledger = Ledger(tmp_path / "releases.db")
    found = ledger.row("one")
    ledger.close()
    assert found is not None
    assert (found.state, found.reason) == (State.CANCELLED, "cancelled by aiosctl")


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        (["cancel"], None, "say which expert"),
        (["cancel", "one"], None, "nothing is on its way"),
        (["cancel", "one"], State.COLLECTED, "nothing is on its way"),
    ],
)
def test_cancel_says_why_it_cannot(
    ctl: Ctl,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    state: State | None,
    said: str,
) -> None:
    if state is not None:
        put(tmp_path, row(state=state))
    assert ctl(*words) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_what_the_daemon_has_is_given_up_by_the_daemon(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, row(state=State.CANARY))
    nowhere = ["--socket-dir", str(tmp_path / "none")]
    status = main(["update", "cancel", "one", "--config", str(config), *nowhere])
    assert status == Exit.UNREACHABLE
    assert "unreachable" in capsys.readouterr().err


def test_operators_who_may_not_read_the_ledger_ask_the_daemon(
    ctl: Ctl,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path, row(name="hidden"))
    told = {"expert": "one", "release": 3, "state": "canary", "attempts": 0, "since": 1.0}
    body = {"rollouts": [{**told, "reason": None, "deadline": 5.0}], "holds": ["one"]}
    monkeypatch.setattr(verb.os, "access", lambda *_: False)
    monkeypatch.setattr(verb.Client, "rollouts", lambda _self: body)
    assert ctl("status") == Exit.OK
    out = capsys.readouterr().out
    assert "answers its first requests" in out
    assert "hidden" not in out


def test_a_damaged_ledger_is_said(
    ctl: Ctl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "releases.db").write_bytes(b"no database" * 1000)
    assert ctl("status") == Exit.PACKAGE
    assert "releases.db" in capsys.readouterr().err


def test_wrong_settings_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[update]\nwindow = ["at night"]\n')
    assert main(["update", "status", "--config", str(path)]) == Exit.PACKAGE
    assert "at night" in capsys.readouterr().err


class Child:
    """A process that ends with what the test says."""

    command: list[str]
    status = 0

    def __init__(self, command: list[str]) -> None:
        type(self).command = command
        self.interrupts = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def wait(self) -> int:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return self.status


@pytest.mark.parametrize("status", [0, 1, 69, 73, 75, 78])
def test_check_and_run_end_as_the_updater_does(
    ctl: Ctl, config: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(verb.subprocess, "Popen", Child)
    monkeypatch.setattr(Child, "status", status)
    assert ctl("run", "one", "--now", "--json") == status
    assert Child.command[1:] == [
        *("-m", "aiosd.update", "one", "--now", "--json", "--config", str(config))
    ]
    assert ctl("check") == status
    assert "--check" in Child.command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_actions(shell: str) -> None:
    script = completion(shell, make_parser())
    assert "check run status cancel" in script
