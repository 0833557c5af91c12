"""The process: its settings, its words and its exit codes."""

import fcntl
import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.mirror import on
from fakes.updating import Board

from aiosd.domain.update import Fault, UpdateError
from aiosd.update import __main__ as process
from aiosd.update.__main__ import main
from aiosd.update.bar import Bar, size
from aiosd.update.purse import AHEAD_BYTES, Purse


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """Put back what the process sets."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def settings(board: Board, extra: str = "") -> list[str]:
    path = board.root / "aiosd.toml"
    root = board.root / "root.json"
    root.write_bytes(board.bootstrap)
    path.write_text(
        f'[paths]\nexperts = ["{board.layout.experts[0]}"]\nstate = "{board.layout.state}"\n'
        f'sockets = "{board.root}/run"\n'
        f'[update]\nurl = "{board.mirror.url}"\nroot = "{root}"\nreserve = "0"\n{extra}'
    )
    return ["--config", str(path)]


def test_a_run_stages_what_is_new_and_says_so(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.repository.publish("one", 2)
    assert main(settings(board)) == 0
    assert "one: release 2 is staged" in capsys.readouterr().out
    assert board.still_serves_the_old_one()
    assert board.releases.installed("one") == [1, 2]


def test_a_check_speaks_json(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.repository.publish("one", 2)
    assert main([*settings(board), "--check", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["experts"]
    assert (found["name"], found["result"], found["release"]) == ("one", "offered", 2)


def test_what_is_not_taken_is_said(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.repository.publish("one", 2, requires={"arch": ["mips"]})
    assert main(settings(board)) == 0
    assert "release 2 is not taken" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "code"), [(500, 75), (404, 75)])
def test_what_may_work_later_ends_with_75(board: Board, status: int, code: int) -> None:
    board.repository.publish("one", 2, {"model.bin": b"x" * 100})
    board.mirror.mischief = on("timestamp.json", lambda handler: handler.answer(status, b""))
    assert main(settings(board)) == code


def test_nobody_there_ends_with_69(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    words = settings(board)
    board.mirror.__exit__()
    assert main(words) == 69
    assert "unreachable" in capsys.readouterr().err


def test_what_is_not_believed_ends_with_1(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.mirror.files["metadata/timestamp.json"] = b"{}"
    assert main([*settings(board), "--json"]) == 1
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["exit"]) == ("bad_metadata", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("url", "updates are off"),
        ("root", "No such file"),
        ("key", "unknown field"),
    ],
)
def test_wrong_settings_end_with_78(
    board: Board, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    words = settings(board, "unknown = 1\n" if change == "key" else "")
    path = Path(words[1])
    text = path.read_text()
    if change == "url":
        text = text.replace(board.mirror.url, "")
    if change == "root":
        text = text.replace("root.json", "none.json")
    path.write_text(text)
    assert main(words) == 78
    assert said in capsys.readouterr().err


def test_a_second_updater_leaves_at_once(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    folder = board.layout.state / "update"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(settings(board)) == 75
    assert "locked" in capsys.readouterr().err


def test_a_collector_at_work_is_waited_for_by_the_next_run(board: Board) -> None:
    with board.releases.alone():
        assert main(settings(board)) == 75


def test_sigterm_ends_in_order_and_the_next_run_goes_on(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    model = bytes(1_000_000)
    board.repository.publish("one", 2, {"model.bin": model})
    board.mirror.mischief = lambda handler, path: (
        bool(path.startswith("blobs/"))
        and signal.raise_signal(signal.SIGTERM) is None
        and handler is None
    )
    assert main(settings(board)) == 73
    assert "SIGTERM" in capsys.readouterr().err
    board.mirror.mischief = None
    assert main(settings(board)) == 0
    assert board.releases.installed("one") == [1, 2]


def test_without_tuf_it_says_what_to_install(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "aiosd.update.main")
    monkeypatch.setitem(sys.modules, "aiosd.update.trust", None)
    assert main(settings(board)) == 78
    assert "aiosd[update]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ([], 0),
        ([Fault.METERED], 75),
        ([Fault.METERED, Fault.STALLED], 69),
        ([Fault.STALLED, Fault.MISMATCH], 1),
        ([Fault.MISMATCH, Fault.CANCELLED], 73),
    ],
)
def test_the_worst_counts(faults: list[Fault], status: int) -> None:
    assert process._status(faults) == status


def test_a_bar_grows_to_its_end_and_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    now = [0.0]
    out = io.StringIO()
    bar = Bar(out, lambda: now[0])
    bar.came(5)  # before anything began
    bar.begin("one", 2, 1_000_000, 500_000)
    for _ in range(10):
        now[0] += 0.05
        bar.came(50_000)
    bar.end()
    bar.end()
    drawn = out.getvalue().replace("\x1b[K", "").split("\r")[1:]
    assert "50%" in drawn[0]
    assert "100%" in drawn[-1]
    assert drawn[-1].endswith("\n")
    assert len(drawn) <= 7, "ten times a second at most"
    assert all(len(line.rstrip("\n")) < 60 for line in drawn)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.00 GiB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_a_purse_is_written_ahead_and_settled_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    one = Purse(path, "2026-11-25", metered=True)
    one.came(100)
    cut = Purse(path, "2026-11-25", metered=True)
    assert cut.spent.fetched >= 100, "a cut gains nothing"
    assert cut.spent.fetched <= 100 + AHEAD_BYTES
    one.close()
    again = Purse(path, "2026-11-25", metered=False)
    assert (again.spent.fetched, again.spent.metered) == (100, 100)
    assert Purse(path, "2026-11-26", metered=False).spent.fetched == 0


def test_a_purse_without_a_budget_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    purse = Purse(path, "2026-11-25", metered=False, kept=False)
    purse.came(2 * AHEAD_BYTES)
    purse.close()
    assert purse.spent.fetched == 2 * AHEAD_BYTES
    assert not path.exists()


def test_a_damaged_purse_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    path.write_bytes(b"\x00" * 20)
    assert Purse(path, "2026-11-25", metered=False).spent.fetched == 0


def test_an_update_error_says_whether_it_passes() -> None:
    assert UpdateError(Fault.METERED, "x").passing
    assert not UpdateError(Fault.UNSIGNED, "x").passing
