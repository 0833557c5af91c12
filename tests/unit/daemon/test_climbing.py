"""What stands before the broker where an answer can be in doubt: answer small, check, go up."""

import asyncio

import pytest
from fakes.standing_before import FakeBroker, FakeFrontend
from msgspec.structs import replace

from aiosd.daemon.cascade import Cascade, added, summed
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.decision import Decision
from aiosd.domain.errors import BusyError, CancelledError, InvalidError, NoRouteError
from aiosd.domain.inputs import ImageInput, InputType, TextInput
from aiosd.domain.manifest import Check
from aiosd.domain.request import Options, Outcome, Usage
from aiosd.policy.routing.route_facts import RouteFacts
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import Answer, Chunk, End, Error, Run, error_message

SURE = Check(kind="score", least=0.8, passed=500, wrong=10, data="held out")
ASKED = Run(input=TextInput(text="turn off the lamp"))


class FakeRouting:
    """Knows the layers by name."""

    def __init__(self) -> None:
        self.layers = ["small", "middle", "large"]

    def above(self, run: Run, asked: list[str]) -> str | None:
        assert run == ASKED
        left = [name for name in self.layers if name not in asked]
        return left[0] if left else None


class BrokerWithLayers(FakeBroker):
    """Knows the layers besides."""

    def __init__(self) -> None:
        super().__init__()
        self.routing = FakeRouting()


class Shelf:
    """Three classifiers with a check, and one that makes its answers up."""

    def __init__(self) -> None:
        self.routes = {
            name: RouteFacts(name, "text.classify", InputType.TEXT, 1000)
            for name in ("small", "middle", "large")
        }
        self.routes["story"] = RouteFacts("story", "text.generate", InputType.TEXT, 1000)
        self.checks = dict.fromkeys(("small", "middle", "large"), SURE)


class Stage:
    """A cascade with everything around it made up."""

    def __init__(self) -> None:
        self.broker, self.frontend = BrokerWithLayers(), FakeFrontend()
        loop = asyncio.get_running_loop()
        self.cascade = Cascade(loop, self.broker, Shelf())  # type: ignore[arg-type]
        self.client = Client(self.frontend, "api:anna")

    def ask(self, run: Run = ASKED, ident: bytes = b"1") -> None:
        self.cascade.on_run(self.client, Envelope(ident, run), run)

    async def here(self, answer: Answer) -> None:
        """Let the broker answer its last request, and what follows from that happen."""
        client, ident, _ = self.broker.runs[-1]
        client.frontend.send(client, ident, answer)
        await asyncio.sleep(0)

    def answer(self) -> Answer:
        ((_, answer),) = self.frontend.sent
        assert not self.cascade._open
        return answer


def end(expert: str, score: float, **usage: float) -> End:
    return End(
        outcome=Outcome(
            expert=expert,
            release=1,
            why="why",
            output={"label": "x", "score": score},
            cold=False,
            usage=Usage(**usage),  # type: ignore[arg-type]
        )
    )


def outcome(answer: Answer) -> Outcome:
    assert isinstance(answer, End)
    return answer.outcome


async def test_an_answer_that_stands_is_given_as_it_came() -> None:
    stage = Stage()
    stage.ask()
    await stage.here(end("small", 0.9))
    assert stage.answer() == end("small", 0.9)


async def test_a_doubtful_one_is_asked_of_the_next_layer_with_the_time_that_is_left() -> None:
    stage = Stage()
    run = replace(ASKED, options=Options(deadline_seconds=30.0))
    stage.broker.routing.above = lambda _run, asked: "large" if len(asked) < 2 else None  # type: ignore[method-assign,assignment]
    stage.ask(run)
    await stage.here(end("small", 0.4, run_ms=3.0, joules=0.5))
    _, ident, again = stage.broker.runs[-1]
    assert (ident, again.expert, again.input) == (b"1", "large", ASKED.input)
    assert 29.0 < (again.options.deadline_seconds or 0.0) <= 30.0
    await stage.here(end("large", 0.95, run_ms=4.0, joules=0.7))
    given = outcome(stage.answer())
    assert (given.expert, given.why) == ("large", "why, after small was in doubt")
    assert given.usage.run_ms == 7.0
    assert given.usage.joules == pytest.approx(1.2)
    assert not given.doubt


async def test_at_the_last_layer_what_is_in_doubt_is_given_and_says_so() -> None:
    stage = Stage()
    stage.ask()
    for expert in ("small", "middle", "large"):
        await stage.here(end(expert, 0.4))
    given = outcome(stage.answer())
    assert (given.expert, given.doubt) == ("large", "score 0.40, under 0.8")
    assert len(stage.broker.runs) == 3


@pytest.mark.parametrize("at_once", [True, False])
async def test_if_the_next_layer_fails_the_answer_that_is_there_is_given(*, at_once: bool) -> None:
    stage = Stage()
    stage.ask()
    stage.broker.refusal = BusyError("full") if at_once else None
    await stage.here(end("small", 0.4))
    if not at_once:
        await stage.here(error_message(NoRouteError("gone", nearest=[])))
    given = outcome(stage.answer())
    assert (given.expert, given.doubt) == ("small", "score 0.40, under 0.8")


async def test_an_error_of_the_first_layer_is_the_answer() -> None:
    stage = Stage()
    stage.ask()
    await stage.here(error_message(NoRouteError("nobody", nearest=[])))
    assert isinstance(stage.answer(), Error)
    stage.broker.refusal = NoRouteError("nobody", nearest=[])
    with pytest.raises(NoRouteError):
        stage.ask(ident=b"2")
    assert not stage.cascade._open


async def test_after_its_deadline_a_request_climbs_no_higher() -> None:
    stage = Stage()
    stage.ask(replace(ASKED, options=Options(deadline_seconds=1e-9)))
    await asyncio.sleep(0.001)
    await stage.here(end("small", 0.4))
    assert outcome(stage.answer()).doubt


async def test_what_is_none_of_its_business_goes_to_the_broker_as_it_came() -> None:
    stage = Stage()
    others = [
        replace(ASKED, expert="small"),
        replace(ASKED, options=Options(stream=True)),
        Run(input=ImageInput(data=b"x")),
    ]
    for run in others:
        stage.ask(run)
        assert stage.broker.runs[-1] == (stage.client, b"1", run)
    assert not stage.cascade._open


async def test_cancelling_reaches_the_layer_that_is_asked_now() -> None:
    stage = Stage()
    stage.ask()
    with pytest.raises(InvalidError):
        stage.ask()
    await stage.here(end("small", 0.4))
    stage.cascade.on_cancel(stage.client, b"1")
    assert stage.broker.cancelled == [(stage.broker.runs[-1][0], b"1")]
    await stage.here(error_message(CancelledError("by the caller")))
    assert isinstance(stage.answer(), Error)
    stage.ask(ident=b"2")
    stage.cascade.on_gone(stage.client)
    assert stage.broker.cancelled[-1] == (stage.broker.runs[-1][0], b"2")
    assert stage.broker.gone == [stage.client]


async def test_cancelling_between_two_layers_asks_nobody_else() -> None:
    stage = Stage()
    stage.ask()
    client, ident, _ = stage.broker.runs[-1]
    assert client.frontend.send(client, ident, end("small", 0.4)) is None
    stage.cascade.on_cancel(stage.client, b"1")
    await asyncio.sleep(0)
    assert isinstance(stage.answer(), Error)
    assert len(stage.broker.runs) == 1


async def test_a_layer_that_fails_after_another_answered_is_no_failed_request() -> None:
    stage = Stage()
    stage.ask()
    await stage.here(end("small", 0.4))
    client, ident, _ = stage.broker.runs[-1]
    gone = error_message(NoRouteError("gone", nearest=[]))
    assert client.frontend.send(client, ident, gone) is None
    outcome(stage.answer())


async def test_what_a_small_text_model_gets_wrong_is_marked() -> None:
    stage = Stage()
    stage.broker.routing.above = lambda _run, _asked: None  # type: ignore[method-assign,assignment]
    stage.ask(Run(input=TextInput(text="what is 17 * 23?")))
    await stage.here(Chunk(n=0, text="x"))
    stage.frontend.sent.clear()
    await stage.here(end("story", 1.0))
    assert outcome(stage.answer()).doubt == "arithmetic: small models get it wrong"


def test_the_record_is_that_of_the_first_layer_where_it_was_decided() -> None:
    decided = Decision(id=7, winner="small", why="")
    first = replace(end("small", 0.4).outcome, decision=decided)
    assert summed([first, end("large", 0.9).outcome], "").decision == decided


def test_what_two_took_together_is_known_only_if_it_is_known_of_both() -> None:
    known = Usage(joules=3.0, joules_uncertainty=3.0, tokens_in=2)
    both = added(known, Usage(joules=4.0, joules_uncertainty=4.0))
    assert (both.joules, both.joules_uncertainty, both.tokens_in) == (7.0, 5.0, None)
