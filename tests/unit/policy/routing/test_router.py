"""Which expert answers, and why none can."""

import pytest

from aiosd.domain.errors import (
    InvalidError,
    NoRouteError,
    OverPowerError,
    UnknownExpertError,
)
from aiosd.domain.inputs import InputType
from aiosd.policy.routing.router import RouteFacts, Standing, Wanted, route

SPAM = RouteFacts("spam", "text.classify", InputType.TEXT, 1000)
MOOD = RouteFacts("mood", "text.classify", InputType.TEXT, 5000)
CHAT = RouteFacts("chat", "text.generate", InputType.CHAT, 5000)
CATS = RouteFacts("cats", "image.classify", InputType.IMAGE, 5000)
ALL = {each.expert: each for each in (SPAM, MOOD, CHAT, CATS)}
COLD = {name: Standing(ready=False, need_bytes=100) for name in ALL}


def text(expert: str | None = None, task: str | None = None, size: int = 10) -> Wanted:
    return Wanted(expert, task, InputType.TEXT, size)


def test_a_name_is_taken_at_its_word() -> None:
    assert route(text("mood"), ALL, COLD.__getitem__).why == "named"


def test_a_name_that_does_not_exist_suggests_one_that_does() -> None:
    with pytest.raises(UnknownExpertError, match="did you mean spam") as caught:
        route(text("spma"), ALL, COLD.__getitem__)
    assert caught.value.details["nearest"] == ["spam"]


def test_a_named_expert_of_another_input_says_what_it_takes() -> None:
    with pytest.raises(InvalidError, match="cats takes image, not text") as caught:
        route(text("cats"), ALL, COLD.__getitem__)
    assert caught.value.field == "input.type"


def test_an_input_too_large_says_the_limit() -> None:
    with pytest.raises(InvalidError, match="at most 1000"):
        route(text("spam", size=1001), ALL, COLD.__getitem__)


def test_a_text_may_begin_a_chat() -> None:
    assert route(text(task="text.generate"), ALL, COLD.__getitem__).expert == "chat"


def test_the_loaded_one_goes_before_the_smaller_and_the_smaller_before_the_name() -> None:
    assert route(text(task="text.classify"), ALL, COLD.__getitem__).expert == "mood"
    smaller = {**COLD, "spam": Standing(ready=False, need_bytes=50)}
    assert route(text(task="text.classify"), ALL, smaller.__getitem__).expert == "spam"
    loaded = {**smaller, "mood": Standing(ready=True, need_bytes=100)}
    chosen = route(text(task="text.classify"), ALL, loaded.__getitem__)
    assert (chosen.expert, chosen.why) == ("mood", "the cheapest of 2 for text.classify")


def test_one_who_takes_larger_inputs_is_found_for_a_large_one() -> None:
    assert route(text(task="text.classify", size=2000), ALL, COLD.__getitem__).expert == "mood"


def test_nobody_who_can_says_what_was_closest() -> None:
    with pytest.raises(NoRouteError, match="no installed expert does task") as caught:
        route(text(task="text.classify", size=9000), ALL, COLD.__getitem__)
    assert len(caught.value.details["nearest"]) == 2  # type: ignore[arg-type]


def test_a_kind_of_input_that_two_tasks_take_must_be_told_apart() -> None:
    with pytest.raises(NoRouteError, match="name one, or name a task"):
        route(text(), ALL, COLD.__getitem__)
    only = route(Wanted(None, None, InputType.IMAGE, 10), ALL, COLD.__getitem__)
    assert (only.expert, only.why) == ("cats", "the only one for image")


def priced(**joules: float | None) -> dict[str, Standing]:
    """Return how experts stand: all loaded, all as large, each at its price."""
    return {
        name: Standing(ready=True, need_bytes=100, joules=price) for name, price in joules.items()
    }


def test_while_power_is_short_the_one_that_takes_least_goes_first_and_says_so() -> None:
    standing = priced(spam=2.0, mood=0.51)
    standing["spam"] = Standing(ready=True, need_bytes=10, joules=2.0)
    wanted = Wanted(None, "text.classify", InputType.TEXT, 10, frugal=True)
    found = route(wanted, ALL, standing.__getitem__)
    assert found.expert == "mood"
    assert found.why == (
        "the cheapest of 2 in joules, about 0.51 J, for text.classify, as power is short"
    )


def test_while_power_is_short_an_expert_of_known_joules_goes_before_an_unknown_one() -> None:
    wanted = Wanted(None, "text.classify", InputType.TEXT, 10, frugal=True)
    assert route(wanted, ALL, priced(spam=None, mood=9.0).__getitem__).expert == "mood"
    both = priced(spam=None, mood=None)
    both["mood"] = Standing(ready=False, need_bytes=1)
    assert route(wanted, ALL, both.__getitem__).why == "the cheapest of 2 for text.classify"


def test_a_named_expert_that_takes_more_joules_than_the_request_allows_is_refused() -> None:
    wanted = Wanted("spam", None, InputType.TEXT, 10, max_joules=1.5)
    with pytest.raises(OverPowerError, match=r"about 2 J, the request allows 1.5") as caught:
        route(wanted, ALL, priced(spam=2.0).__getitem__)
    assert caught.value.details == {"expert": "spam", "predicted_joules": 2.0, "max_joules": 1.5}
    assert caught.value.retry_after_seconds is None
    assert route(wanted, ALL, priced(spam=None).__getitem__).expert == "spam"


def test_a_bound_on_joules_leaves_those_of_the_task_that_keep_it() -> None:
    standing = priced(spam=2.0, mood=0.5)
    wanted = Wanted(None, "text.classify", InputType.TEXT, 10, max_joules=1.0)
    assert route(wanted, ALL, standing.__getitem__).expert == "mood"
    less = Wanted(None, "text.classify", InputType.TEXT, 10, max_joules=0.1)
    with pytest.raises(OverPowerError, match=r"mood is expected to take about 0.5 J"):
        route(less, ALL, standing.__getitem__)
