"""Requests that another release answers, and what becomes of those that it cannot."""

from dataclasses import dataclass, field

import pytest

from aiosd.daemon.detours import Detours
from aiosd.daemon.pending import Pending
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError, CancelledError, DeadlineError, ExpertFailedError
from aiosd.domain.inputs import TextInput
from aiosd.policy.routing.router import Route
from aiosd.policy.serving.queues import Ticket
from aiosd.protocol.messages import Answer, Run

FAILED = ExpertFailedError("it died", reason="signal 11")


class Nobody:
    name = "api"

    def send(self, _client: Client, _request: bytes, _answer: Answer) -> bool:
        return True


@dataclass
class Watched:
    answers: list[tuple[bool, float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def on_answer(self, *, detoured: bool, run_seconds: float, waited_seconds: float) -> None:
        self.answers.append((detoured, run_seconds, waited_seconds))

    def on_failure(self, reason: str) -> None:
        self.failures.append(reason)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def detours(watched: Watched) -> Detours:
    made = Detours()
    made.seats["one"] = "one@2"
    made.watchers["one"] = watched
    return made


def ticket(number: int = 1, expert: str = "one") -> Ticket:
    return Ticket(number, "me", expert, 5.0, deadline=9.0)


def pending(seat: str = "one@2", expert: str = "one", chunks: int = 0) -> Pending:
    run = Run(input=TextInput(text="x"))
    route = Route(expert, "named")
    return Pending(Client(Nobody(), "me"), "me", b"1", run, None, 1, route, seat, chunks)


def test_a_request_goes_to_the_other_release_and_others_do_not(detours: Detours) -> None:
    sent = detours.send(ticket())
    assert (sent.expert, sent.arrived, sent.deadline) == ("one@2", 5.0, 9.0)
    assert detours.send(ticket(2, "two")) == ticket(2, "two")


def test_its_answer_is_told_as_its_own(detours: Detours, watched: Watched) -> None:
    detours.send(ticket())
    asked = pending()
    asked.queue_seconds = 0.25
    detours.on_end(1, asked, 0.5)
    assert watched.answers == [(True, 0.5, 0.25)]


def test_what_it_fails_goes_to_the_experts_own_worker_with_its_old_place(
    detours: Detours, watched: Watched
) -> None:
    detours.send(ticket())
    asked = pending()
    assert detours.again(1, asked, FAILED) == ticket()
    assert asked.seat == "one"
    assert watched.failures == []  # not before the old release has answered it
    detours.on_end(1, asked, 0.5)
    assert watched.failures == ["it died"]
    assert watched.answers == [(False, 0.5, 0.0)]


def test_what_both_fail_is_held_against_nobody(detours: Detours, watched: Watched) -> None:
    detours.send(ticket())
    asked = pending()
    detours.again(1, asked, FAILED)
    assert detours.again(1, asked, FAILED) is None
    detours.on_end(1, asked)
    assert (watched.failures, watched.answers) == ([], [])


@pytest.mark.parametrize(
    "error", [CancelledError("by the caller"), DeadlineError("late", stage="running")]
)
def test_what_nobody_wants_any_more_is_not_asked_again(detours: Detours, error: AiosdError) -> None:
    detours.send(ticket())
    assert detours.again(1, pending(), error) is None


def test_a_stream_that_was_begun_cannot_begin_again(detours: Detours, watched: Watched) -> None:
    detours.send(ticket())
    assert detours.again(1, pending(chunks=3), FAILED) is None
    assert watched.failures == ["it died"]


def test_what_is_taken_back_with_the_release_is_nobodys_failure(
    detours: Detours, watched: Watched
) -> None:
    detours.send(ticket())
    del detours.seats["one"]
    asked = pending()
    assert detours.again(1, asked, FAILED) == ticket()
    detours.on_end(1, asked, 0.5)
    assert watched.failures == []
    assert watched.answers == [(False, 0.5, 0.0)]


def test_nothing_is_kept_of_requests_that_have_ended(detours: Detours) -> None:
    for number in range(3):
        detours.send(ticket(number))
        detours.again(number, pending(), FAILED)
        detours.on_end(number, pending("one"), None if number else 0.1)
    assert (detours._kept, detours._failed) == ({}, {})
