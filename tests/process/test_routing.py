"""Texts find their expert through the real daemon, its fitter, and what the packages bring."""

import json
from pathlib import Path

import pytest
from fakes.running import DaemonProcess, RawClient, until

from aiosd.domain.decision import Decision
from aiosd.domain.inputs import TextInput
from aiosd.domain.request import Options
from aiosd.protocol.messages import (
    Decisions,
    End,
    Error,
    Explain,
    Feedback,
    Reload,
    Reply,
    Run,
    Status,
)

pytestmark = pytest.mark.process

ROOMS = ["kitchen", "hall", "bedroom", "garage", "attic", "cellar", "garden", "office"]
LAMP = [f"turn {how} the light in the {room}" for room in ROOMS for how in ("on", "off")]
MONEY = [
    f"{ask} my {kind} account"
    for ask in ("pay", "close", "open", "how much is in", "freeze")
    for kind in ("savings", "checking", "joint")
]


def routing(texts: list[str]) -> str:
    return f"\n[routing]\nutterances = {json.dumps(texts)}\n"


@pytest.fixture
def taught(daemon: DaemonProcess) -> DaemonProcess:
    daemon.install("lamp", extra=routing(LAMP))
    daemon.install("money", extra=routing(MONEY))
    return daemon


def body(answer: object) -> dict[str, object]:
    assert isinstance(answer, Reply), answer
    return answer.body


def wait_for_head(client: RawClient, other_than: object = None) -> str:
    def head() -> str | None:
        told = body(client.ask(Status()))["routing"]
        assert isinstance(told, dict)
        found = told["head"]
        return found if found != other_than and not told["learning"] else None

    return until(head, "a text head", 60.0)


def say(client: RawClient, text: str, **options: object) -> object:
    return client.ask(Run(input=TextInput(text=text), options=Options(**options)))  # type: ignore[arg-type]


def test_a_text_finds_its_expert_and_may_be_judged_once(taught: DaemonProcess) -> None:
    client = taught.start().client()
    wait_for_head(client)
    end = say(client, "turn off the light in the studio", explain=True)
    assert isinstance(end, End), end
    assert end.outcome.expert == "lamp"
    decision = end.outcome.decision
    assert isinstance(decision, Decision)
    assert decision.winner == "lamp"
    assert decision.grams
    assert {gate.name: gate.passed for gate in decision.gates}["scope"]
    plain = say(client, "please freeze the savings account")
    assert isinstance(plain, End)
    assert plain.outcome.expert == "money"
    assert not isinstance(plain.outcome.decision, Decision)
    judged = body(client.ask(Feedback(id=decision.id, good=False)))
    assert judged["expert"] == "lamp"
    assert isinstance(judged["ok"], float)
    assert judged["ok"] < 0.9
    assert isinstance(client.ask(Feedback(id=decision.id, good=False)), Error)
    kept = body(taught.admin().ask(Decisions(last=5)))
    rows = kept["decisions"]
    assert isinstance(rows, list)
    assert [row["winner"] for row in rows] == ["money", "lamp"]
    assert "grams" not in rows[1]
    assert rows[1]["actual"]["ok"] is False
    assert (taught.state / "success.json").exists()


def test_a_text_for_nobody_is_told_so_and_explained(taught: DaemonProcess) -> None:
    client = taught.start().client()
    wait_for_head(client)
    text = "why were the old romans so fond of philosophy"
    shown = body(client.ask(Explain(text=text)))["decision"]
    assert isinstance(shown, dict)
    assert "winner" not in shown or shown["winner"] is None
    assert not shown["gates"][0]["passed"]
    refused = say(client, text)
    assert isinstance(refused, Error)
    assert refused.code == "no_route"
    assert len(refused.details["nearest"]) == 2  # type: ignore[arg-type]
    lamp = body(client.ask(Explain(text="turn on the light")))["decision"]
    assert isinstance(lamp, dict)
    assert lamp["winner"] == "lamp"
    assert lamp["grams"]


def test_a_head_is_kept_over_a_restart_and_over_a_package_that_came_and_went(
    taught: DaemonProcess,
) -> None:
    client = taught.start().client()
    first = wait_for_head(client)
    heads = taught.state / "heads"
    before = (heads / f"{first}.head").read_bytes()
    folder = taught.install("weather", extra=routing([f"rain in the {room}" for room in ROOMS]))
    admin = taught.admin()
    admin.ask(Reload())
    second = wait_for_head(client, first)
    assert second != first
    forget(folder)
    (heads / f"{first}.head").unlink()
    admin.ask(Reload())
    assert wait_for_head(client, second) == first
    assert (heads / f"{first}.head").read_bytes() == before


def forget(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
