"""Answer small, check, go one layer up, through the real daemon."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from fakes.running import DaemonProcess

from aiosd.domain.inputs import TextInput
from aiosd.domain.request import Options
from aiosd.protocol.messages import End, Reload, Run

pytestmark = pytest.mark.process

CHECK = '\n[check]\nkind = "{kind}"\nleast = 0.9\npassed = 500\nwrong = {wrong}\ndata = "made up"\n'
ASKED = Run(task="echo", input=TextInput(text="one two"))


def install(daemon: DaemonProcess, name: str, kind: str, mebibytes: int, wrong: int = 5) -> None:
    path = daemon.install(name, mebibytes=mebibytes) / "expert.toml"
    path.write_text(path.read_text() + CHECK.format(kind=kind, wrong=wrong))


def outcome_of(daemon: DaemonProcess, run: Run) -> End:
    answer = daemon.client().ask(run)
    assert isinstance(answer, End)
    return answer


def test_two_that_agree_are_believed_and_what_both_took_is_told(daemon: DaemonProcess) -> None:
    install(daemon, "a-small", "agreement", 4)
    install(daemon, "b-large", "agreement", 64)
    daemon.start()
    outcome = outcome_of(daemon, ASKED).outcome
    assert outcome.expert == "b-large"
    assert outcome.why.endswith("after a-small was in doubt")
    assert outcome.output["text"] == "one two"
    assert not outcome.doubt
    assert outcome.usage.load_ms > 0
    named = outcome_of(daemon, Run(expert="a-small", input=TextInput(text="x"))).outcome
    assert (named.expert, bool(named.doubt)) == ("a-small", False)
    streamed = daemon.client().ask(
        Run(task="echo", input=TextInput(text="x"), options=Options(stream=True))
    )
    assert streamed is not None


def test_an_answer_that_nobody_confirms_is_given_and_marked(daemon: DaemonProcess) -> None:
    install(daemon, "alone", "agreement", 1)
    daemon.start()
    outcome = outcome_of(daemon, ASKED).outcome
    assert (outcome.expert, outcome.doubt) == ("alone", "no second answer agrees")


def test_a_check_that_is_too_often_wrong_is_not_asked(daemon: DaemonProcess) -> None:
    install(daemon, "a-small", "agreement", 4, wrong=100)
    install(daemon, "b-large", "agreement", 64, wrong=100)
    daemon.start()
    outcome = outcome_of(daemon, ASKED).outcome
    assert (outcome.expert, bool(outcome.doubt)) == ("a-small", False)


@pytest.mark.skipif(not find_spec("ai_edge_litert"), reason="needs the litert extra")
def test_a_bundled_expert_that_is_not_sure_says_so(daemon: DaemonProcess, repo: Path) -> None:
    shutil.copytree(repo / "experts" / "sms-spam", daemon.experts / "sms-spam")
    daemon.start()
    asked = {
        text: outcome_of(daemon, Run(task="text.classify", input=TextInput(text=text))).outcome
        for text in (
            "WINNER! You have been picked for a 500 pound prize. Call 09061234567 now. 150p/min",
            "Free tickets for the match on Saturday, reply to get yours",
        )
    }
    sure, unsure = asked.values()
    assert (sure.output["label"], bool(sure.doubt)) == ("spam", False)
    assert unsure.expert == "sms-spam"
    assert unsure.doubt == "score 0.77, under 0.8"


@pytest.mark.skipif(not find_spec("ai_edge_litert"), reason="needs the litert extra")
def test_a_bundled_expert_in_doubt_asks_a_larger_one_that_answers_the_same_and_no_other(
    daemon: DaemonProcess, repo: Path
) -> None:
    # Of the bundled experts no two answer one question: the larger one is the same model, under
    # another name and with a looser check.
    for name in ("sms-spam", "safety-filter"):
        shutil.copytree(repo / "experts" / name, daemon.experts / name)
    ask = Run(
        task="text.classify",
        input=TextInput(text="Free tickets for the match on Saturday, reply to get yours"),
    )
    daemon.start()
    alone = outcome_of(daemon, ask).outcome
    assert (alone.expert, alone.doubt) == ("sms-spam", "score 0.77, under 0.8")
    shutil.copytree(repo / "experts" / "sms-spam", daemon.experts / "sms-spam-large")
    path = daemon.experts / "sms-spam-large" / "expert.toml"
    manifest = path.read_text().replace('name = "sms-spam"', 'name = "sms-spam-large"', 1)
    manifest = manifest.replace("ram_bytes = 7131136", "ram_bytes = 14262272")
    path.write_text(manifest.replace("least = 0.8", "least = 0.7"))
    daemon.admin().ask(Reload())
    climbed = outcome_of(daemon, ask).outcome
    assert climbed.expert == "sms-spam-large"
    assert climbed.why.endswith("after sms-spam was in doubt")
    assert climbed.output["label"] in {"ham", "spam"}
    assert not climbed.doubt
