"""The ring of decisions, and that a word counts once."""

import pytest

from aiosd.domain.decision import Decision
from aiosd.domain.errors import InvalidError
from aiosd.policy.routing.record import Record


def filled(count: int, most: int = 5) -> Record:
    record = Record(most)
    for number in range(1, count + 1):
        record.add(Decision(id=number, winner="a", why="w"))
    return record


def test_the_last_are_kept_the_newest_first() -> None:
    assert [each.id for each in filled(8).last(3)] == [8, 7, 6]
    assert filled(8).find(3) is None
    assert len(filled(8).last(100)) == 5


def test_an_answer_is_noted_and_may_be_judged_once() -> None:
    record = filled(2)
    record.on_answer(2, 0.5, 1.5)
    judged = record.on_feedback(2, good=True)
    assert judged.actual is not None
    assert (judged.actual.seconds, judged.actual.joules, judged.actual.ok) == (0.5, 1.5, True)
    with pytest.raises(InvalidError, match="judged already"):
        record.on_feedback(2, good=False)


def test_what_was_not_answered_or_is_gone_cannot_be_judged() -> None:
    record = filled(8)
    with pytest.raises(InvalidError, match="no answer"):
        record.on_feedback(8, good=True)
    with pytest.raises(InvalidError, match="no decision 1"):
        record.on_feedback(1, good=True)
    assert record.on_answer(1, 0.1, None) is None
