"""A teacher at an endpoint: labels with their probability, within the money, errors told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes.openai import FakeOpenai, Script, raw, status

from tools.distill.fault import BudgetError, NonsenseError, RecipeError, UnansweredError
from tools.distill.teachers.endpoint import EndpointTeacher, Purse
from tools.distill.teachers.spec import Endpoint
from tools.distill.top_k import softmax

LABELS = ("ham", "spam", "other")


def says(content: str, **more: object) -> Script:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, **more}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return status(200, json.dumps({"choices": [choice], "usage": usage}).encode())


def teacher(fake: FakeOpenai, folder: Path, **more: object) -> EndpointTeacher:
    spec = Endpoint(url=fake.url, model="large", timeout=2.0, **more)  # type: ignore[arg-type]
    return EndpointTeacher(spec, LABELS, Purse(folder / "spent.json", spec.money), "a-key")


def test_a_label_alone_is_taken_to_be_nearly_sure(tmp_path: Path) -> None:
    with FakeOpenai(last=says(" Spam. ")) as fake:
        shares = softmax(teacher(fake, tmp_path).logits(["WIN"]))[0]
    assert shares.argmax() == 1
    assert shares[1] > 0.99
    body = json.loads(fake.asked[0].body)
    assert "Text: WIN" in body["messages"][0]["content"]
    assert body["temperature"] == 0
    assert fake.asked[0].headers["authorization"] == "Bearer a-key"


def test_logprobs_of_the_first_token_give_every_label_its_share(tmp_path: Path) -> None:
    top = [{"token": " sp", "logprob": np.log(0.7)}, {"token": "ham", "logprob": np.log(0.2)}]
    script = says("spam", logprobs={"content": [{"top_logprobs": top}]})
    with FakeOpenai(last=script) as fake:
        shares = softmax(teacher(fake, tmp_path).logits(["WIN"]))[0]
    assert shares[1] == pytest.approx(0.777, abs=0.01)
    assert shares[0] == pytest.approx(0.222, abs=0.01)


@pytest.mark.parametrize(
    "script",
    [says("I think it might be spam"), status(200, b"{"), status(200, b"[]"), status(200, b"{}")],
    ids=["prose", "torn", "list", "empty"],
)
def test_what_is_no_label_is_nonsense(tmp_path: Path, script: Script) -> None:
    with FakeOpenai(last=script) as fake, pytest.raises(NonsenseError):
        teacher(fake, tmp_path).logits(["WIN"])


@pytest.mark.parametrize(
    "script", [status(500), status(429), raw(b"nothing like HTTP\r\n\r\n"), raw()]
)
def test_a_refusal_that_may_pass_is_asked_again_later(tmp_path: Path, script: Script) -> None:
    with FakeOpenai(last=script) as fake, pytest.raises(UnansweredError):
        teacher(fake, tmp_path).logits(["WIN"])


def test_one_that_does_not_answer_in_time_is_unanswered(tmp_path: Path) -> None:
    with FakeOpenai() as fake:
        fake.last = fake.stall()
        spec = Endpoint(url=fake.url, model="large", timeout=0.1)
        late = EndpointTeacher(spec, LABELS, Purse(tmp_path / "spent.json", 0.0), "")
        with pytest.raises(UnansweredError):
            late.logits(["WIN"])


def test_a_question_that_the_endpoint_calls_wrong_is_the_recipes_fault(tmp_path: Path) -> None:
    with FakeOpenai(last=status(400)) as fake, pytest.raises(RecipeError, match="400"):
        teacher(fake, tmp_path).logits(["WIN"])


def test_no_question_is_asked_that_could_cost_more_than_is_left(tmp_path: Path) -> None:
    prices = {"price_in": 1000.0, "price_out": 1000.0, "max_tokens": 10}
    with FakeOpenai(last=says("ham")) as fake:
        asking = teacher(fake, tmp_path, money=0.6, **prices)
        with pytest.raises(BudgetError, match="raise teacher"):
            asking.logits(["x"] * 20)
    # 110 tokens at a thousand a million each, and the most that the next could have cost.
    count = len(fake.asked)
    assert count >= 2
    spent = json.loads((tmp_path / "spent.json").read_text())["spent"]
    assert spent == pytest.approx(0.11 * count)
    assert spent <= 0.6


def test_money_that_was_spent_stays_spent_after_a_restart(tmp_path: Path) -> None:
    purse = Purse(tmp_path / "spent.json", 1.0)
    purse.set_aside(0.7)
    with pytest.raises(BudgetError):
        Purse(tmp_path / "spent.json", 1.0).set_aside(0.4)


@pytest.mark.parametrize("url", ["ftp://x/v1", "nonsense", "http://"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(RecipeError, match="url"):
        EndpointTeacher(
            Endpoint(url=url, model="m"), LABELS, Purse(tmp_path / "spent.json", 0.0), ""
        )


def test_a_prompt_without_the_text_is_refused(tmp_path: Path) -> None:
    spec = Endpoint(url="http://127.0.0.1:1/v1", model="m", prompt="which?")
    with pytest.raises(RecipeError, match="text"):
        EndpointTeacher(spec, LABELS, Purse(tmp_path / "spent.json", 0.0), "")
