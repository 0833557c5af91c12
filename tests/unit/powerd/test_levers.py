"""What root may turn for the daemon, on simulated boards: bounds, names, and the way back."""

import os
import pwd
from pathlib import Path

import msgspec
import pytest
from fakes.board import CPUFREQ, FakeBoard
from fakes.simulated import Simulated
from hypothesis import given
from hypothesis import strategies as st

from aiosd.powerd.__main__ import allowed, answer, main
from aiosd.powerd.levers import Board, OrderError, run_nvpmodel, simulated_nvpmodel
from aiosd.protocol.levers import (
    MOST_BYTES,
    Levers,
    Look,
    Order,
    Refused,
    SetClock,
    SetMode,
    pack,
    unpack_answer,
    unpack_order,
)
from aiosd.sensors.mode import read_mode

LIMIT = f"{CPUFREQ}/policy0/scaling_max_freq"


def open_board(root: Path) -> Board:
    return Board(root, root / "found.json", simulated_nvpmodel(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An Orin Nano, as it is when the simulator has been left."""
    board = Simulated("orin-nano", tmp_path)
    board.close_all()
    return tmp_path


def limit(root: Path) -> int:
    return int((root / LIMIT).read_text())


def test_it_tells_bounds_limits_and_modes(root: Path) -> None:
    told = open_board(root).look()
    assert [each.name for each in told.policies] == ["policy0", "policy4"]
    first = told.policies[0]
    assert (first.min_khz, first.max_khz) == (115_000, 1_728_000)
    assert first.limit_khz == first.found_khz == 1_728_000
    assert (told.mode, told.modes) == ("MAXN_SUPER", ["7W", "15W", "25W", "MAXN_SUPER"])


def test_a_clock_is_limited_and_given_back(root: Path) -> None:
    board = open_board(root)
    board.set_clock("policy0", 900_000)
    assert limit(root) == 900_000
    board.set_clock("policy0", 700_000)
    told = board.look().policies[0]
    assert (told.limit_khz, told.found_khz) == (700_000, 1_728_000)
    board.set_clock("policy0", 0)
    assert limit(root) == 1_728_000


@pytest.mark.parametrize("khz", [1, 114_999, 1_728_001, 99_000_000])
def test_a_clock_outside_the_hardwares_bounds_is_refused(root: Path, khz: int) -> None:
    with pytest.raises(OrderError, match="policy0 runs at 115000 to 1728000 kHz"):
        open_board(root).set_clock("policy0", khz)
    assert limit(root) == 1_728_000
    assert not (root / "found.json").exists()


@pytest.mark.parametrize("name", ["policy9", "../policy0", "policy0/stats", "."])
def test_a_policy_that_is_none_is_refused_with_those_that_there_are(root: Path, name: str) -> None:
    with pytest.raises(OrderError, match="no cpufreq policy") as caught:
        open_board(root).set_clock(name, 900_000)
    assert caught.value.known == ["policy0", "policy4"]


def test_a_mode_is_set_by_its_name(root: Path) -> None:
    open_board(root).set_mode("15W")
    mode = read_mode(root)
    assert mode is not None
    assert mode.name == "15W"


def test_a_mode_that_is_none_is_refused_with_those_that_there_are(root: Path) -> None:
    with pytest.raises(OrderError, match="no power mode '50W'") as caught:
        open_board(root).set_mode("50W")
    assert caught.value.known == ["7W", "15W", "25W", "MAXN_SUPER"]


def test_a_board_without_modes_says_so(tmp_path: Path) -> None:
    FakeBoard(tmp_path).policy(0, [0], max_khz=1_000_000)
    with pytest.raises(OrderError, match="this board has no power modes"):
        open_board(tmp_path).set_mode("7W")


def test_everything_is_put_back_as_it_was_found(root: Path) -> None:
    (root / LIMIT).write_text("1200000\n")
    board = open_board(root)
    board.set_mode("7W")
    for khz in (900_000, 500_000):
        board.set_clock("policy0", khz)
    board.restore()
    assert limit(root) == 1_200_000
    assert board.look().mode == "MAXN_SUPER"
    assert not (root / "found.json").exists()


def test_a_helper_that_was_killed_puts_it_back_when_it_starts_again(root: Path) -> None:
    killed = open_board(root)
    killed.set_mode("7W")
    killed.set_clock("policy0", 900_000)
    again = open_board(root)
    assert limit(root) == 1_728_000
    assert again.look().mode == "MAXN_SUPER"


def test_a_damaged_record_is_left_and_nothing_is_changed_by_it(root: Path) -> None:
    (root / "found.json").write_text('{"clocks": {"policy0": "fast"}}')
    open_board(root)
    assert limit(root) == 1_728_000


def test_nothing_is_changed_that_could_not_be_put_back(root: Path) -> None:
    board = Board(root, root / "no folder" / "found.json", simulated_nvpmodel(root))
    with pytest.raises(OrderError, match="nothing was changed"):
        board.set_clock("policy0", 900_000)
    assert limit(root) == 1_728_000


def test_a_limit_that_is_a_link_is_not_followed(root: Path) -> None:
    (root / "precious").write_text("keep me")
    (root / LIMIT).unlink()
    (root / LIMIT).symlink_to(root / "precious")
    with pytest.raises(OrderError):
        open_board(root).set_clock("policy0", 900_000)
    assert (root / "precious").read_text() == "keep me"


def test_a_kernel_that_refuses_is_told_of(root: Path) -> None:
    board = open_board(root)
    (root / LIMIT).unlink()
    (root / LIMIT).mkdir()
    with pytest.raises(OrderError, match="scaling_max_freq: Is a directory"):
        board.set_clock("policy0", 900_000)


# ── packets ───────────────────────────────────────────────────────────────────────────────────


def test_orders_are_answered_with_how_everything_stands(root: Path) -> None:
    board = open_board(root)
    told = answer(board, pack(SetClock(policy="policy4", khz=900_000)))
    assert isinstance(told, Levers)
    assert told.policies[1].limit_khz == 900_000
    assert isinstance(answer(board, pack(SetMode(name="25W"))), Levers)
    last = answer(board, pack(Look()))
    assert isinstance(last, Levers)
    assert last.mode == "25W"
    assert unpack_answer(pack(last)) == last


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"x" * (MOST_BYTES + 1),
        msgspec.msgpack.encode({"t": "shell", "command": "rm"}),
        msgspec.msgpack.encode({"t": "clock", "policy": "policy0", "khz": -1}),
        msgspec.msgpack.encode({"t": "clock", "policy": "policy0", "khz": 900_000, "x": 1}),
        msgspec.msgpack.encode({"t": "clock", "policy": "../../x", "khz": 900_000}),
        msgspec.msgpack.encode({"t": "clock", "policy": "policy0"}),
        msgspec.msgpack.encode({"t": "mode", "name": ""}),
        msgspec.msgpack.encode({"t": "mode", "name": "7W; reboot"}),
    ],
)
def test_what_is_no_order_is_refused_and_changes_nothing(root: Path, data: bytes) -> None:
    told = answer(open_board(root), data)
    assert isinstance(told, Refused)
    assert told.reason.startswith("not understood")
    assert limit(root) == 1_728_000


@given(data=st.binary(max_size=64))
def test_any_bytes_are_an_order_or_are_refused(data: bytes) -> None:
    try:
        order: Order = unpack_order(data)
    except ValueError:
        return
    assert unpack_order(pack(order)) == order


# ── who may ask ───────────────────────────────────────────────────────────────────────────────


def test_only_root_and_the_daemons_user_may_ask() -> None:
    other = max(each.pw_uid for each in pwd.getpwall()) + 1
    me = pwd.getpwuid(os.getuid()).pw_name
    assert allowed(0, "aiosd")
    assert allowed(os.getuid(), me)
    assert not allowed(other, me)
    assert not allowed(other, "no such user")


def test_without_systemd_and_without_a_path_there_is_nothing_to_listen_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert main([]) == 78
    assert "name one with --socket" in caplog.text


def fake_nvpmodel(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvpmodel"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr("aiosd.powerd.levers._NVPMODEL", str(tool))


def test_nvidias_tool_gets_the_number_and_no_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'echo "$@" > {tmp_path}/args; read answer || echo closed >> {tmp_path}/args'
    fake_nvpmodel(tmp_path, script, monkeypatch)
    run_nvpmodel(3)
    assert (tmp_path / "args").read_text() == "-m 3\nclosed\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'NVPM WARN: Reboot required. Do you want to? YES'", "needs a reboot"),
        ("echo 'NVPM ERROR: no'; exit 1", "NVPM ERROR: no"),
        ("exit 3", "exit status 3"),
    ],
)
def test_a_tool_that_refuses_or_wants_to_reboot_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    fake_nvpmodel(tmp_path, script, monkeypatch)
    with pytest.raises(OrderError, match=said):
        run_nvpmodel(0)


def test_a_missing_tool_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiosd.powerd.levers._NVPMODEL", "/nowhere/nvpmodel")
    with pytest.raises(OrderError, match="No such file"):
        run_nvpmodel(0)
