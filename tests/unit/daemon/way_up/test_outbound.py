"""What stands before the broker while there is a way up."""

import asyncio

import pytest
from fakes.standing_before import FakeBroker, FakeFrontend
from hypothesis import given
from hypothesis import strategies as st

from aiosd.daemon import broker
from aiosd.daemon.way_up.escalation import Escalation
from aiosd.daemon.way_up.outbound import Bounds
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    CancelledError,
    ExpertFailedError,
    InvalidError,
    NoRouteError,
    OverRamError,
    RefusedPrivacyError,
)
from aiosd.domain.inputs import ChatInput, JsonInput, TextInput, Turn
from aiosd.domain.request import Options, Outcome, Privacy, Usage
from aiosd.policy.outbound.escalation import EscalationRules
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_message
from aiosd.protocol.pipe import Failed, Piece
from aiosd.protocol.uplink import Answered, Ask

NO_ROUTE = NoRouteError("nobody does that", nearest=["a"])
OUTCOME = Outcome(expert="a", release=1, why="", output={}, cold=False, usage=Usage())


class FakeLink:
    """Notes what goes up."""

    def __init__(self) -> None:
        self.sent: list[Ask] = []
        self.cancelled: list[int] = []
        self.down: AiosdError | None = None

    def send(self, message: Ask) -> None:
        if self.down:
            raise self.down
        self.sent.append(message)

    def cancel(self, request: int) -> None:
        self.cancelled.append(request)


class Stage:
    """An escalation with everything around it made up, whose owner allows everything."""

    def __init__(self) -> None:
        self.broker, self.link, self.frontend = FakeBroker(), FakeLink(), FakeFrontend()
        self.escalation = Escalation(
            asyncio.get_running_loop(), self.broker, lambda expert: expert == "shy"
        )
        self.escalation.rules = EscalationRules(frozenset({"*"}), frozenset({1000}))
        self.outbound = self.escalation.outbound
        self.outbound.link = self.link
        self.outbound.bounds = Bounds(2, 1, 60.0)
        self.client = Client(self.frontend, "api:anna", 1000)

    def ask(self, ident: bytes = b"1", run: Run | None = None, **options: object) -> None:
        made = Options(privacy=Privacy.UPLINK, **options)  # type: ignore[arg-type]
        run = run or Run(input=TextInput(text="hello"), options=made)
        self.escalation.on_run(self.client, Envelope(ident, run), run)

    def answers(self, ident: bytes = b"1") -> list[Answer]:
        return [answer for request, answer in self.frontend.sent if request == ident]

    def here(self, answer: Answer) -> None:
        """Let the broker answer its last request."""
        client, ident, _ = self.broker.runs[-1]
        client.frontend.send(client, ident, answer)


def answered(number: int, **facts: object) -> Answered:
    usual: dict[str, object] = {
        "text": "hi",
        "endpoint": "e1",
        "model": "m",
        "finish_reason": "stop",
        "run_ms": 5.0,
        "first_token_ms": 2.0,
        "tokens_in": 3,
        "tokens_out": 4,
        "cost": None,
        "currency": "",
        "redactions": 0,
    }
    return Answered(id=number, **(usual | facts))  # type: ignore[arg-type]


@given(
    expert=st.none() | st.sampled_from(["a", "uplink", "Uplink"]),
    task=st.none() | st.sampled_from(["text.generate", "text.chat", "echo"]),
    text=st.text(max_size=30),
    stream=st.booleans(),
    refusal=st.sampled_from(
        [None, NO_ROUTE, OverRamError("x"), ExpertFailedError("x", retry_after_seconds=1.0)]
    ),
)
def test_a_local_request_goes_to_the_broker_as_it_came_and_nowhere_else(
    expert: str | None, task: str | None, text: str, *, stream: bool, refusal: AiosdError | None
) -> None:
    async def play() -> None:
        stage = Stage()
        stage.broker.refusal = refusal
        options = Options(stream=stream)
        run = Run(expert=expert, task=task, input=TextInput(text=text), options=options)
        if refusal or expert == "uplink":
            with pytest.raises(RefusedPrivacyError if expert == "uplink" else type(refusal)):
                stage.ask(run=run)
        else:
            stage.ask(run=run)
            assert stage.broker.runs == [(stage.client, b"1", run)]
            stage.here(error_message(NO_ROUTE))
            assert stage.answers() == [error_message(NO_ROUTE)]
        assert stage.link.sent == []
        assert not stage.escalation._open

    asyncio.run(play())


def test_the_broker_has_no_handle_to_the_way_up() -> None:
    """Nothing that the broker reaches knows of the uplink; see the network of imports."""
    names = {name for name in vars(broker) if "plink" in name or "scalat" in name}
    assert names == set()


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_nobody_here_can_answer_goes_up_and_its_answer_says_why(
    *, at_once: bool
) -> None:
    stage = Stage()
    stage.broker.refusal = NO_ROUTE if at_once else None
    stage.ask(stream=True, deadline_seconds=30.0, max_cost=0.5)
    if not at_once:
        stage.here(error_message(NO_ROUTE))
    (asked,) = stage.link.sent
    assert asked.turns == [Turn(role="user", content="hello")]
    assert (asked.kind, asked.client, asked.uid) == ("auto", "api:anna", 1000)
    assert (asked.stream, asked.max_cost) == (True, 0.5)
    assert 0 < (asked.seconds or 0) <= 30.0
    stage.outbound.on_piece(Piece(id=asked.id, text="h"))
    stage.outbound.on_answered(answered(asked.id, cost=0.25, currency="EUR"))
    chunk, end = stage.answers()
    assert chunk == Chunk(n=0, text="h")
    assert isinstance(end, End)
    assert (end.outcome.expert, end.outcome.release) == ("uplink", 0)
    assert end.outcome.why == "by the uplink at e1: nobody does that"
    assert end.outcome.output["cost"] == 0.25
    assert not stage.escalation._open


async def test_what_is_answered_here_stays_here_even_if_it_may_go_up() -> None:
    stage = Stage()
    stage.ask()
    stage.here(Chunk(n=0, text="x"))
    stage.here(End(outcome=OUTCOME))
    assert stage.answers() == [Chunk(n=0, text="x"), End(outcome=OUTCOME)]
    assert stage.link.sent == []
    assert not stage.escalation._open


async def test_once_a_piece_was_shown_nobody_begins_anew() -> None:
    stage = Stage()
    stage.ask()
    stage.here(Chunk(n=0, text="x"))
    crash = error_message(ExpertFailedError("x", retry_after_seconds=3.0))
    stage.here(crash)
    assert stage.answers()[1] == crash
    assert stage.link.sent == []


async def test_other_errors_are_the_end() -> None:
    stage = Stage()
    stage.ask()
    stage.here(error_message(BusyError("full", retry_after_seconds=1.0)))
    (answer,) = stage.answers()
    assert isinstance(answer, Error)
    assert answer.code == "busy"
    stage.broker.refusal = InvalidError("wrong", field="input")
    with pytest.raises(InvalidError, match="wrong"):
        stage.ask(b"2")
    assert stage.link.sent == []
    assert not stage.escalation._open


@pytest.mark.parametrize(
    "run",
    [
        Run(expert="big", input=TextInput(text="x"), options=Options(privacy=Privacy.UPLINK)),
        Run(task="echo", input=TextInput(text="x"), options=Options(privacy=Privacy.UPLINK)),
        Run(input=JsonInput(value=1), options=Options(privacy=Privacy.UPLINK)),
    ],
)
async def test_what_nobody_up_there_could_do_ends_as_it_ended_here(run: Run) -> None:
    stage = Stage()
    stage.ask(run=run)
    error = error_message(OverRamError("no room", expert="bold", need_bytes=7))
    stage.here(error)
    assert stage.answers() == [error]
    assert stage.link.sent == []


async def test_a_package_that_is_local_keeps_its_request_here() -> None:
    stage = Stage()
    stage.ask()
    stage.here(error_message(OverRamError("no room", expert="shy")))
    (answer,) = stage.answers()
    assert isinstance(answer, Error)
    assert (answer.code, answer.details["forbidden_by"]) == ("refused_privacy", "package")
    stage.ask(b"2")
    stage.here(error_message(OverRamError("no room", expert="bold")))
    assert len(stage.link.sent) == 1


async def test_one_more_than_may_be_up_waits_and_one_more_is_busy() -> None:
    stage = Stage()
    stage.broker.refusal = NO_ROUTE
    for ident in (b"1", b"2", b"3"):
        stage.ask(ident)
    with pytest.raises(BusyError):
        stage.ask(b"4")
    assert [ask.id for ask in stage.link.sent] == [1, 2]
    stage.outbound.on_failed(Failed(id=1, code="no_route", message="offline", details={}))
    assert [ask.id for ask in stage.link.sent] == [1, 2, 3]
    (answer,) = stage.answers(b"1")
    assert isinstance(answer, Error)
    assert answer.message == "nobody does that; offline"
    assert answer.details["local_code"] == "no_route"
    assert answer.details["nearest"] == ["a"]


async def test_a_link_that_is_down_is_no_route_at_once_also_for_who_waits() -> None:
    stage = Stage()
    stage.broker.refusal = NO_ROUTE
    for ident in (b"1", b"2", b"3"):
        stage.ask(ident)
    stage.link.down = NoRouteError("it rests", retry_after_seconds=2.0)
    stage.outbound.on_lost("crashed with SIGSEGV")
    codes = [answer.code for _, answer in stage.frontend.sent if isinstance(answer, Error)]
    assert codes == ["expert_failed", "expert_failed", "no_route"]
    with pytest.raises(NoRouteError, match="it rests"):
        stage.ask(b"4")
    assert not stage.escalation._open
    stage.outbound.link = None
    with pytest.raises(NoRouteError, match="switched off"):
        stage.ask(b"5")


async def test_cancelling_reaches_it_wherever_it_is() -> None:
    stage = Stage()
    stage.ask(b"1")
    stage.escalation.on_cancel(stage.client, b"1")
    assert stage.broker.cancelled == [(stage.broker.runs[0][0], b"1")]
    stage.here(error_message(NO_ROUTE))
    stage.ask(b"2")
    stage.here(error_message(NO_ROUTE))
    stage.ask(b"3")
    stage.here(error_message(NO_ROUTE))
    stage.escalation.on_cancel(stage.client, b"3")
    stage.escalation.on_cancel(stage.client, b"1")
    assert stage.link.cancelled == [1]
    for ident in (b"1", b"3"):
        (answer,) = stage.answers(ident)
        assert isinstance(answer, Error)
        assert answer.code == "cancelled"
    stage.outbound.on_answered(answered(1))
    assert len(stage.answers(b"1")) == 1, "once only"
    stage.escalation.on_cancel(stage.client, b"9")
    assert stage.broker.cancelled[-1] == (stage.client, b"9")


async def test_a_client_that_is_gone_takes_all_its_requests_along() -> None:
    stage = Stage()
    stage.ask(b"1")
    stage.ask(b"2")
    stage.here(error_message(NO_ROUTE))
    stage.escalation.on_gone(stage.client)
    assert stage.link.cancelled == [1]
    assert [ident for _, ident in stage.broker.cancelled] == [b"1"]
    assert stage.broker.gone == [stage.client]


async def test_an_id_is_taken_once() -> None:
    stage = Stage()
    stage.ask(b"1")
    with pytest.raises(InvalidError, match="still running"):
        stage.ask(b"1")
    with pytest.raises(InvalidError, match="still running"):
        stage.ask(b"1", Run(input=TextInput(text="local")))


async def test_the_time_is_kept_here_whatever_the_other_side_does() -> None:
    stage = Stage()
    stage.broker.refusal = NO_ROUTE
    stage.ask(deadline_seconds=0.01)
    await asyncio.wait_for(stage.frontend.came.wait(), 10)
    (answer,) = stage.answers()
    assert isinstance(answer, Error)
    assert (answer.code, answer.details["stage"]) == ("deadline", "running")
    assert stage.link.cancelled == [1]


async def test_a_daemon_that_stops_takes_nothing_on_and_is_drained_at_the_last_end() -> None:
    stage = Stage()
    stage.broker.refusal = NO_ROUTE
    stage.ask(b"1")
    stage.escalation.on_stop()
    with pytest.raises(BusyError, match="stopping"):
        stage.ask(b"2")
    assert not stage.escalation.drained.is_set()
    stage.outbound.give_up(CancelledError("the daemon is stopping", retry_after_seconds=2.0))
    assert stage.escalation.drained.is_set()
    idle = Stage()
    idle.escalation.on_stop()
    assert idle.escalation.drained.is_set()


async def test_a_chat_goes_up_as_it_is() -> None:
    stage = Stage()
    turns = [Turn(role="system", content="be brief"), Turn(role="user", content="hello")]
    run = Run(
        expert="uplink",
        input=ChatInput(messages=turns),
        options=Options(privacy=Privacy.UPLINK),
    )
    stage.ask(run=run)
    assert stage.broker.runs == []
    assert stage.link.sent[0].turns == turns
    assert stage.link.sent[0].kind == "uplink"


# ── the best answer from here ────────────────────────────────────────────────────────────────

DOUBTED = Outcome(
    expert="a", release=1, why="", output={"text": "391"}, cold=False, usage=Usage(), doubt="sums"
)


async def test_what_goes_up_is_no_failed_request_here() -> None:
    stage = Stage()
    stage.ask()
    client, ident, _ = stage.broker.runs[-1]
    assert client.frontend.send(client, ident, error_message(NO_ROUTE)) is None
    stage.outbound.link = None
    stage.ask(b"2")
    client, ident, _ = stage.broker.runs[-1]
    assert client.frontend.send(client, ident, error_message(NO_ROUTE)) is True


async def test_an_answer_in_doubt_goes_up_and_what_comes_from_there_is_given() -> None:
    stage = Stage()
    stage.ask()
    stage.here(End(outcome=DOUBTED))
    assert stage.answers() == []
    stage.outbound.on_answered(answered(stage.link.sent[0].id))
    (end,) = stage.answers()
    assert isinstance(end, End)
    assert end.outcome.expert == "uplink"
    assert "a answered, but: sums" in end.outcome.why
    assert not stage.escalation._open


async def test_if_the_uplink_cannot_the_answer_from_here_is_given_and_marked() -> None:
    stage = Stage()
    stage.ask()
    stage.here(End(outcome=DOUBTED))
    stage.outbound.on_failed(
        Failed(id=stage.link.sent[0].id, code="no_route", message="over budget", details={})
    )
    stage.outbound.link = None
    stage.ask(b"2")
    stage.here(End(outcome=DOUBTED))
    stage.ask(b"3")
    shy = Outcome(
        expert="shy", release=1, why="", output={}, cold=False, usage=Usage(), doubt="sums"
    )
    stage.outbound.link = stage.link
    stage.here(End(outcome=shy))
    for ident, why in ((b"1", "over budget"), (b"2", "switched off"), (b"3", "is local")):
        (end,) = stage.answers(ident)
        assert isinstance(end, End)
        assert isinstance(end.outcome.doubt, str)
        assert end.outcome.doubt.startswith("sums; the uplink: ")
        assert why in end.outcome.doubt
    assert len(stage.link.sent) == 1
    assert not stage.escalation._open


async def test_a_task_that_no_chat_endpoint_can_do_keeps_its_doubtful_answer() -> None:
    stage = Stage()
    options = Options(privacy=Privacy.UPLINK)
    run = Run(task="text.classify", input=TextInput(text="x"), options=options)
    stage.ask(run=run)
    stage.here(End(outcome=DOUBTED))
    assert stage.answers() == [End(outcome=DOUBTED)]
    assert stage.link.sent == []


async def test_who_cancels_while_a_doubtful_answer_is_up_gets_no_answer() -> None:
    stage = Stage()
    stage.ask()
    stage.here(End(outcome=DOUBTED))
    stage.escalation.on_cancel(stage.client, b"1")
    (end,) = stage.answers()
    assert isinstance(end, Error)
    assert end.code == "cancelled"
