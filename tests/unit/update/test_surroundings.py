"""What the updater finds around it."""

import stat
from pathlib import Path

import pytest

from aiosd.domain.update import Update
from aiosd.update import surroundings
from aiosd.update.surroundings import device_id, is_metered, this_machine


def test_the_owners_word_for_the_device_comes_first(tmp_path: Path) -> None:
    assert device_id(Update(device_id="kitchen"), tmp_path) == "kitchen"


def test_else_it_is_derived_from_the_machines_own_and_does_not_show_it(tmp_path: Path) -> None:
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    found = device_id(Update(), tmp_path, machine)
    assert found == device_id(Update(), tmp_path, machine)
    assert "0123456789abcdef" not in found


@pytest.mark.parametrize("text", [None, "", "uninitialized\n"])
def test_else_one_is_made_and_kept(tmp_path: Path, text: str | None) -> None:
    machine = tmp_path / "machine-id"
    if text is not None:
        machine.write_text(text)
    found = device_id(Update(), tmp_path, machine)
    assert found == device_id(Update(), tmp_path, machine)
    other = tmp_path / "other"
    other.mkdir()
    assert found != device_id(Update(), other, machine)


def busctl(folder: Path, says: str) -> None:
    program = folder / "busctl"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("says", "metered"),
    [("echo u 1", True), ("echo u 3", True), ("echo u 2", False), ("exit 1", False)],
)
def test_networkmanager_is_asked_whether_the_connection_costs_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, *, metered: bool
) -> None:
    busctl(tmp_path, says)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert is_metered(Update()) is metered


def test_the_owners_word_for_the_connection_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busctl(tmp_path, "echo u 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert is_metered(Update(metered="yes"))
    assert not is_metered(Update(metered="no"))


def test_without_networkmanager_a_connection_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings.shutil, "which", lambda _name: None)
    assert not is_metered(Update())


def test_this_machine_is_what_the_kernel_says() -> None:
    found = this_machine()
    assert found.arch
    assert found.page_bytes % 4096 == 0
