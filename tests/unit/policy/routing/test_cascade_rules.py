"""An answer stands unless a check that was measured, or a known weakness, speaks against it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.manifest import Check
from aiosd.policy.routing.cascade import Given, doubt, judge, trusted, weak_spot, wilson_high

SURE = Check(kind="score", least=0.8, passed=500, wrong=10, data="held out")
AGREE = Check(kind="agreement", passed=500, wrong=10, data="held out")


def check(kind: str, least: float = 0.0, passed: int = 500, wrong: int = 10) -> Check:
    return Check(kind=kind, least=least, passed=passed, wrong=wrong, data="held out")  # type: ignore[arg-type]


def test_a_check_is_used_only_if_its_error_was_measured_to_be_small() -> None:
    assert trusted(SURE)
    assert not trusted(None)
    assert not trusted(check("score", wrong=75))
    assert not trusted(check("score", passed=10, wrong=0))  # ten are no proof
    assert wilson_high(0, 0) == 1.0
    assert wilson_high(1, 10) == pytest.approx(0.4042, abs=1e-3)


def test_an_answer_that_a_check_lets_pass_stands_and_nobody_else_is_looked_for() -> None:
    def above() -> str | None:
        raise AssertionError("nobody is to be looked for")

    verdict = judge([Given("small", {"score": 0.9})], {"small": SURE}.get, above)
    assert verdict == (None, "")


def test_one_that_it_does_not_goes_one_layer_up_and_is_in_doubt_at_the_last() -> None:
    answers = [Given("small", {"score": 0.41})]
    assert judge(answers, {"small": SURE}.get, lambda: "large") == (
        "large",
        "score 0.41, under 0.8",
    )
    assert judge(answers, {"small": SURE}.get, lambda: None).doubt == "score 0.41, under 0.8"


def test_without_a_good_check_an_answer_is_given_once() -> None:
    bad = check("score", least=0.8, wrong=200)
    for known in ({}, {"small": bad}):
        assert judge([Given("small", {"score": 0.01})], known.get, lambda: "large") == (None, "")


@pytest.mark.parametrize(
    ("measured", "output", "stands"),
    [
        (check("margin", 0.2), {"top": [{"score": 0.9}, {"score": 0.3}]}, True),
        (check("margin", 0.2), {"top": [{"score": 0.5}, {"score": 0.4}]}, False),
        (check("margin", 0.2), {"top": [{"score": 0.5}]}, True),
        (check("margin", 0.2), {"label": "x"}, True),
        (check("score", 0.2), {"label": "x"}, True),
        (check("token_margin", 0.6), {"text": "on", "margin": 0.93}, True),
        (check("token_margin", 0.6), {"text": "on", "margin": 0.52}, False),
        (check("token_margin", 0.6), {"text": "on"}, True),
        (check("grammar"), {"json": {}}, True),
        (check("grammar"), {"value": {"intent": "none"}, "text": "{}"}, True),
        (check("grammar"), {"text": "{"}, False),
    ],
)
def test_what_the_checks_look_at(
    measured: Check, output: dict[str, object], *, stands: bool
) -> None:
    assert (doubt(measured, output, []) == "") is stands


def test_two_that_agree_need_no_third() -> None:
    known = {"small": AGREE, "large": AGREE}.get
    first, same, other = (
        Given("small", {"label": "a"}),
        Given("large", {"label": "a"}),
        Given("large", {"label": "b"}),
    )
    assert judge([first], known, lambda: "large").ask == "large"
    assert judge([first, same], known, lambda: "third") == (None, "")
    assert judge([first, other], known, lambda: "third").ask == "third"


@pytest.mark.parametrize(
    ("text", "weak"),
    [
        ("what is 17 * 23?", "arithmetic"),
        ("What is 12 divided by 4", "arithmetic"),
        (
            "Tom has 3 boxes with 12 apples each and eats 5 of them; how many apples are left?",
            "arithmetic",
        ),
        ("who was the third king of Norway", "facts"),
        ("Which of the following is a mammal?\nA. carp\nB. bat", "facts"),
        ("write a poem about the sea", "open chat"),
        ("Why do people like to be scared?", "open chat"),
        ("turn off the lamp in the kitchen", ""),
        ("set a timer for 10 minutes", ""),
        ("", ""),
    ],
)
def test_what_small_models_get_wrong_is_known_by_its_form(text: str, weak: str) -> None:
    assert weak_spot(text) == weak


def test_a_weak_spot_is_doubted_whatever_a_check_says() -> None:
    verdict = judge([Given("small", {"text": "391"})], {}.get, lambda: None, "arithmetic")
    assert verdict == (None, "arithmetic: small models get it wrong")


@given(st.text(max_size=3000))
def test_any_text_may_be_looked_at(text: str) -> None:
    assert weak_spot(text) in {"", "arithmetic", "facts", "open chat"}


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_the_bound_is_never_under_what_was_counted(wrong: int, passed: int) -> None:
    wrong = min(wrong, passed)
    assert wilson_high(wrong, passed) >= wrong / passed - 1e-12
