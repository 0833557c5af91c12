"""Verbs that work on the disk find packages and state where the daemon that answers has them."""

import argparse
from pathlib import Path

import pytest
from fakes.daemon import STATUS, FakeDaemon

from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.cli.places import add_experts_dir, places, told
from aiosd.store.layout import Layout

TINY = (
    'name = "tiny"\nrelease = 1\nsummary = "Says it again."\nlicence = "Apache-2.0"\n'
    'task = "echo"\n[engine]\nname = "echo"\n[input]\ntype = "text"\n'
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A daemon's folder that is not the usual one."""
    monkeypatch.setitem(STATUS, "experts_folders", [str(tmp_path / "own"), "/usr/share/none"])
    monkeypatch.setitem(STATUS, "state_folder", str(tmp_path / "remembered"))
    monkeypatch.setitem(STATUS, "config_path", str(tmp_path / "own.toml"))
    return tmp_path


def test_what_the_daemon_says_comes_before_the_defaults(elsewhere: Path) -> None:
    with FakeDaemon(elsewhere):
        found = places(str(elsewhere))
    assert found.experts == (elsewhere / "own", Path("/usr/share/none"))
    assert found.state == elsewhere / "remembered"
    assert found.settings == elsewhere / "own.toml"


def test_a_folder_that_is_named_comes_before_the_daemon(elsewhere: Path) -> None:
    with FakeDaemon(elsewhere) as daemon:
        found = places(str(elsewhere), elsewhere / "mine" / "experts")
        assert daemon.received == []
    assert found.experts[0] == elsewhere / "mine" / "experts"
    assert found.heads == elsewhere / "mine" / "state" / "heads"


def test_an_older_daemon_that_does_not_tell_leaves_the_defaults() -> None:
    assert told({"version": "0.0.9"}) == Layout()


def test_without_a_daemon_it_is_as_the_settings_or_the_defaults_say(tmp_path: Path) -> None:
    assert places(str(tmp_path)).experts == Layout().experts


def test_install_goes_where_the_daemon_looks(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = elsewhere / "made" / "tiny"
    source.mkdir(parents=True)
    (source / "expert.toml").write_text(TINY, encoding="utf-8")
    with FakeDaemon(elsewhere):
        assert main(["install", str(source), "--socket-dir", str(elsewhere)]) == Exit.OK
        assert (elsewhere / "own" / "tiny" / "expert.toml").is_file()
        assert str(elsewhere / "own" / "tiny") in capsys.readouterr().out
        assert main(["remove", "tiny", "--socket-dir", str(elsewhere)]) == Exit.OK
    assert not (elsewhere / "own" / "tiny").exists()


def test_update_reads_the_settings_of_the_daemon(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "own.toml").write_text(
        f'[paths]\nstate = "{elsewhere}"\n[update]\nurl = "https://models.example/board"\n'
    )
    with FakeDaemon(elsewhere):
        assert main(["update", "status", "--socket-dir", str(elsewhere)]) == Exit.OK
    assert "https://models.example/board" in capsys.readouterr().out


def test_the_help_says_whose_folder_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_experts_dir(parser, "the folder")
    parser.print_help()
    assert "the daemon's first" in " ".join(capsys.readouterr().out.split())
