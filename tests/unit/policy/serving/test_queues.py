"""Who is next among those who wait for one expert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.request import Priority
from aiosd.policy.serving.queues import ORDER, FairQueue, Ticket

asks = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Priority))), max_size=30)


@given(asks)
def test_everybody_is_taken_once_by_priority_and_each_client_in_its_order(
    many: list[tuple[str, Priority]],
) -> None:
    queue = FairQueue()
    for number, (client, priority) in enumerate(many):
        queue.push(Ticket(number, client, "x", float(number), priority))
    assert len(queue) == len(many)
    assert queue.oldest() == (0.0 if many else None)
    taken = [queue.pop() for _ in many]
    assert sorted(each.id for each in taken) == list(range(len(many)))
    ranks = [ORDER.index(each.priority) for each in taken]
    assert ranks == sorted(ranks)
    for client in "abc":
        for priority in Priority:
            own = [each.id for each in taken if (each.client, each.priority) == (client, priority)]
            assert own == sorted(own)
    with pytest.raises(IndexError):
        queue.pop()


@given(asks, st.data())
def test_whoever_is_removed_is_gone_and_the_others_are_not(
    many: list[tuple[str, Priority]], data: st.DataObject
) -> None:
    queue = FairQueue()
    for number, (client, priority) in enumerate(many):
        queue.push(Ticket(number, client, "x", float(number), priority))
    leaving = data.draw(st.sets(st.integers(0, 40)))
    for number in leaving:
        found = queue.remove(number)
        assert (found is not None) == (number < len(many))
    assert {each.id for each in queue} == set(range(len(many))) - leaving
    assert len(queue.clear()) == len(set(range(len(many))) - leaving)
    assert len(queue) == 0


def test_clients_take_turns() -> None:
    queue = FairQueue()
    for number, client in enumerate("aaaabbc"):
        queue.push(Ticket(number, client, "x", 0.0))
    assert "".join(queue.pop().client for _ in range(7)) == "abcabaa"
