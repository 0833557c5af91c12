"""What an emulated board says is shown, and its verdict is the exit status."""

from pathlib import Path

import pytest

from tools.board_vm.boot import FINE, WRONG, boot
from tools.board_vm.build import DISK, NeedError, need


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a disk, and an emulator that is a shell script."""
    (tmp_path / DISK).touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    emulator = programs / "qemu-system-aarch64"
    emulator.write_text('#!/bin/sh\nexec cat "$(dirname "$0")/said"\n')
    emulator.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return tmp_path


@pytest.mark.parametrize(
    ("last", "status"), [(FINE, 0), (WRONG, 1), ("Kernel panic - not syncing", 2)]
)
def test_the_verdict_is_the_exit_status(
    board: Path, capsys: pytest.CaptureFixture[str], last: str, status: int
) -> None:
    (board / "programs" / "said").write_bytes(f"ok    machine: aarch64\r\n{last}\r\n".encode())
    assert boot(board, 20.0) == status
    assert f"ok    machine: aarch64\n{last}\n" in capsys.readouterr().out


def test_a_board_that_was_never_built_says_how(board: Path) -> None:
    (board / DISK).unlink()
    with pytest.raises(NeedError, match="board_vm build"):
        boot(board, 20.0)


def test_a_missing_program_is_named_by_its_package() -> None:
    with pytest.raises(NeedError, match="sudo apt install a-package"):
        need({"a-program-that-nobody-has": "a-package", "sh": "dash"})
