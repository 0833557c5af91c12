"""`aiosctl top` and `energy`: what they show in 80 columns, from whatever the daemon says."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.daemon import BODIES, FakeDaemon
from hypothesis import example, given
from hypothesis import strategies as st

from aiosd.cli.check import Verdict
from aiosd.cli.daemon_checks import power_check
from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.cli.power import Line, bar, fitting, painted, picture
from aiosd.cli.render import Paper
from aiosd.protocol import messages

POWER: dict[str, object] = {
    "meter": "rpi-pmic",
    "source": "measured_partial",
    "scope": "board",
    "watts": 3.46,
    "idle_watts": 2.8,
    "silence": "",
    "heat": {"cpu-thermal": 48.2, "gpu-thermal": 41.0},
    "battery": {"share": 0.8, "state": "discharging"},
    "clock_share": 0.7,
    "allowance": {"cap_watts": 4.0, "why": ["duty 56%", "2 of 4 threads"]},
}
STATUS: dict[str, object] = {
    "version": "0.1.0",
    "board": "raspberry-pi-5",
    "uptime_seconds": 3725.0,
    "ram_used_bytes": 109_051_904,
    "ram_cap_bytes": 115_343_360,
    "queue": 3,
    "requests": {"answered": 1588, "failed": 2, "cold_loads": 7},
    "evictions": 4,
    "power": POWER,
}
PS: dict[str, object] = {
    "experts": [
        {
            "name": "a-very-long-name-of-an-expert",
            "state": "ready",
            "ram_bytes": 27_262_976,
            "idle_seconds": 4000.0,
            "requests": 407,
            "queue": 3,
            "pinned": True,
        },
        {"name": "digits", "state": "failed", "ram_bytes": 0, "requests": 0, "queue": 0},
    ],
    "hosts": [{"engine": "litert", "pss_bytes": 25_270_681}],
}
ENERGY: dict[str, object] = {
    "source": "measured_partial",
    "scope": "board",
    "meter_joules": 26.7,
    "idle_joules": 24.4,
    "other_joules": 0.48,
    "gap_seconds": 0.0,
    "idle_watts": 2.8,
    "since": 1_700_000_000.0,
    "experts": {
        "a-very-long-name-of-an-expert": {
            "joules": 0.98,
            "request_joules": 0.96,
            "requests": 96,
            "cpu_seconds": 1.0,
            "units_per_joule": 1545.06,
        }
    },
    "clients": {f"api:{n:010x}": 0.1 * n for n in range(14)},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(
    status: dict[str, object] = STATUS,
    ps: dict[str, object] = PS,
    energy: dict[str, object] = ENERGY,
) -> list[str]:
    paper = Paper(as_json=False, out=io.StringIO())
    return [painted(line, paper) for line in picture(status, ps, energy)]


def test_top_shows_ram_and_watts_against_their_caps_heat_queue_and_each_experts_joules() -> None:
    assert lines() == [
        "aiosd 0.1.0 on raspberry-pi-5, up 1 h 2 min",
        "RAM    [############################··] 104 MiB of 110 MiB",
        "power  [##########################····] 3.46 of 4.00 W, idle 2.80 W",
        "       measured_partial of the board",
        "       duty 56%; 2 of 4 threads; clocks at 70%",
        "heat   cpu-thermal 48 °C, battery 80% discharging",
        "queue  3 waiting, 1588 answered, 2 failed, 7 loads, 4 evictions",
        "",
        "EXPERT            STATE           RAM   IDLE   DONE QUEUE   JOULES   J/REQ TOK/J",
        "a-very-long-name… ready*     26.0 MiB 66 min    407     3     0.98    0.01  1545",
        "digits            failed        0 KiB      -      0     0        -       -     -",
        "host litert       resident   24.1 MiB",
    ]


def test_without_a_cap_and_without_a_meter_it_says_so() -> None:
    uncapped = {**POWER, "allowance": None, "clock_share": 1.0}
    assert "power  3.46 W, idle 2.80 W, no cap" in lines({**STATUS, "power": uncapped})
    none = {"meter": "none", "watts": None}
    assert "power  no meter and no model" in lines({**STATUS, "power": none})
    silent = {**POWER, "watts": None, "silence": "in1_input: empty"}
    told = lines({**STATUS, "power": silent})
    assert "power  no reading" in told
    assert "       no reading now: in1_input: empty" in told


def test_the_hottest_zone_is_shown() -> None:
    hot = {**POWER, "heat": {"a": 30.0, "b": 71.6, "c": None}}
    assert any("b 72 °C" in line for line in lines({**STATUS, "power": hot}))


words = st.text(max_size=90)
anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
tables = st.dictionaries(
    st.sampled_from([*POWER, *STATUS, "name", "state", "requests", "experts", "joules"]),
    st.one_of(anything, st.dictionaries(words, anything, max_size=3), st.lists(anything)),
)


@given(status=tables, row=tables, power=tables, joules=tables)
@example(status={"uptime_seconds": float("nan")}, row={}, power={}, joules={})
@example(status={"uptime_seconds": float("inf")}, row={}, power={}, joules={})
@example(status={}, row={}, power={"meter": None, "silence": {"\n": None}}, joules={})
def test_no_line_is_wider_than_eighty_columns_or_moves_the_cursor(
    status: dict[str, object],
    row: dict[str, object],
    power: dict[str, object],
    joules: dict[str, object],
) -> None:
    body = {**status, "power": power}
    for line in lines(body, {"experts": [row]}, {"experts": {"x": joules}}):
        assert len(line) <= 80
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", line)


@pytest.mark.parametrize(
    ("value", "bound", "filled", "how"),
    [
        (0, 10, 0, "good"),
        (5, 10, 15, "good"),
        (9.5, 10, 28, "warn"),
        (10, 10, 30, "warn"),
        (99, 10, 30, "bad"),
        (None, 10, 0, "faint"),
        (1, 0, 0, "faint"),
        (-3, 10, 0, "good"),
    ],
)
def test_a_bar_has_thirty_places_and_a_colour_by_how_full_it_is(
    value: object, bound: object, filled: int, how: str
) -> None:
    text, colour = bar(value, bound)
    assert (len(text), text.count("#"), colour) == (32, filled, how)


def test_colours_are_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    line: Line = (("RAM ", ""), ("[##]", "bad"))
    assert painted(line, Paper(as_json=False, out=Terminal())) == "RAM \x1b[31m[##]\x1b[0m"
    assert painted(line, Paper(as_json=False, out=io.StringIO())) == "RAM [##]"


def test_more_experts_than_lines_are_counted() -> None:
    rows: list[Line] = [((str(n), ""),) for n in range(30)]
    shown = fitting(rows, 10)
    assert len(shown) == 10
    assert shown[-1] == (("… and 21 more", "faint"),)
    assert fitting(rows[:10], 10) == rows[:10]


# ── through the command line ──────────────────────────────────────────────────────────────────


@pytest.fixture
def ctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    monkeypatch.setitem(BODIES, messages.Energy, ENERGY)
    monkeypatch.setitem(BODIES, messages.Status, STATUS)
    monkeypatch.setenv("AIOSD_SOCKET_DIR", str(tmp_path))
    with FakeDaemon(tmp_path):
        yield lambda *words: main(words)


def test_once_and_in_a_pipe_it_is_one_picture(
    ctl: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("top", "--once") == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith("aiosd 0.1.0 on raspberry-pi-5")
    assert "\x1b" not in out


def test_as_json_it_is_one_document_with_all_three(
    ctl: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("--json", "top") == Exit.OK
    assert json.loads(capsys.readouterr().out).keys() == {"status", "ps", "energy"}


def test_energy_has_experts_clients_and_where_the_rest_went(
    ctl: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("energy") == Exit.OK
    out = capsys.readouterr().out
    assert re.search(r"a-very-long-name-of-an-expert +96 +0.98 +0.01 +1 +1545", out)
    assert re.search(r"api:000000000d +1.3\n", out)
    assert re.search(r"4 more +0.6\n", out)
    assert re.search(r"since +2023-11-1[45]", out)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("power", "verdict", "said"),
    [
        (POWER, Verdict.OK, "rpi-pmic, measured_partial of the board"),
        ({**POWER, "silence": "x: empty"}, Verdict.WARN, "x: empty"),
        ({"meter": "none", "source": "none"}, Verdict.WARN, "no watt cap can be held"),
        ({}, Verdict.WARN, "no meter and no model"),
        ({"meter": "default-model", "source": "default_model"}, Verdict.WARN, "up to a third"),
    ],
)
def test_doctor_says_where_watts_come_from(
    power: dict[str, object], verdict: Verdict, said: str
) -> None:
    check = power_check({"power": power})
    assert check.verdict is verdict
    assert said in check.found


def test_status_gives_every_figure_of_power_a_line(
    ctl: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("status") == Exit.OK
    out = capsys.readouterr().out
    assert re.search(r"^power meter +rpi-pmic$", out, re.MULTILINE)
    assert re.search(r"^power watts +3.46$", out, re.MULTILINE)
    assert re.search(r"^requests +answered 1588, failed 2, cold_loads 7$", out, re.MULTILINE)
