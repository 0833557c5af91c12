"""Who answers where nobody was named: removed with numbers, heard, weighed, drawn."""

from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.decision import Gate, Kind, Reason
from aiosd.domain.errors import (
    AiosdError,
    DeadlineError,
    NoRouteError,
    OverPowerError,
    RefusedPrivacyError,
)
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.routing.deciding import Knowledge, Verdict, decide
from aiosd.policy.routing.hearing import Hearing
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted

TASK = "text.classify"
LAMP = RouteFacts("lamp", TASK, InputType.TEXT, 1000)
MONEY = RouteFacts("money", TASK, InputType.TEXT, 1000)
STORY = RouteFacts("story", "text.generate", InputType.CHAT, 1000)
CATS = RouteFacts("cats", "image.classify", InputType.IMAGE, 1000)
ALL = {each.expert: each for each in (LAMP, MONEY, STORY, CATS)}
READY = Standing(ready=True, need_bytes=100)


def wanted(task: str | None = None, **more: object) -> Wanted:
    return Wanted(None, task, InputType.TEXT, 10, **more)  # type: ignore[arg-type]


def stand(**others: Standing) -> Callable[[str], Standing]:
    return lambda name: others.get(name, READY)


def heard(
    *meant: str,
    chances: dict[str, float] | None = None,
    ok: float | dict[str, float] = 1.0,
    chance: float = 1.0,
) -> Knowledge:
    """Return the knowledge of one who heard that a text is meant for these."""
    shares = chances or {name: 0.9 / len(meant) for name in meant} | {"story": 0.05}

    def hear(among: Collection[str] | None) -> Hearing:
        names = list(shares) if among is None else among
        known = {name: share for name, share in shares.items() if name in names}
        gates = (Gate(name="scope", value=1.0, threshold=0.0, passed=bool(meant)),)
        return Hearing("key", known, {}, gates, tuple(name for name in meant if name in names))

    goods = ok if isinstance(ok, dict) else {}
    value = 1.0 if isinstance(ok, dict) else ok
    return Knowledge(
        hear, frozenset(shares), lambda name, _part: goods.get(name, value), chance=chance
    )


def error_of(verdict: Verdict) -> AiosdError:
    assert verdict.error is not None
    assert verdict.decision.winner is None
    assert verdict.decision.why == verdict.error.message
    return verdict.error


@pytest.mark.parametrize(
    ("standing", "more", "reason", "found", "limit"),
    [
        (Standing(ready=False, need_bytes=100, rest_seconds=7.0), {}, Reason.HEALTH, 7.0, 0.0),
        (Standing(ready=False, need_bytes=100, room_bytes=50), {}, Reason.RAM, 100, 50),
        (
            Standing(ready=True, need_bytes=100, run_seconds=3.0),
            {"seconds": 2.0},
            Reason.DEADLINE,
            3.0,
            2.0,
        ),
        (
            Standing(ready=False, need_bytes=100, run_seconds=1.0, load_seconds=4.0),
            {"seconds": 2.0},
            Reason.DEADLINE,
            5.0,
            2.0,
        ),
        (
            Standing(ready=True, need_bytes=100, joules=3.0),
            {"max_joules": 2.0},
            Reason.JOULES,
            3.0,
            2.0,
        ),
        (Standing(ready=True, need_bytes=100, cost=3.0), {"max_cost": 2.0}, Reason.COST, 3.0, 2.0),
    ],
)
def test_who_cannot_now_is_removed_with_what_was_found_and_what_would_do(
    standing: Standing, more: dict[str, float], reason: Reason, found: float, limit: float
) -> None:
    decision, error = decide(wanted(TASK, **more), ALL, stand(lamp=standing))
    assert error is None
    assert decision.winner == "money"
    removed = {each.expert: each for each in decision.removed}
    assert (removed["lamp"].reason, removed["lamp"].found, removed["lamp"].limit) == (
        reason,
        found,
        limit,
    )
    assert removed["story"].reason is Reason.TASK


def test_what_an_expert_declares_rules_it_out_without_asking_how_it_stands() -> None:
    asked: list[str] = []

    def standing(name: str) -> Standing:
        asked.append(name)
        return READY

    large = {**ALL, "lamp": RouteFacts("lamp", TASK, InputType.TEXT, 5)}
    away = {**large, "far": RouteFacts("far", TASK, InputType.TEXT, 1000, kind=Kind.UPLINK)}
    decision, _ = decide(wanted(TASK), away, standing)
    assert asked == ["money"]
    assert {each.expert: each.reason for each in decision.removed} == {
        "lamp": Reason.SIZE,
        "far": Reason.PRIVACY,
        "story": Reason.TASK,
        "cats": Reason.TASK,
    }
    other = Wanted(None, None, InputType.IMAGE, 10)
    assert {each.reason for each in decide(other, ALL, stand())[0].removed} == {Reason.INPUT_TYPE}


def test_a_private_request_is_refused_where_only_one_that_may_leave_the_board_could() -> None:
    far = {"far": RouteFacts("far", TASK, InputType.TEXT, 1000, kind=Kind.UPLINK)}
    for knowledge in (heard("far", chances={"far": 1.0}), Knowledge()):
        found = error_of(decide(wanted(TASK), far, stand(), knowledge))
        assert isinstance(found, RefusedPrivacyError)
    allowed = decide(wanted(TASK, privacy=Privacy.UPLINK), far, stand())
    assert allowed.decision.winner == "far"


def test_a_package_whose_requests_may_go_up_answers_those_that_must_stay_here() -> None:
    bold = {"bold": RouteFacts("bold", TASK, InputType.TEXT, 1000, Privacy.UPLINK)}
    for privacy in Privacy:
        decision, failed = decide(wanted(TASK, privacy=privacy), bold, stand())
        assert (decision.winner, failed) == ("bold", None)
        assert decision.removed == ()


@given(
    st.lists(st.sampled_from(["far", "lamp", "money"]), unique=True, max_size=3),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_whatever_a_text_sounds_like_a_private_request_never_goes_to_one_that_may_leave(
    meant: list[str], share: float, chance: float
) -> None:
    far = RouteFacts("far", TASK, InputType.TEXT, 1000, kind=Kind.UPLINK)
    shares = {"far": share, "lamp": (1 - share) / 2, "money": (1 - share) / 2}
    knowledge = heard(*meant, chances=shares, chance=chance)
    for task in (None, TASK):
        decision, _ = decide(wanted(task), {**ALL, "far": far}, stand(), knowledge)
        assert decision.winner != "far"
        assert "far" not in [each.expert for each in decision.survivors]
        assert Reason.PRIVACY in [e.reason for e in decision.removed if e.expert == "far"]


def test_if_all_would_be_late_or_too_dear_the_nearest_miss_is_told() -> None:
    slow = stand(
        lamp=Standing(ready=True, need_bytes=1, run_seconds=9.0),
        money=Standing(ready=True, need_bytes=1, run_seconds=5.0),
    )
    late = error_of(decide(wanted(TASK, seconds=2.0), ALL, slow))
    assert isinstance(late, DeadlineError)
    assert late.details["predicted_seconds"] == 5.0
    dear = stand(
        lamp=Standing(ready=True, need_bytes=1, joules=9.0),
        money=Standing(ready=True, need_bytes=1, joules=5.0),
    )
    over = error_of(decide(wanted(TASK, max_joules=2.0), ALL, dear))
    assert isinstance(over, OverPowerError)
    assert over.details["expert"] == "money"


def test_one_that_rests_is_handed_on_so_that_the_scheduler_says_until_when() -> None:
    rests = Standing(ready=False, need_bytes=1, rest_seconds=5.0)
    assert decide(wanted(TASK), ALL, stand(lamp=rests, money=rests)).decision.winner == "lamp"


def test_a_text_goes_to_whom_it_is_meant_for_over_one_that_is_loaded_and_small() -> None:
    cold = Standing(ready=False, need_bytes=10**9)
    decision, _ = decide(wanted(), ALL, stand(money=cold), heard("money"))
    assert decision.winner == "money"
    assert decision.why == "meant for it (0.90)"
    text = [each for each in decision.removed if each.reason is Reason.TEXT]
    assert {each.expert: each.found for each in text} == {"lamp": 0.0, "story": 0.05}
    assert decision.head == "key"


def test_a_text_for_nobody_says_so_with_the_nearest() -> None:
    found = error_of(decide(wanted(), ALL, stand(), heard(chances={"lamp": 0.4, "money": 0.6})))
    assert isinstance(found, NoRouteError)
    assert found.details["nearest"] == ["money (0.60)", "lamp (0.40)"]


def test_a_text_for_one_that_rests_is_not_given_to_another() -> None:
    rests = Standing(ready=False, need_bytes=1, rest_seconds=5.0)
    decision, _ = decide(wanted(), ALL, stand(money=rests), heard("money"))
    assert decision.winner == "money"
    assert decision.survivors == ()


def test_of_two_that_may_be_meant_the_cheaper_answers() -> None:
    cold = Standing(ready=False, need_bytes=10**9)
    decision, _ = decide(wanted(), ALL, stand(lamp=cold), heard("lamp", "money"))
    assert decision.winner == "money"
    assert [each.expert for each in decision.survivors] == ["money", "lamp"]


def test_one_that_answered_badly_gives_way_to_another_of_the_task() -> None:
    knowledge = heard("lamp", "money", ok={"lamp": 0.3, "money": 0.9})
    assert decide(wanted(), ALL, stand(), knowledge).decision.winner == "money"
    unheard = Knowledge(ok=knowledge.ok)
    named = decide(wanted(TASK), ALL, stand(), unheard).decision
    assert (named.winner, named.why) == ("money", f"the most useful of 2 for {TASK}")


def test_a_text_helps_to_choose_within_a_task_but_never_refuses_it() -> None:
    knowledge = heard("money", chances={"lamp": 0.1, "money": 0.9})
    assert decide(wanted(TASK), ALL, stand(), knowledge).decision.winner == "money"
    nobody = heard(chances={"lamp": 0.4, "money": 0.6})
    assert decide(wanted(TASK), ALL, stand(), nobody).decision.winner == "lamp"


def test_within_a_task_one_that_brings_no_texts_does_not_lose_to_one_that_does() -> None:
    knowledge = heard("money", chances={"money": 0.9})
    decision, _ = decide(wanted(TASK), ALL, stand(), knowledge)
    assert (decision.winner, decision.gates) == ("lamp", ())


def test_what_nobody_knows_counts_as_much_as_the_dearest_that_is_known() -> None:
    dear = stand(lamp=Standing(ready=True, need_bytes=100, joules=5.0, run_seconds=2.0))
    assert decide(wanted(TASK), ALL, dear).decision.winner == "lamp"
    cheap = stand(
        lamp=Standing(ready=True, need_bytes=100, joules=5.0),
        money=Standing(ready=True, need_bytes=100, joules=4.0),
    )
    assert decide(wanted(TASK), ALL, cheap).decision.winner == "money"


def test_one_in_a_hundred_goes_to_another_that_is_nearly_as_useful_and_says_so() -> None:
    pair = {"lamp": LAMP, "money": MONEY}
    plain = decide(wanted(TASK), pair, stand(), Knowledge(chance=0.5)).decision
    assert (plain.winner, plain.propensity, plain.explored) == ("lamp", 0.99, False)
    drawn = decide(wanted(TASK), pair, stand(), Knowledge(chance=0.005)).decision
    assert (drawn.winner, drawn.propensity, drawn.explored) == ("money", 0.01, True)
    assert "drawn to learn" in drawn.why


def test_one_that_is_much_worse_is_never_drawn() -> None:
    poor = Knowledge(ok=lambda name, _part: 0.2 if name == "money" else 0.9, chance=0.0)
    pair = {"lamp": LAMP, "money": MONEY}
    chosen = decide(wanted(TASK), pair, stand(), poor).decision
    assert (chosen.winner, chosen.propensity) == ("lamp", 1.0)
    off = Knowledge(chance=0.0, explored=0.0)
    assert not decide(wanted(TASK), pair, stand(), off).decision.explored


@given(
    st.lists(st.sampled_from(["lamp", "money", "story"]), unique=True, max_size=2),
    st.lists(
        st.sampled_from(
            [
                READY,
                Standing(ready=False, need_bytes=9, rest_seconds=5.0),
                Standing(ready=False, need_bytes=9, room_bytes=1),
                Standing(ready=True, need_bytes=1, run_seconds=9.0, joules=9.0, cost=9.0),
            ]
        ),
        min_size=6,
        max_size=6,
    ),
    st.sampled_from([{}, {"seconds": 1.0}, {"max_joules": 1.0}, {"max_cost": 1.0}]),
)
def test_how_those_stand_whom_a_text_is_not_meant_for_changes_nothing(
    meant: list[str], stands: list[Standing], bounds: dict[str, float]
) -> None:
    asked: list[str] = []

    def standing(name: str) -> Standing:
        asked.append(name)
        return first[name]

    first = dict(zip(("lamp", "money", "story"), stands[:3], strict=True))
    other = dict(zip(("lamp", "money", "story"), stands[3:], strict=True))
    other |= {name: first[name] for name in meant}
    knowledge = heard(*meant, chances={"lamp": 0.4, "money": 0.35, "story": 0.25})
    one = decide(wanted(**bounds), ALL, standing, knowledge)
    two = decide(wanted(**bounds), ALL, other.__getitem__, knowledge)
    assert one.decision == two.decision
    assert repr(one.error) == repr(two.error)
    assert set(asked) == set(meant)


def test_among_very_many_only_those_that_are_near_are_looked_at_one_by_one() -> None:
    crowd = {f"e{n}": RouteFacts(f"e{n}", TASK, InputType.TEXT, 100) for n in range(500)}
    asked: list[str] = []

    def standing(name: str) -> Standing:
        asked.append(name)
        return READY

    knowledge = heard("e7", chances={"e7": 0.8, "e8": 0.1, "gone": 0.1})
    decision, error = decide(wanted(), crowd, standing, knowledge)
    assert error is None
    assert (decision.winner, decision.others) == ("e7", 498)
    assert asked == ["e7"]
    assert [(each.expert, each.reason) for each in decision.removed] == [("e8", Reason.TEXT)]
    resting = Standing(ready=False, need_bytes=1, rest_seconds=2.0)
    assert decide(wanted(), crowd, lambda _: resting, knowledge).decision.winner == "e7"
    nobody = heard(chances={"e7": 0.8})
    assert isinstance(error_of(decide(wanted(), crowd, standing, nobody)), NoRouteError)


def test_several_tasks_without_a_head_must_be_told_apart() -> None:
    assert isinstance(error_of(decide(wanted(), ALL, stand())), NoRouteError)
