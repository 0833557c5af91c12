"""Requests through a real daemon, a real host and real workers."""

import pytest
from fakes.running import DaemonProcess, alive, until

from aiosd.domain.inputs import JsonInput, TextInput
from aiosd.protocol.messages import (
    Cancel,
    Chunk,
    End,
    Error,
    Load,
    Pin,
    Reply,
    Run,
    Unload,
)

pytestmark = pytest.mark.process


def text_of(answer: object) -> object:
    assert isinstance(answer, End), answer
    return answer.outcome.output["text"]


def error_of(answer: object) -> Error:
    assert isinstance(answer, Error), answer
    return answer


def test_a_request_takes_the_nine_steps_and_comes_back_with_its_cost(
    daemon: DaemonProcess,
) -> None:
    daemon.install("echo", release=7)
    client = daemon.start().client()
    first, second = client.say("echo", "hello there"), client.say("echo", "again")
    assert isinstance(first, End)
    assert isinstance(second, End)
    assert (first.outcome.output["text"], first.outcome.release) == ("hello there", 7)
    assert (first.outcome.cold, second.outcome.cold) == (True, False)
    assert first.outcome.usage.load_ms > 0
    assert second.outcome.usage.load_ms == 0
    assert second.outcome.usage.run_ms > 0


def test_a_streamed_answer_comes_in_counted_pieces_that_add_up(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    request = client.run("echo", "!tokens 1000", stream=True)
    pieces = []
    while isinstance(answer := client.next(request), Chunk):
        assert answer.n == len(pieces)
        pieces.append(answer.text)
    assert isinstance(answer, End)
    assert "".join(pieces) == answer.outcome.output["text"]
    assert answer.outcome.usage.tokens_out == 1000


def test_an_expert_is_found_by_its_task_and_by_the_kind_of_input(daemon: DaemonProcess) -> None:
    daemon.install("words")
    daemon.install("values", kind="json")
    client = daemon.start().client()
    answer = client.ask(Run(task="echo", input=JsonInput(value={"a": [1, None]})))
    assert isinstance(answer, End)
    assert answer.outcome.expert == "values"
    answer = client.ask(Run(input=TextInput(text="x")))
    assert isinstance(answer, End)
    assert answer.outcome.expert == "words"


def test_unknown_names_and_kinds_are_refused_with_a_hint(daemon: DaemonProcess) -> None:
    daemon.install("echo")
    client = daemon.start().client()
    unknown = error_of(client.say("ecko", "x"))
    assert (unknown.code, unknown.details["nearest"]) == ("unknown_expert", ["echo"])
    wrong = error_of(client.give("echo", JsonInput(value=1)))
    assert (wrong.code, wrong.details["field"]) == ("invalid", "input.type")
    nobody = error_of(client.ask(Run(task="text.embed", input=TextInput(text="x"))))
    assert nobody.code == "no_route"


def test_a_model_that_fails_or_refuses_says_so_and_its_worker_lives_on(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    pid = daemon.start().load("echo")
    client = daemon.client()
    failed = error_of(client.say("echo", "!fail no such word"))
    assert (failed.code, failed.message) == ("expert_failed", "no such word")
    assert error_of(client.say("echo", "!invalid bad")).code == "invalid"
    assert text_of(client.say("echo", "fine")) == "fine"
    assert daemon.worker("echo") == pid


def test_experts_are_evicted_under_the_cap_and_unload_is_exit(daemon: DaemonProcess) -> None:
    for name in ("a", "b", "c"):
        daemon.install(name, mebibytes=60)
    daemon.start(ram={"cap": "100 MiB"}, engines={"hosts": "off"})
    pid = daemon.load("a")
    client = daemon.client()
    answer = client.say("b", "!alloc 50")
    assert text_of(answer) == "took 50 MiB"
    assert text_of(client.say("c", "hello")) == "hello"
    until(lambda: set(daemon.loaded()) <= {"c", "a"}, "b to be gone")
    assert daemon.status()["evictions"]
    assert isinstance(daemon.admin().ask(Unload(expert="c")), Reply)
    assert "c" not in daemon.loaded()
    until(lambda: not alive(pid) or "a" in daemon.loaded(), "a to be gone or loaded")


def test_over_ram_says_need_have_and_what_is_in_the_way(daemon: DaemonProcess) -> None:
    daemon.install("small", mebibytes=60)
    daemon.install("large", mebibytes=90)
    daemon.install("huge", mebibytes=500)
    daemon.start(ram={"cap": "100 MiB"}, engines={"start_hosts": False, "hosts": "off"})
    client, admin = daemon.client(), daemon.admin()
    error = error_of(client.say("huge", "x"))
    assert error.code == "over_ram"
    assert error.details["need_bytes"] == 500 << 20
    assert error.details["cap_bytes"] == error.details["have_bytes"] == 100 << 20
    daemon.load("small")
    assert isinstance(admin.ask(Pin(expert="small")), Reply)
    error = error_of(client.say("large", "x"))
    assert (error.code, error.details["would_free"]) == ("over_ram", ["small"])
    assert error_of(admin.ask(Load(expert="huge"))).code == "over_ram"


def test_memory_that_a_worker_took_is_in_the_books_and_comes_back_when_it_leaves(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    pid = daemon.start().load("echo")
    before = daemon.status()["ram_used_bytes"]
    daemon.client().say("echo", "!alloc 64")
    until(  # it measures itself after its answer, which does not wait for that
        lambda: daemon.status()["ram_used_bytes"] - before > 60 << 20,  # type: ignore[operator]
        "the books to hold what the worker took",
    )
    daemon.admin().ask(Unload(expert="echo"))
    until(lambda: not alive(pid), "the worker to exit")
    until(
        lambda: daemon.status()["ram_used_bytes"] <= before,  # type: ignore[operator]
        "the books to forget it",
    )


def test_an_expert_with_no_keep_alive_leaves_after_its_answer(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.start()
    client = daemon.client()
    assert text_of(client.say("echo", "bye", keep_alive_seconds=0)) == "bye"
    until(lambda: not daemon.loaded(), "the expert to leave")


def test_a_cancel_ends_a_running_and_a_queued_request(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    running = client.run("echo", "!sleep 60")
    queued = client.run("echo", "never said")
    daemon.running("echo")
    client.send(Cancel(), ident=queued)
    assert error_of(client.end(queued)).code == "cancelled"
    pid = daemon.worker("echo")
    client.send(Cancel(), ident=running)
    assert error_of(client.end(running)).code == "cancelled"
    assert text_of(client.say("echo", "next")) == "next"
    assert daemon.worker("echo") == pid


def test_a_worker_deaf_to_cancel_is_killed_after_the_grace(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start(stop={"interrupt_grace_seconds": 0.2}).client()
    running = client.run("echo", "!deaf 60")
    daemon.running("echo")
    pid = daemon.worker("echo")
    client.send(Cancel(), ident=running)
    assert error_of(client.end(running)).code == "cancelled"
    assert text_of(client.say("echo", "next")) == "next"
    assert daemon.worker("echo") != pid
    assert not alive(pid)


def test_deadlines_end_running_and_queued_requests_and_say_where_they_were(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    client = daemon.start().client()
    client.say("echo", "warm up")
    running = client.run("echo", "!sleep 60", deadline_seconds=0.4)
    queued = client.run("echo", "never said", deadline_seconds=0.2)
    late = error_of(client.end(queued))
    assert (late.code, late.details["stage"]) == ("deadline", "queued")
    late = error_of(client.end(running))
    assert (late.code, late.details["stage"]) == ("deadline", "running")
    assert error_of(client.say("echo", "x", deadline_seconds=-1)).code == "deadline"
    assert error_of(client.say("echo", "x", deadline_seconds=float("nan"))).code == "invalid"
    assert error_of(client.say("echo", "x", keep_alive_seconds=float("nan"))).code == "invalid"


def test_a_greedy_client_is_bounded_and_delays_a_modest_one_by_little(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    daemon.start(queue={"per_client": 8})
    greedy, modest = daemon.client(), daemon.client()
    greedy.say("echo", "warm up")
    requests = [greedy.run("echo", "!sleep 0.05") for _ in range(20)]
    refused = [error_of(greedy.end(each)) for each in requests[9:]]
    assert {each.code for each in refused} == {"busy"}
    assert all(each.details["retry_after_seconds"] for each in refused)
    assert text_of(modest.say("echo", "me too")) == "me too"
    assert daemon.loaded()["echo"]["queue"] >= 4  # type: ignore[operator]
    assert {text_of(greedy.end(each)) for each in requests[:9]} == {"slept"}


def test_inputs_that_wait_are_bounded_in_bytes(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start(queue={"max_bytes": "300 KiB"}).client()
    first = client.run("echo", "!sleep 0.5 ")
    big = [client.run("echo", "x" * 200_000) for _ in range(2)]
    assert error_of(client.end(big[1])).code == "busy"
    assert text_of(client.end(big[0])) == "x" * 200_000
    assert isinstance(client.end(first), Error | End)


def test_the_same_id_twice_is_refused_while_the_first_runs(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    client.send(Run(expert="echo", input=TextInput(text="!sleep 0.3")), ident=b"same")
    client.send(Run(expert="echo", input=TextInput(text="x")), ident=b"same")
    assert error_of(client.end(b"same")).details["field"] == "id"
    assert text_of(client.end(b"same")) == "slept"


def test_operators_verbs_are_refused_on_the_api_socket(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    assert error_of(client.ask(Load(expert="echo"))).code == "forbidden"
    assert error_of(daemon.admin().ask(Load(expert="nobody"))).code == "unknown_expert"


def test_a_payload_of_five_megabytes_reaches_the_worker_whole(daemon: DaemonProcess) -> None:
    from aiosd.domain.inputs import SeriesInput  # noqa: PLC0415

    daemon.install("series", kind="series")
    client = daemon.start().client()
    for size in (0, 4, 65_532, 65_536, 5_000_000):
        answer = client.give("series", SeriesInput(frame=0), bytes(size))
        assert isinstance(answer, End | Error), size
        if isinstance(answer, Error):
            assert answer.code == "invalid", (size, answer)
    assert daemon.worker("series")


def test_workers_without_hosts_do_the_same(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start(engines={"hosts": "off"}).client()
    assert text_of(client.say("echo", "hello")) == "hello"
    assert daemon.hosts() == {}
    running = client.run("echo", "!sleep 60")
    daemon.running("echo")
    client.send(Cancel(), ident=running)
    assert error_of(client.end(running)).code == "cancelled"
    crashed = error_of(client.say("echo", "!crash segv"))
    assert "SIGSEGV" in crashed.message
    pid = daemon.load("echo")
    daemon.admin().ask(Unload(expert="echo"))
    until(lambda: not alive(pid), "the worker to exit")
