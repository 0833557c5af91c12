"""aiosctl's verbs in this process, against a fake daemon."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.cli import daemon_checks
from aiosd.cli.check import Check, Verdict, fail, ok, warn
from aiosd.cli.doctor import report
from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.cli.render import Paper
from aiosd.cli.uplink_checks import uplink_checks
from aiosd.client.address import find_address, unreachable
from aiosd.domain.errors import NoRouteError
from aiosd.domain.inputs import ChatInput, JsonInput, SeriesInput, TextInput
from aiosd.protocol import messages
from aiosd.store.layout import Layout

Ctl = Callable[..., int]


def last_run(daemon: FakeDaemon) -> messages.Run:
    run = daemon.runs()[-1].verb
    assert isinstance(run, messages.Run)
    return run


def test_run_prints_the_text(ctl: Ctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl("run", "echo", "hello there") == Exit.OK
    assert capsys.readouterr() == ("hello there\n", "")


def test_run_as_json_prints_the_outcome(ctl: Ctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl("--json", "run", "--text", "hello") == Exit.OK
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["output"]["text"] == "hello"
    assert outcome["usage"]["run_ms"] == 1.5


def test_run_streams_as_json_lines(ctl: Ctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl("run", "--stream", "--text", "a b", "--json") == Exit.OK
    *pieces, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert pieces == [{"n": 0, "text": "a"}, {"n": 1, "text": "b"}]
    assert end["outcome"]["output"]["text"] == "a b"


def test_verbose_tells_who_and_how_long_on_stderr(
    ctl: Ctl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("run", "-v", "--text", "x") == Exit.OK
    told = capsys.readouterr().err
    assert "echo release 1: fake" in told
    assert "run 1.5 ms" in told


def test_every_kind_of_input_arrives(ctl: Ctl, daemon: FakeDaemon, tmp_path: Path) -> None:
    text, table = tmp_path / "a.txt", tmp_path / "a.csv"
    text.write_text("from a file", encoding="utf-8")
    table.write_text("t,a\nmonday,1\ntuesday,\n", encoding="utf-8")
    assert ctl("run", "--text", f"@{text}") == Exit.OK
    assert last_run(daemon).input == TextInput(text="from a file")
    assert ctl("run", "--text", "@@home") == Exit.OK
    assert last_run(daemon).input == TextInput(text="@home")
    assert ctl("run", "--data", '{"a": [1]}') == Exit.OK
    assert last_run(daemon).input == JsonInput(value={"a": [1]})
    assert ctl("run", "--chat", '[{"role": "user", "content": "hi"}]') == Exit.OK
    assert isinstance(last_run(daemon).input, ChatInput)
    assert ctl("run", "--image", str(text)) == Exit.OK
    assert ctl("run", "--audio", str(text)) == Exit.OK
    assert ctl("run", "--series", str(table), "--period", "60") == Exit.OK
    series = last_run(daemon).input
    assert isinstance(series, SeriesInput)
    assert (series.period_seconds, series.columns, len(series.values or [])) == (60.0, 1, 2)


def test_stdin_is_read_for_a_dash(
    ctl: Ctl, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed"))
    assert ctl("run", "--text", "-") == Exit.OK
    assert last_run(daemon).input == TextInput(text="typed")


def test_options_arrive(ctl: Ctl, daemon: FakeDaemon) -> None:
    words = "run echo hi --deadline 2 --keep-alive -1 --top-k 3 --max-tokens 9 --seed 4"
    words += " --stop A --stop B --temperature 0 --token-top-k 7 --priority background"
    assert ctl(*words.split()) == Exit.OK
    options = last_run(daemon).options
    assert (options.deadline_seconds, options.keep_alive_seconds, options.top_k) == (2.0, -1.0, 3)
    sampling = options.sampling
    assert (sampling.max_tokens, sampling.seed, sampling.stop) == (9, 4, ["A", "B"])
    assert (sampling.temperature, sampling.top_k, options.priority) == (0.0, 7, "background")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "--text", "fail"], Exit.EXPERT_FAILED, "expert_failed: the worker crashed"),
        (["run", "--text", "busy"], Exit.BUSY, "try again in 0.5 s"),
        (["run", "ecko", "x"], Exit.UNKNOWN_EXPERT, "did you mean echo?"),
        (["show", "ecko"], Exit.UNKNOWN_EXPERT, "did you mean echo?"),
        (["run", "--text", "hold", "--timeout", "0.1"], Exit.DEADLINE, "timeout"),
        (["run", "--data", "{"], Exit.INVALID, "no JSON"),
        (["run", "--image", "/nowhere"], Exit.NO_INPUT, "/nowhere: No such file"),
        (["run", "--text", "@/nowhere"], Exit.NO_INPUT, "/nowhere: No such file"),
        (["run", "echo"], Exit.USAGE, "exactly one input"),
        (["run", "will it rain"], Exit.USAGE, "without naming an expert: --text"),
        (["run", "echo", "x", "--expert", "echo"], Exit.USAGE, "once"),
        (["run", "--text", "x", "--image", "y"], Exit.USAGE, "exactly one input"),
        (["remove", "nobody", "--experts-dir", "/nowhere"], Exit.PACKAGE, "no expert named"),
    ],
)
def test_an_error_is_one_line_with_the_next_step_and_a_code(
    ctl: Ctl, capsys: pytest.CaptureFixture[str], words: list[str], code: Exit, says: str
) -> None:
    assert ctl(*words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("aiosctl: ")
    assert err.count("\n") == 1
    assert says in err


def test_an_error_as_json_has_the_code_and_the_details(
    ctl: Ctl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("run", "--text", "busy", "--json") == Exit.BUSY
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["exit"]) == ("busy", 75)
    assert error["details"] == {"retry_after_seconds": 0.5}


def test_no_daemon_is_unreachable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--socket-dir", str(tmp_path), "ps"]) == Exit.UNREACHABLE
    assert "systemctl status aiosd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("list", "Gives back what it gets."),
        ("show echo", "folder"),
        ("ps -v", "no-new-privileges"),
        ("status", "512 MiB"),
        ("load echo", "echo: ready"),
        ("unload echo", "echo: ready"),
        ("pin echo", "echo: ready"),
        ("unpin echo", "echo: ready"),
        ("reload", "added: b"),
        ("uplink status", "3 of 100"),
        ("uplink status", "key refused"),
        ("uplink log -n 3", "auto"),
        ("uplink off", "until the daemon restarts"),
        ("version", "daemon"),
    ],
)
def test_a_verb_speaks_to_people_and_to_programs(
    ctl: Ctl, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    assert ctl(*words.split()) == Exit.OK
    shown = capsys.readouterr().out
    assert says in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert ctl(*words.split(), "--json") == Exit.OK
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_list_names_refused_packages_on_stderr(
    ctl: Ctl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("list") == Exit.OK
    assert "unknown field `nam`" in capsys.readouterr().err


def test_unpin_says_so_to_the_daemon(ctl: Ctl, daemon: FakeDaemon) -> None:
    assert ctl("unpin", "echo") == Exit.OK
    assert daemon.received[-1].verb == messages.Pin(expert="echo", pinned=False)


def test_events_are_lines(ctl: Ctl, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.publish("expert.ready", at=0.0, expert="echo")
    assert ctl("events", "--timeout", "0.5") == Exit.OK
    assert "expert.ready          expert=echo" in capsys.readouterr().out


def test_events_as_json_are_lines_too(
    ctl: Ctl, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.publish("request.done", at=0.5)
    daemon.publish("expert.ready", at=1.0, expert="echo")
    assert ctl("events", "expert", "--timeout", "0.5", "--json") == Exit.OK
    event = {"topic": "expert.ready", "at": 1.0, "expert": "echo"}
    assert json.loads(capsys.readouterr().out) == event


def test_install_and_remove_work_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, experts = tmp_path / "tiny", tmp_path / "experts"
    source.mkdir()
    (source / "expert.toml").write_text(
        'name = "tiny"\nrelease = 1\nsummary = "Says it again."\nlicence = "Apache-2.0"\n'
        'task = "echo"\n[engine]\nname = "echo"\n[input]\ntype = "text"\n',
        encoding="utf-8",
    )
    shared = ["--experts-dir", str(experts), "--socket-dir", str(tmp_path)]
    assert main(["install", str(source), *shared]) == Exit.OK
    assert "installed tiny release 1" in capsys.readouterr().out
    assert (experts / "tiny" / "expert.toml").is_file()
    assert main(["remove", "tiny", *shared, "--no-reload", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"expert": "tiny", "reload": None}
    assert not (experts / "tiny").exists()


def test_install_tells_the_daemon(
    ctl: Ctl, daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("install", str(tmp_path / "nothing"), "--experts-dir", str(tmp_path)) == Exit.PACKAGE
    assert daemon.received == []
    assert "aiosctl: package: " in capsys.readouterr().err


def found(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_doctor_tells_what_the_kernel_does_not_do_for_memory() -> None:
    fine: dict[str, object] = {
        "memory_available_bytes": 2**30,
        "memory_watched_by": "PSI",
        "cgroup_problems": [],
    }
    (check,) = daemon_checks.memory_checks(fine)
    assert (check.verdict, check.found) == (Verdict.OK, "1.0 GiB available, watched by PSI")
    bad = {**fine, "memory_short": True, "cgroup_problems": ["the memory controller is off"]}
    groups, memory = daemon_checks.memory_checks(bad)
    assert groups.verdict is memory.verdict is Verdict.WARN
    assert "controller is off" in groups.found
    assert memory.found.startswith("short")
    assert list(daemon_checks.memory_checks({})) == []  # an older daemon


def test_doctor_sees_a_daemon_that_answers(daemon: FakeDaemon, tmp_path: Path) -> None:
    layout = Layout(experts=(tmp_path,), profiles=(), state=tmp_path)
    checks = found(daemon_checks.daemon_checks(layout, find_address(daemon.folder)))
    assert checks["daemon"].verdict is Verdict.OK
    assert checks["api.sock"].verdict is Verdict.OK
    assert checks["ram cap"].found.startswith("512 MiB")
    assert "unknown field" in checks["refused"].found
    assert checks["settings"].verdict is Verdict.OK


UP: dict[str, object] = {
    "on": True,
    "allow": ["auto"],
    "users": "*",
    "endpoints": [{"name": "a", "model": "m", "address": "x:1", "state": "ready"}],
    "today": {"requests": 1, "requests_per_day": 9, "money": 0.0, "money_per_day": 0.0},
}


@pytest.mark.parametrize(
    ("change", "name", "verdict", "says"),
    [
        ({}, "uplink a", Verdict.OK, "m at x:1"),
        ({"on": False, "why": "so it is set"}, "uplink", Verdict.OK, "nothing leaves the board"),
        ({"allow": []}, "uplink", Verdict.WARN, "no kind of request"),
        ({"users": []}, "uplink", Verdict.WARN, "nobody"),
        ({"why": "it crashed"}, "uplink", Verdict.WARN, "it crashed"),
        ({"today": {"damaged": True}}, "uplink budget", Verdict.WARN, "damaged"),
        (
            {"today": {"requests": 9, "requests_per_day": 9}},
            "uplink budget",
            Verdict.WARN,
            "used up for today: requests",
        ),
        ({"endpoints": [{"name": "a", "problem": "no key"}]}, "uplink a", Verdict.FAIL, "no key"),
        ({"endpoints": [{"name": "a", "state": "resting"}]}, "uplink a", Verdict.WARN, "resting"),
    ],
)
def test_doctor_sees_how_the_uplink_stands(
    change: dict[str, object], name: str, verdict: Verdict, says: str
) -> None:
    check = found(uplink_checks(lambda: {**UP, **change}))[name]
    assert check.verdict is verdict
    assert says in check.found


def test_doctor_says_that_only_operators_may_look_at_the_uplink() -> None:
    def broken() -> dict[str, object]:
        raise NoRouteError("no", nearest=[])

    assert found(uplink_checks(None))["uplink"].verdict is Verdict.OK
    assert found(uplink_checks(broken))["uplink"].verdict is Verdict.WARN


def test_doctor_sees_that_no_daemon_answers(tmp_path: Path) -> None:
    layout = Layout(experts=(tmp_path,), profiles=(), state=tmp_path)
    checks = found(daemon_checks.absent_checks(layout, unreachable(tmp_path / "api.sock", 1.0)))
    assert checks["daemon"].verdict is Verdict.FAIL
    assert "systemctl status aiosd" in checks["daemon"].step
    assert daemon_checks.socket_check(tmp_path / "api.sock", "asking").verdict is Verdict.FAIL


def test_doctor_names_the_line_of_a_wrong_setting(tmp_path: Path) -> None:
    settings = tmp_path / "aiosd.toml"
    settings.write_text("[ram]\ncapp = 1\n", encoding="utf-8")
    check = daemon_checks.settings_check(settings)
    assert check.verdict is Verdict.FAIL
    assert f"{settings}:2" in check.found


def test_doctor_reports_every_check_and_exits_by_the_worst() -> None:
    checks = [ok("a", "fine"), warn("b", "so so " * 30, "do this"), fail("c", "bad", "do that")]
    out = io.StringIO()
    assert report(checks, Paper(as_json=False, out=out)) == Exit.EXPERT_FAILED
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "→ do that" in text
    assert text.endswith("1 ok, 1 warn, 1 fail\n")
    assert report(checks[:2], Paper(as_json=False, out=io.StringIO())) == Exit.OK
    out = io.StringIO()
    report(checks, Paper(as_json=True, out=out))
    assert json.loads(out.getvalue())["checks"][2]["step"] == "do that"
