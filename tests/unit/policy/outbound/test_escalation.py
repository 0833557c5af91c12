"""What may leave the board: two words are needed, and the text is none of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.decision import Reason, Removed
from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    DeadlineError,
    ExpertFailedError,
    NoRouteError,
    OverPowerError,
    OverRamError,
    RefusedPrivacyError,
    UnknownExpertError,
)
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.outbound.escalation import (
    Asker,
    EscalationRules,
    Permit,
    Question,
    is_last_resort,
    permit,
    unanswered,
)
from aiosd.policy.routing.no_route import refusal
from aiosd.policy.routing.route_facts import RouteFacts, Wanted

ANNA = Asker("api:01", 1000)
OPEN = EscalationRules(frozenset({"*"}), None)


def question(
    privacy: Privacy = Privacy.UPLINK,
    expert: str | None = None,
    task: str | None = None,
    kind: InputType = InputType.TEXT,
) -> Question:
    return Question(privacy, expert, task, kind)


def test_by_default_nothing_goes_up() -> None:
    with pytest.raises(RefusedPrivacyError, match="allow has no 'auto'"):
        permit(question(), EscalationRules(), ANNA, why="")
    with pytest.raises(RefusedPrivacyError, match="has not user 1000"):
        permit(question(), EscalationRules(frozenset({"auto"})), ANNA, why="")


@given(
    expert=st.none() | st.sampled_from(["uplink", "spam"]),
    task=st.none() | st.sampled_from(["text.generate", "text.classify", "*", "auto", "uplink"]),
    kind=st.sampled_from(list(InputType)),
    local_only=st.booleans(),
)
def test_a_local_request_never_gets_leave_even_where_the_owner_allows_all(
    expert: str | None, task: str | None, kind: InputType, *, local_only: bool
) -> None:
    asked = question(Privacy.LOCAL, expert, task, kind)
    with pytest.raises(RefusedPrivacyError) as caught:
        permit(asked, OPEN, ANNA, why="", local_only=local_only)
    assert caught.value.details["forbidden_by"] == "request"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (question(), "auto"),
        (question(kind=InputType.CHAT), "auto"),
        (question(task="text.generate"), "text.generate"),
        (question(task="text.chat"), "text.chat"),
        (question(expert="uplink"), "uplink"),
        (question(expert="uplink", task="text.classify"), "uplink"),
    ],
)
def test_each_class_needs_its_own_word_of_the_owner(asked: Question, kind: str) -> None:
    classes = {"auto", "text.generate", "text.chat", "uplink"}
    mine = EscalationRules(frozenset({kind}), frozenset({1000}))
    assert permit(asked, mine, ANNA, why="no route") == Permit(kind, ANNA, "no route")
    others = EscalationRules(frozenset(classes - {kind}), frozenset({1000}))
    with pytest.raises(RefusedPrivacyError):
        permit(asked, others, ANNA, why="")


@pytest.mark.parametrize("uid", [0, 1001, None])
def test_only_listed_users_may_and_one_whom_the_kernel_does_not_name_may_not(
    uid: int | None,
) -> None:
    rules = EscalationRules(frozenset({"auto"}), frozenset({1000}))
    with pytest.raises(RefusedPrivacyError) as caught:
        permit(question(), rules, Asker("api:01", uid), why="")
    assert caught.value.details["forbidden_by"] == "uplink.users"


def test_a_package_that_is_local_keeps_its_requests_here() -> None:
    with pytest.raises(RefusedPrivacyError) as caught:
        permit(question(), OPEN, ANNA, why="", local_only=True)
    assert caught.value.details["forbidden_by"] == "package"


@pytest.mark.parametrize(
    "asked",
    [
        question(kind=InputType.IMAGE),
        question(kind=InputType.JSON),
        question(expert="spam"),
        question(task="text.classify"),
        question(task="echo"),
    ],
)
def test_what_a_chat_endpoint_cannot_do_has_no_route(asked: Question) -> None:
    with pytest.raises(NoRouteError, match="texts and chats only"):
        permit(asked, OPEN, ANNA, why="")


def test_only_what_nobody_here_can_answer_comes_to_the_last_layer() -> None:
    yes: list[AiosdError] = [
        NoRouteError("x"),
        OverRamError("x"),
        ExpertFailedError("rests", retry_after_seconds=3.0),
    ]
    no: list[AiosdError] = [
        ExpertFailedError("crashed", reason="signal 11"),
        UnknownExpertError("x"),
        BusyError("x", retry_after_seconds=1.0),
        DeadlineError("x"),
        OverPowerError("x"),
    ]
    assert all(map(is_last_resort, yes))
    assert not any(map(is_last_resort, no))


@pytest.mark.parametrize("reason", [Reason.RAM, Reason.HEALTH, Reason.COST])
@pytest.mark.parametrize("privacies", [("local", "uplink"), ("uplink", "local"), ("uplink",) * 2])
def test_the_router_names_a_local_package_among_those_that_cannot_now(
    reason: Reason, privacies: tuple[str, str]
) -> None:
    catalogue = {
        name: RouteFacts(name, "echo", InputType.TEXT, 10, Privacy(privacy))
        for name, privacy in zip("ab", privacies, strict=True)
    }
    removed = [
        Removed(expert="c", reason=Reason.TASK),
        Removed(expert="a", reason=reason, found=9.0, limit=1.0),
        Removed(expert="b", reason=Reason.RAM, found=9.0, limit=1.0),
    ]
    error = refusal(Wanted(None, "echo", InputType.TEXT, 1), catalogue, removed)
    assert is_last_resort(error)
    local = [name for name, facts in catalogue.items() if facts.privacy is Privacy.LOCAL]
    assert error.details.get("expert") == (local[0] if local else None)


def test_the_end_says_why_nobody_here_answered_and_why_the_uplink_did_not() -> None:
    local = NoRouteError("no expert does that", nearest=["a", "b"])
    for up in (NoRouteError("offline", retry_after_seconds=3.0), RefusedPrivacyError("no")):
        end = unanswered(local, up)
        assert type(end) is type(up)
        assert end.message == f"no expert does that; {up.message}"
        assert end.details.items() >= up.details.items()
        assert end.details["local_code"] == "no_route"
        assert end.details["nearest"] == ["a", "b"]
    alone = NoRouteError("offline")
    assert unanswered(None, alone) is alone


def test_the_verdict_looks_at_no_text() -> None:
    """A question holds no text at all, so padding, typos or pleas cannot reach the verdict."""
    assert Question.__struct_fields__ == ("privacy", "expert", "task", "input_type")
    for asked in itertools.product(Privacy, [None, "uplink"], [None, "text.chat"], InputType):
        first, second = (_verdict(Question(*asked)) for _ in range(2))
        assert first == second


def _verdict(asked: Question) -> str:
    try:
        return permit(asked, OPEN, ANNA, why="").kind
    except AiosdError as error:
        return error.code
