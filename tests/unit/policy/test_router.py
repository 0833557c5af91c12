"""Which expert answers, and why none can."""

import pytest

from aiosd.domain.errors import InvalidError, NoRouteError, UnknownExpertError
from aiosd.domain.inputs import InputType
from aiosd.policy.router import RouteFacts, Standing, Wanted, route

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
