"""What is remembered of a catalogue changes nothing of who can answer."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.decision import Kind, Reason
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Privacy
from aiosd.policy.routing.deciding import Knowledge, decide
from aiosd.policy.routing.feasible import Declared, feasible
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted

TASKS = ["text.classify", "text.generate", "image.classify"]
KINDS = [InputType.TEXT, InputType.CHAT, InputType.IMAGE]
READY = Standing(ready=True, need_bytes=100)
FULL = Standing(ready=False, need_bytes=100, room_bytes=50)

catalogues = st.lists(
    st.tuples(
        st.sampled_from(TASKS),
        st.sampled_from(KINDS),
        st.integers(1, 5),
        st.sampled_from(Kind),
    ),
    max_size=8,
).map(
    lambda rows: {
        f"e{place}": RouteFacts(f"e{place}", task, kind, most, kind=where)
        for place, (task, kind, most, where) in enumerate(rows)
    }
)
requests = st.lists(
    st.builds(
        Wanted,
        st.none(),
        st.none() | st.sampled_from([*TASKS, "unheard.of"]),
        st.sampled_from(KINDS),
        st.integers(0, 6),
        privacy=st.sampled_from(Privacy),
    ),
    max_size=6,
)


def standing(name: str) -> Standing:
    return FULL if name == "e1" else READY


@given(catalogues, requests)
def test_what_was_asked_before_changes_nothing_of_who_can(
    catalogue: dict[str, RouteFacts], asked: list[Wanted]
) -> None:
    declared = Declared(catalogue)
    for wanted in [*asked, *asked]:
        left, removed = feasible(wanted, declared, standing)
        plain, without = feasible(wanted, catalogue.values(), standing)
        assert left == plain
        assert sorted(removed, key=str) == sorted(without, key=str)


def test_more_kinds_of_requests_than_are_remembered_are_sorted_again() -> None:
    declared = Declared({"e0": RouteFacts("e0", "task.7", InputType.TEXT, 100)})
    for number in range(100):
        left, _ = feasible(Wanted(None, f"task.{number}", InputType.TEXT, 1), declared, standing)
        assert [facts.expert for facts, _ in left] == (["e0"] if number == 7 else [])


def test_of_very_many_only_those_of_the_task_are_listed_and_the_others_are_counted() -> None:
    crowd = {
        f"e{place}": RouteFacts(f"e{place}", f"task.{place // 2}", InputType.TEXT, 100)
        for place in range(500)
    }
    knowledge = Knowledge(declared=Declared(crowd))
    decision, error = decide(Wanted(None, "task.0", InputType.TEXT, 10), crowd, standing, knowledge)
    assert error is None
    assert (decision.winner, decision.others) == ("e0", 498)
    assert [(each.expert, each.reason) for each in decision.removed] == [("e1", Reason.RAM)]
    stranger = Wanted(None, "task.999", InputType.TEXT, 10)
    decision, error = decide(stranger, crowd, standing, knowledge)
    assert "no installed expert does task 'task.999'" in str(error)
    assert decision.removed == ()
