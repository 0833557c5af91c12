"""The uplink beside a real daemon, with a server of ours on loopback."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.openai import HEAD, FakeOpenai, event, says, status
from fakes.running import DaemonProcess, RawClient, alive, until

from aiosd.domain.inputs import ChatInput, ImageInput, TextInput, Turn
from aiosd.domain.request import Options, Privacy
from aiosd.protocol.messages import Cancel, Chunk, End, Error, Reply, Run, Uplink

pytestmark = pytest.mark.process

KEY = "sk-very-secret-0123456789"
UP = Options(privacy=Privacy.UPLINK)
NAMED = Run(expert="uplink", input=TextInput(text="hello there"), options=UP)


@pytest.fixture
def server() -> Iterator[FakeOpenai]:
    with FakeOpenai() as made:
        yield made


def start(daemon: DaemonProcess, *servers: FakeOpenai, **uplink: object) -> RawClient:
    """Start a daemon whose owner allows everything, and return a client."""
    key = daemon.folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    endpoints = [
        {"name": f"e{n}", "url": server.url, "model": "big", "key_file": str(key)}
        for n, server in enumerate(servers, 1)
    ]
    allowed: dict[str, object] = {
        "on": True,
        "allow": ["*"],
        "users": [str(os.getuid())],
        "plain_http": [server.address for server in servers],
        "endpoints": endpoints,
    }
    return daemon.start(uplink=allowed | uplink).client()


def look(daemon: DaemonProcess, action: str = "status") -> dict[str, object]:
    client = daemon.admin()
    answer = client.ask(Uplink(action=action))  # type: ignore[arg-type]
    client.close()
    assert isinstance(answer, Reply), answer
    return answer.body


def uplink_pid(daemon: DaemonProcess) -> int:
    def found() -> int:
        process = look(daemon)["process"]
        assert isinstance(process, dict)
        return process["pid"] or 0

    return until(found, "the uplink's process")


def error(answer: object) -> Error:
    assert isinstance(answer, Error), answer
    return answer


def end(answer: object) -> End:
    assert isinstance(answer, End), answer
    return answer


def test_what_nobody_here_can_answer_goes_up_and_says_so(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    daemon.install("words")
    client = start(daemon, server)
    here = end(client.ask(Run(task="echo", input=TextInput(text="x"), options=UP)))
    assert here.outcome.expert == "words"
    chat = ChatInput(
        messages=[Turn(role="user", content="hello"), Turn(role="user", content="a b")]
    )
    for run in (
        Run(input=chat, options=UP),
        Run(task="text.generate", input=TextInput(text="a b"), options=UP),
        Run(expert="uplink", input=TextInput(text="a b"), options=UP),
    ):
        outcome = end(client.ask(run)).outcome
        assert (outcome.expert, outcome.output["text"]) == ("uplink", "ab")
        assert outcome.output["endpoint"] == "e1"
        assert outcome.why.startswith("by the uplink at e1")
        assert (outcome.usage.tokens_in, outcome.usage.tokens_out) == (7, 3)
    assert len(server.asked) == 3


def test_an_answer_streams_through_piece_by_piece(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    options = Options(privacy=Privacy.UPLINK, stream=True)
    request = client.send(Run(expert="uplink", input=TextInput(text="a b c"), options=options))
    pieces = []
    while isinstance(answer := client.next(request), Chunk):
        assert answer.n == len(pieces)
        pieces.append(answer.text)
    assert pieces == ["a", "b", "c"]
    assert end(answer).outcome.output["text"] == "abc"


def test_two_words_are_needed_the_requests_and_the_owners(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server, allow=["auto"])
    local = error(client.ask(Run(expert="uplink", input=TextInput(text="x"))))
    assert (local.code, local.details["forbidden_by"]) == ("refused_privacy", "request")
    assert error(client.ask(Run(input=TextInput(text="x")))).code == "no_route"
    refused = error(client.ask(NAMED))
    assert (refused.code, refused.details["forbidden_by"]) == ("refused_privacy", "uplink.allow")
    asked = Run(task="text.generate", input=TextInput(text="x"), options=UP)
    refused = error(client.ask(asked))
    assert (refused.code, refused.details["local_code"]) == ("refused_privacy", "no_route")
    wrong = error(client.ask(Run(input=ImageInput(data=b"x"), options=UP)))
    assert wrong.code == "no_route"
    assert server.asked == []
    daemon.configure(uplink={"allow": ["*"], "users": ["12345"]})
    daemon.signal(signal.SIGHUP)
    until(lambda: look(daemon)["users"] == [12345], "the new settings")
    refused = error(client.ask(NAMED))
    assert (refused.code, refused.details["forbidden_by"]) == ("refused_privacy", "uplink.users")
    assert server.asked == []


def test_an_expert_for_which_there_is_no_room_is_stood_in_for_if_its_package_lets_it(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    big = daemon.install("big", mebibytes=4000)
    client = start(daemon, server)
    asked = Run(input=TextInput(text="x y"), options=UP)
    refused = error(client.ask(asked))
    assert (refused.code, refused.details["forbidden_by"]) == ("refused_privacy", "package")
    assert refused.details["local_code"] == "over_ram"
    path = big / "expert.toml"
    path.write_text('privacy = "uplink"\n' + path.read_text())
    daemon.signal(signal.SIGHUP)
    until(lambda: isinstance(client.ask(asked), End), "the package's new word")
    sent = len(server.asked)
    # Its worker is here: requests that must stay ask it too, and stay, whatever it says.
    assert error(client.ask(Run(input=TextInput(text="x y")))).code == "over_ram"
    assert len(server.asked) == sent


def test_a_local_package_among_several_that_cannot_now_keeps_the_request_here(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    for name, privacy in (("shy", "local"), ("bold", "uplink")):
        path = daemon.install(name, mebibytes=4000) / "expert.toml"
        path.write_text(f'privacy = "{privacy}"\n' + path.read_text())
    client = start(daemon, server)
    refused = error(client.ask(Run(input=TextInput(text="x y"), options=UP)))
    assert (refused.code, refused.details["forbidden_by"]) == ("refused_privacy", "package")
    assert server.asked == []


def test_without_an_uplink_nothing_of_it_is_there(daemon: DaemonProcess) -> None:
    daemon.install("words")
    client = daemon.start().client()
    assert error(client.ask(NAMED)).code == "unknown_expert"
    assert look(daemon)["on"] is False
    assert error(daemon.admin().ask(Uplink(action="on"))).code == "invalid"
    assert error(client.ask(Uplink())).code == "forbidden"
    assert [child for child in children(daemon.pid) if "aiosd.uplink" in child] == []


def children(pid: int) -> list[str]:
    """The command lines of a process' children."""
    lines = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == pid:
                lines.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines


def test_an_uplink_that_is_killed_ends_its_request_and_comes_back(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    server.scripts = [server.stall(HEAD, event("half"))]
    options = Options(privacy=Privacy.UPLINK, stream=True)
    request = client.send(Run(expert="uplink", input=TextInput(text="x"), options=options))
    assert isinstance(client.next(request), Chunk)
    first = uplink_pid(daemon)
    os.kill(first, signal.SIGKILL)
    failed = error(client.next(request))
    assert failed.code == "expert_failed"
    assert "SIGKILL" in str(failed.details["reason"])
    until(lambda: answered_after_a_rest(client), "another process")
    assert uplink_pid(daemon) != first


def answered_after_a_rest(client: RawClient) -> bool:
    """Ask; until there is an answer, the uplink says how long it rests."""
    answer = client.ask(NAMED)
    if isinstance(answer, Error):
        assert answer.code == "no_route"
        assert 0 < float(str(answer.details["retry_after_seconds"])) <= 0.5
    return isinstance(answer, End)


def test_an_uplink_that_hangs_is_given_up_at_the_deadline_and_then_ended(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    end(client.ask(NAMED))
    first = uplink_pid(daemon)
    os.kill(first, signal.SIGSTOP)
    late = Options(privacy=Privacy.UPLINK, deadline_seconds=0.3)
    asked = Run(expert="uplink", input=TextInput(text="x"), options=late)
    assert error(client.ask(asked)).code == "deadline"
    until(lambda: not alive(first), "the end of the process that hung")
    until(lambda: isinstance(client.ask(NAMED), End), "another process")


def test_the_deadline_holds_wherever_the_request_is(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    server.last = server.stall(HEAD, event("a"))
    late = Options(privacy=Privacy.UPLINK, deadline_seconds=0.5)
    asked = Run(expert="uplink", input=TextInput(text="x"), options=late)
    assert error(client.ask(asked)).code == "deadline"


def test_a_cancelled_request_lets_go_and_makes_room(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server, parallel=1)
    server.scripts = [server.stall(HEAD, event("a"))]
    request = client.send(NAMED)
    server.wait_for(1)
    waiting = client.send(NAMED)
    client.send(Cancel(), ident=request)
    assert error(client.end(request)).code == "cancelled"
    assert end(client.end(waiting)).outcome.expert == "uplink"


def test_too_many_at_once_are_busy(daemon: DaemonProcess, server: FakeOpenai) -> None:
    client = start(daemon, server, parallel=1, waiting=1)
    server.scripts = [server.stall()]
    client.send(NAMED)
    server.wait_for(1)
    client.send(NAMED)
    assert error(client.ask(NAMED)).code == "busy"


def test_a_daemon_that_stops_ends_what_is_up(daemon: DaemonProcess, server: FakeOpenai) -> None:
    daemon.configure(stop={"drain_seconds": 0.3})
    client = start(daemon, server)
    server.scripts = [server.stall(HEAD, event("a"))]
    request = client.send(NAMED)
    server.wait_for(1)
    pid = uplink_pid(daemon)
    daemon.signal(signal.SIGTERM)
    stopped = error(client.end(request))
    assert (stopped.code, stopped.details["retry_after_seconds"]) == ("cancelled", 2.0)
    assert daemon.wait() == 0
    assert not alive(pid)


def test_a_daemon_that_is_killed_takes_its_uplink_along(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    server.scripts = [server.stall(HEAD, event("a"))]
    client.send(NAMED)
    server.wait_for(1)
    pid = uplink_pid(daemon)
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until(lambda: not alive(pid), "the end of its uplink")


def test_an_operator_switches_it_off_and_on_and_a_restart_remembers(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    server.scripts = [server.stall()]
    request = client.send(NAMED)
    server.wait_for(1)
    pid = uplink_pid(daemon)
    assert look(daemon, "off") == {"on": False, "lasting": True}
    assert error(client.end(request)).code == "cancelled"
    until(lambda: not alive(pid), "the end of the process")
    off = error(client.ask(NAMED))
    assert (off.code, "switched off" in off.message) == ("no_route", True)
    assert look(daemon)["on"] is False
    daemon.stop()
    client = start(daemon, server)
    assert error(client.ask(NAMED)).code == "no_route"
    assert look(daemon, "on") == {"on": True, "lasting": True}
    assert isinstance(client.ask(NAMED), End)
    log = look(daemon, "log")["entries"]
    assert isinstance(log, list)
    assert [entry["what"] for entry in log][-2:] == ["sent", "ended"]
    assert log[-2]["uid"] == os.getuid()


def test_it_goes_when_nobody_needs_it_and_comes_back_for_the_next(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server, idle_seconds=0.2)
    end(client.ask(NAMED))
    until(lambda: not any("aiosd.uplink" in line for line in children(daemon.pid)), "its leave")
    end(client.ask(NAMED))


def test_the_key_is_nowhere_but_in_its_file_and_in_the_header(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    server.scripts = [
        status(401, f"Incorrect API key provided: {KEY}".encode()),
        server.reset(HEAD, event("a")),
        says("fine"),
    ]
    client = start(daemon, server, keep=True, failures=10)
    answers = [client.ask(NAMED) for _ in range(3)]
    assert isinstance(answers[-1], End)
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    shown = repr(answers) + repr(look(daemon)) + repr(look(daemon, "log")) + daemon.log
    pid = uplink_pid(daemon)
    for name in ("cmdline", "environ"):
        for process in (pid, daemon.pid):
            shown += Path(f"/proc/{process}/{name}").read_bytes().decode(errors="replace")
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    for path in daemon.folder.rglob("*"):
        if path.is_file() and path != daemon.folder / "key":
            shown += path.read_bytes().decode("latin-1")
    assert "sk-very" not in shown
    os.kill(pid, signal.SIGABRT)
    until(lambda: not alive(pid), "its end")
    assert not list(daemon.folder.rglob("core*"))


def test_a_key_that_others_may_read_is_refused_and_said(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    (daemon.folder / "key").chmod(0o644)
    look(daemon, "off")
    look(daemon, "on")
    refused = error(client.ask(NAMED))
    assert refused.code == "no_route"
    assert "chmod 600" in refused.message
    assert server.asked == []
    endpoints = look(daemon)["endpoints"]
    assert isinstance(endpoints, list)
    assert endpoints[0]["state"] == "unusable"


def test_what_is_kept_for_the_distillery_is_what_went_up(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server, keep=True, redact=[r"\d{4,}"], never_keep=["auto"])
    end(client.ask(Run(expert="uplink", input=TextInput(text="pin 12345 please"), options=UP)))
    end(client.ask(Run(input=TextInput(text="not this one"), options=UP)))
    path = daemon.state / "uplink" / "teaching.jsonl"
    (line,) = path.read_text().splitlines()
    lesson = json.loads(line)
    assert lesson["messages"] == [{"role": "user", "content": "pin [redacted] please"}]
    assert lesson["answer"] == "pin[redacted]please"
    assert path.stat().st_mode & 0o777 == 0o600


SYSTEMD = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
os.execv(sys.executable, [sys.executable, "-m", "aiosd.uplink", "--config", sys.argv[2]])
"""


def activated(
    daemon: DaemonProcess, listener: socket.socket, **environment: str
) -> subprocess.Popen[bytes]:
    """Wait for a call as systemd does, then hand the socket to a new process of the uplink."""
    assert select.select([listener], [], [], 20)[0], "nobody calls"
    arguments = [sys.executable, "-c", SYSTEMD, str(listener.fileno()), str(daemon.config)]
    with (daemon.folder / "uplink-log").open("ab") as log:
        return subprocess.Popen(
            arguments,
            pass_fds=[listener.fileno()],
            stderr=log,
            env={**os.environ, **environment},
        )


def test_under_systemd_the_daemon_calls_a_service_with_credentials_of_its_own(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    daemon.sockets.mkdir()
    credentials, state = daemon.folder / "credentials", daemon.folder / "uplink-state"
    credentials.mkdir()
    (credentials / "cloud").write_text(KEY)
    around = {"CREDENTIALS_DIRECTORY": str(credentials), "STATE_DIRECTORY": str(state)}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(daemon.sockets / "uplink.sock"))
        listener.listen(8)
        endpoint = {"name": "e1", "url": server.url, "model": "m", "key_credential": "cloud"}
        client = start(daemon, server, endpoints=[endpoint])
        first = activated(daemon, listener, **around)
        end(client.ask(NAMED))
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
        process = look(daemon)["process"]
        assert isinstance(process, dict)
        assert (process["pid"], process["started_by"]) == (first.pid, "socket")
        assert not any("aiosd.uplink" in line for line in children(daemon.pid))
        assert (state / "log.jsonl").exists()
        first.kill()
        first.wait(20)
        until(lambda: fell(daemon), "that the daemon noticed")
        request = until(lambda: called_for(client, listener), "the end of the rest")
        second = activated(daemon, listener, **around)
        assert end(client.end(request)).outcome.expert == "uplink"
        daemon.stop()
        assert second.wait(20) == 0


def fell(daemon: DaemonProcess) -> bool:
    """Tell whether the uplink's process fell."""
    process = look(daemon)["process"]
    return isinstance(process, dict) and process["fell"] > 0


def called_for(client: RawClient, listener: socket.socket) -> bytes | None:
    """Ask, and return the id if the daemon calls for it; it does not while the uplink rests."""
    request = client.send(NAMED)
    return request if select.select([listener], [], [], 1.0)[0] else None


def test_a_service_without_a_network_says_what_is_missing(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    daemon.configure()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(daemon.folder / "notify"))
        os.environ["NOTIFY_SOCKET"] = str(daemon.folder / "notify")
        try:
            client = start(daemon, server)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        missing = error(client.ask(NAMED))
        assert missing.code == "no_route"
        assert "enable aiosd-uplink.socket" in missing.message
        assert server.asked == []


def test_the_daemon_holds_no_connection_of_its_own(
    daemon: DaemonProcess, server: FakeOpenai
) -> None:
    client = start(daemon, server)
    end(client.ask(NAMED))
    families = {
        name: {
            line.split()[9]
            for line in Path(f"/proc/{daemon.pid}/net/{name}").read_text().splitlines()[1:]
        }
        for name in ("tcp", "udp", "raw")
    }
    inodes = set().union(*families.values())
    mine = {
        str(path.readlink()).removeprefix("socket:[").removesuffix("]")
        for path in Path(f"/proc/{daemon.pid}/fd").iterdir()
        if str(path.readlink()).startswith("socket:")
    }
    assert mine
    assert not mine & inodes
