"""The router's verbs on the command line, and what installing changes for others."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.cli import collisions
from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.domain.errors import PackageError
from aiosd.policy.routing.collision import Shift, shifts
from aiosd.policy.routing.head import Accuracy
from aiosd.protocol import messages

Ctl = Callable[..., int]


def test_explain_prints_every_step_with_its_numbers(
    ctl: Ctl, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("explain", "say it again", "--task", "echo") == Exit.OK
    out = capsys.readouterr().out
    assert "big: ram 900, 500 allowed" in out
    assert "echo (loud): 61.0%" in out
    assert "gate scope: 2.5 against -0.9, passed" in out
    assert "gate sure: 0.61 against 0.84, not passed" in out
    assert "' ech' 0.21" in out
    assert "4. echo: may be meant for it (0.61)" in out
    assert "decided in 84 µs" in out
    assert daemon.received[-1].verb == messages.Explain(text="say it again", task="echo")


def test_explain_as_json_is_the_record(ctl: Ctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl("explain", "say it again", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["decision"]["winner"] == "echo"


def test_feedback_tells_what_is_now_thought_of_the_expert(
    ctl: Ctl, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("feedback", "7", "good") == Exit.OK
    assert capsys.readouterr().out == "echo (loud): answers well with 91.0% now\n"
    assert daemon.received[-1].verb == messages.Feedback(id=7, good=True)


def test_decisions_are_listed_with_what_became_of_them(
    ctl: Ctl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl("decisions", "--last", "3") == Exit.OK
    out = capsys.readouterr().out
    assert "1.9 ms" in out
    assert "good" in out
    assert "85.7%" in out


def test_a_verbose_run_that_names_nobody_asks_for_the_record(ctl: Ctl, daemon: FakeDaemon) -> None:
    assert ctl("run", "--text", "hello", "-v") == Exit.OK
    assert ctl("run", "echo", "hello", "-v") == Exit.OK
    asked = [
        run.verb.options.explain for run in daemon.runs() if isinstance(run.verb, messages.Run)
    ]
    assert asked == [True, False]


# ── what a package changes for others ────────────────────────────────────────────────────────


def share(right: int, count: int) -> Accuracy:
    return Accuracy(right=right, count=count)


def test_those_that_lose_most_come_first_and_a_newcomer_loses_nothing() -> None:
    found = shifts(
        {"a": share(9, 10), "b": share(20, 20)},
        {"a": share(8, 10), "b": share(10, 20), "c": share(1, 1)},
    )
    assert [(each.expert, each.lost) for each in found] == [("b", 10), ("a", 1), ("c", 0)]
    assert [each.too_much for each in found] == [True, False, False]


def test_a_text_or_two_of_few_are_chance() -> None:
    assert not Shift("a", share(5, 5), share(3, 5)).too_much
    assert Shift("a", share(50, 50), share(47, 50)).too_much
    assert not Shift("a", share(100, 100), share(95, 100)).too_much


def package(folder: Path, name: str, texts: list[str], held: Sequence[str] = ()) -> Path:
    (folder / name).mkdir(parents=True)
    calibration = "".join(f"\t{text}\n" for text in held).encode()
    file = (
        f'[[files]]\npath = "held.tsv"\nsize = {len(calibration)}\n'
        f'sha256 = "{hashlib.sha256(calibration).hexdigest()}"\n'
    )
    (folder / name / "held.tsv").write_bytes(calibration)
    (folder / name / "expert.toml").write_text(
        f'name = "{name}"\nrelease = 1\nsummary = "Says it again."\nlicence = "MIT"\n'
        'task = "echo"\n[engine]\nname = "echo"\n[input]\ntype = "text"\n'
        f"{file if held else ''}[routing]\nutterances = {json.dumps(texts)}\n"
        + ('calibration = "held.tsv"\n' if held else ""),
        encoding="utf-8",
    )
    return folder / name


LAMP = [
    f"{verb} the {light} in the {room}"
    for verb in ("turn on", "turn off", "dim")
    for light in ("light", "lamp")
    for room in ("kitchen", "hall", "bedroom", "garage", "attic", "cellar")
]
MONEY = [
    f"{verb} my {kind} account" for verb in ("pay", "close", "open", "freeze", "show")
    for kind in ("savings", "checking", "joint", "old", "new")
]  # fmt: skip


def test_a_package_of_other_texts_is_installed_and_the_table_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts = tmp_path / "experts"
    package(experts, "lamp", LAMP)
    source = package(tmp_path / "made", "money", MONEY)
    shared = ["--experts-dir", str(experts), "--no-reload", "--socket-dir", str(tmp_path)]
    assert main(["install", str(source), *shared]) == Exit.OK
    assert "new" in capsys.readouterr().out
    assert main(["remove", "money", *shared, "--json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)["texts"]
    assert {row["expert"]: row["after"] is None for row in rows} == {"lamp": False, "money": True}


def test_a_package_that_takes_the_texts_of_another_is_refused_unless_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts = tmp_path / "experts"
    own = [f"is {what} burning {where}" for what in ("one", "any") for where in ("here", "there")]
    package(experts, "lamp", LAMP, own)
    source = package(tmp_path / "made", "thief", own)
    shared = ["--experts-dir", str(experts), "--no-reload", "--socket-dir", str(tmp_path)]
    assert main(["install", str(source), *shared]) == Exit.PACKAGE
    said = capsys.readouterr()
    assert "takes texts from experts that are installed: lamp" in said.err
    assert "lamp" in said.out
    assert not (experts / "thief").exists()
    assert main(["install", str(source), "--allow-collisions", *shared]) == Exit.OK
    assert (experts / "thief").exists()


def test_one_that_takes_too_much_is_refused_with_how_many_of_whom() -> None:
    hurt = [Shift("lamp", share(40, 40), share(30, 40)), Shift("new", None, share(1, 1))]
    with pytest.raises(PackageError, match=r"lamp \(40/40 → 30/40\)"):
        collisions.refuse(hurt, "new")
    collisions.refuse(hurt[1:], "new")
    collisions.refuse(hurt, "lamp")
