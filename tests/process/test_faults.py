"""What breaks, and what goes on all the same."""

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import msgspec
import pytest
from fakes.running import DaemonProcess, RawClient, alive, until

from aiosd.protocol.messages import End, Error, List, Load, Ping, Ps, Reply, Unload
from aiosd.protocol.zmtp import GREETING, command

pytestmark = pytest.mark.process


def text_of(answer: object) -> object:
    assert isinstance(answer, End), answer
    return answer.outcome.output["text"]


def error_of(answer: object) -> Error:
    assert isinstance(answer, Error), answer
    return answer


def children(pid: int) -> list[int]:
    """Return the processes below one, however deep."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


# ── workers ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["segv", "kill", "abrt"])
def test_a_worker_that_dies_costs_its_request_and_nothing_else(
    daemon: DaemonProcess, name: str
) -> None:
    daemon.install("echo")
    daemon.install("other")
    client = daemon.start().client()
    other = daemon.load("other")
    waiting = client.run("echo", "!sleep 0.2")
    crashed = client.run("echo", f"!crash {name}")
    behind = client.run("echo", "behind it")
    assert text_of(client.end(waiting)) == "slept"
    error = error_of(client.end(crashed))
    assert error.code == "expert_failed"
    assert f"SIG{name.upper()}" in str(error.details["reason"])
    assert text_of(client.end(behind)) == "behind it"
    assert daemon.worker("other") == other


def test_an_exit_in_mid_answer_is_a_typed_error(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    assert "exited with status 3" in error_of(client.say("echo", "!exit 3")).message
    assert "exited with status 0" in error_of(client.say("echo", "!exit 0")).message
    assert text_of(client.say("echo", "fine")) == "fine"


def test_a_crash_loop_rests_and_says_when_to_come_back(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.install("other")
    client = daemon.start(restart={"crashes": 2, "first_rest_seconds": 1.0}).client()
    for _ in range(3):
        error_of(client.say("echo", "!crash segv"))
    error = error_of(client.say("echo", "hello"))
    assert error.code == "expert_failed"
    assert 0 < float(error.details["retry_after_seconds"]) <= 1.0  # type: ignore[arg-type]
    assert "crashed 3 times" in error.message
    assert text_of(client.say("other", "me not")) == "me not"
    until(lambda: isinstance(client.say("echo", "hello"), End), "the rest to end")


def test_a_worker_that_is_killed_while_idle_is_replaced(daemon: DaemonProcess) -> None:
    daemon.install()
    pid = daemon.start().load("echo")
    client = daemon.client()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not daemon.loaded(), "the loss to be noticed")
    assert text_of(client.say("echo", "back")) == "back"
    assert daemon.worker("echo") != pid


def test_a_stopped_worker_is_killed_when_it_does_not_leave(daemon: DaemonProcess) -> None:
    daemon.install()
    pid = daemon.start(stop={"interrupt_grace_seconds": 0.2}).load("echo")
    os.kill(pid, signal.SIGSTOP)
    answer = daemon.admin().ask(Unload(expert="echo"))
    assert isinstance(answer, Reply)
    assert not alive(pid)


def test_workers_outlive_their_host_until_their_work_is_done(daemon: DaemonProcess) -> None:
    daemon.install("echo")
    daemon.install("other")
    daemon.start().load("echo")
    client = daemon.client()
    running = client.run("echo", "!sleep 0.6")
    daemon.running("echo")
    host = int(daemon.hosts()["echo"]["pid"])  # type: ignore[call-overload]
    os.kill(host, signal.SIGKILL)
    until(lambda: daemon.hosts().get("echo", {}).get("pid") != host, "the loss to be noticed")
    assert isinstance(client.end(running), End | Error)
    assert text_of(client.say("other", "by a new host")) == "by a new host"
    assert text_of(client.say("echo", "and this")) == "and this"


def test_a_host_that_hangs_is_killed_with_the_load_it_kept_waiting(daemon: DaemonProcess) -> None:
    daemon.install("echo")
    daemon.install("other")
    # Time enough for a new host on a busy machine, which counts as part of the load.
    daemon.start(experts={"load_limit_seconds": 4.0}, restart={"first_rest_seconds": 0.0})
    other = daemon.load("other")
    host = int(daemon.hosts()["echo"]["pid"])  # type: ignore[call-overload]
    os.kill(host, signal.SIGSTOP)
    client = daemon.client()
    error = error_of(client.say("echo", "hello?"))
    assert (error.code, error.details["reason"]) == (
        "expert_failed",
        "loading took longer than 4 s",
    )
    assert not alive(host)
    assert text_of(client.say("echo", "by a new host")) == "by a new host"
    assert daemon.worker("other") == other
    assert text_of(client.say("other", "still here")) == "still here"


def test_a_load_that_fails_is_not_tried_in_a_loop(daemon: DaemonProcess) -> None:
    folder = daemon.install("rotten", model=b"x" * 1000)
    (folder / "model.bin").write_bytes(b"y" * 1000)
    client = daemon.start().client()
    requests = [client.run("rotten", "x") for _ in range(5)]
    errors = [error_of(client.end(each)) for each in requests]
    assert {each.code for each in errors} == {"expert_failed"}
    assert "sha256" in errors[0].message
    status = daemon.status()["requests"]
    assert status["cold_loads"] == 1  # type: ignore[index]
    answer = error_of(daemon.admin().ask(Load(expert="rotten")))
    assert "sha256" in answer.message


# ── the daemon ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hosts", ["on", "off"])
def test_a_killed_daemon_leaves_nobody_behind_and_clients_go_on(
    daemon: DaemonProcess, hosts: str
) -> None:
    daemon.install("busy")
    daemon.install("idle")
    daemon.start(engines={"hosts": hosts})
    client = daemon.client()
    daemon.load("idle")
    lost = client.run("busy", "!sleep 600")
    daemon.running("busy")
    below = children(daemon.pid)
    assert len(below) >= 2
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until(lambda: not any(alive(pid) for pid in below), "hosts and workers to end")
    daemon.start()
    assert text_of(client.say("idle", "hello again")) == "hello again"
    assert lost not in client._kept


def test_a_second_daemon_on_the_same_sockets_leaves_and_harms_nothing(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    client = daemon.start().client()
    second = daemon.spawn()
    assert second.wait(20) == 75
    assert "another aiosd serves" in daemon.log
    assert text_of(client.say("echo", "still here")) == "still here"
    assert (daemon.sockets / "api.sock").exists()


def test_wrong_settings_end_the_start_with_the_line(daemon: DaemonProcess) -> None:
    daemon.configure(queue={"per_clent": 3})
    assert daemon.spawn().wait(20) == 78
    lines = daemon.config.read_text().splitlines()
    assert f"aiosd.toml:{lines.index('per_clent = 3') + 1}:" in daemon.log
    assert "per_clent" in daemon.log
    assert "Traceback" not in daemon.log


def test_a_reload_takes_packages_and_cap_and_drops_no_request(daemon: DaemonProcess) -> None:
    daemon.install("old", mebibytes=60)
    daemon.install("gone")
    client = daemon.start(ram={"cap": "200 MiB"}).client()
    running = client.run("old", "!sleep 0.7")
    daemon.running("old")
    daemon.install("old", release=2, mebibytes=60)
    daemon.install("new")
    (daemon.experts / "gone" / "expert.toml").unlink()
    daemon.configure(ram={"cap": "150 MiB"})
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.status()["ram_cap_bytes"] == 150 << 20, "the new cap")
    answer = client.end(running)
    assert isinstance(answer, End)
    assert (answer.outcome.output["text"], answer.outcome.release) == ("slept", 1)
    answer = client.say("old", "hello")
    assert isinstance(answer, End)
    assert answer.outcome.release == 2
    assert text_of(client.say("new", "hello")) == "hello"
    assert error_of(client.say("gone", "hello")).code == "unknown_expert"


def test_hosts_stay_until_a_restart_and_so_does_what_experts_are_reckoned_to_need(
    daemon: DaemonProcess,
) -> None:
    daemon.install("old")
    daemon.start(ram={"cap": "200 MiB"}, engines={"hosts": "on"})
    daemon.install("new")
    daemon.configure(ram={"cap": "150 MiB"}, engines={"hosts": "off"})
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.status()["ram_cap_bytes"] == 150 << 20, "the new cap")
    assert daemon.hosts()
    old, new = (each["need_bytes"] for each in daemon.look(List())["experts"])  # type: ignore[attr-defined]
    assert old == new


def test_a_reload_with_a_wrong_file_keeps_the_old_settings(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start(ram={"cap": "200 MiB"}).client()
    daemon.configure(ram={"cap": "much"})
    daemon.signal(signal.SIGHUP)
    until(lambda: "not reloaded" in daemon.log, "the complaint")
    assert daemon.status()["ram_cap_bytes"] == 200 << 20
    from aiosd.protocol.messages import Reload  # noqa: PLC0415

    assert "much" in error_of(daemon.admin().ask(Reload())).message
    assert text_of(client.say("echo", "still here")) == "still here"


def test_sigterm_lets_what_runs_end_and_refuses_what_is_new(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    running = client.run("echo", "!sleep 0.8")
    queued = client.run("echo", "after it")
    daemon.running("echo")
    daemon.signal(signal.SIGTERM)
    until(lambda: daemon.status()["stopping"], "the stop")
    assert error_of(client.say("echo", "too late")).code == "busy"
    assert text_of(client.end(running)) == "slept"
    assert text_of(client.end(queued)) == "after it"
    assert daemon.wait() == 0
    assert not (daemon.sockets / "api.sock").exists()


def test_sigterm_gives_up_after_the_limit_and_says_so(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start(stop={"drain_seconds": 0.3}).client()
    running, queued = client.run("echo", "!sleep 600"), client.run("echo", "never")
    daemon.running("echo")
    below = children(daemon.pid)
    daemon.signal(signal.SIGTERM)
    for request in (running, queued):
        error = error_of(client.end(request))
        assert (error.code, error.message) == ("cancelled", "the daemon is stopping")
    assert daemon.wait(5) == 0
    until(lambda: not any(alive(pid) for pid in below), "hosts and workers to end")


def test_an_idle_daemon_sleeps(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.start().load("echo")
    pids = [daemon.pid, *children(daemon.pid)]

    def wakes() -> int:
        total = 0
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        total += int(line.split()[1])
        return total

    until(lambda: daemon.hosts()["echo"]["version"] != "starting", "the host")
    client = daemon.client()  # its connecting wakes libzmq's own thread a few times
    client.socket.poll(300)
    before = wakes()
    client.socket.poll(1500)
    assert wakes() - before <= 5


# ── disks ─────────────────────────────────────────────────────────────────────────────────────


def test_a_state_folder_that_cannot_be_written_costs_only_time(daemon: DaemonProcess) -> None:
    daemon.state.rmdir()
    daemon.state.write_text("a file where the folder should be")
    daemon.install("echo", model=b"weights")
    client = daemon.start().client()
    assert text_of(client.say("echo", "hello")) == "hello"


def test_a_full_state_folder_costs_only_time(daemon: DaemonProcess) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    target = os.fsencode(daemon.state)
    if libc.mount(b"none", target, b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip("this kernel lets nobody mount here")
    try:
        with pytest.raises(OSError, match="space"):
            (daemon.state / "filler").write_bytes(bytes(1 << 20))
        folder = daemon.install("echo", model=b"weights")
        os.utime(folder / "model.bin", (1, 1))
        client = daemon.start().client()
        assert text_of(client.say("echo", "hello")) == "hello"
        daemon.stop()
    finally:
        libc.umount2(target, 2)


def test_bad_packages_are_refused_with_the_reason_and_hide_nobody(daemon: DaemonProcess) -> None:
    daemon.install("fine")
    cut = daemon.install("cut", model=b"x" * 5000)
    (cut / "model.bin").write_bytes(b"x" * 100)
    pointer = daemon.install("pointer", model=b"x" * 5000)
    (pointer / "model.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000\n"
    )
    daemon.install("typo", extra="\n[card]\nlimts = 'none'\n")
    (daemon.install("lost", model=b"x" * 10) / "model.bin").unlink()
    (daemon.experts / "binary").mkdir()
    (daemon.experts / "binary" / "expert.toml").write_bytes(bytes(range(256)))
    daemon.install("nowhere")
    text = (daemon.experts / "nowhere" / "expert.toml").read_text()
    (daemon.experts / "nowhere" / "expert.toml").write_text(
        text.replace('[engine]\nname = "echo"', '[engine]\nname = "quantum"')
    )
    client = daemon.start().client()
    refused = daemon.refused()
    assert "100 bytes, but the manifest says 5000" in refused["cut"]
    assert "git-lfs pointer" in refused["pointer"]
    assert "limts" in refused["typo"]
    assert "missing" in refused["lost"]
    assert "UTF-8" in refused["binary"]
    assert text_of(client.say("fine", "hello")) == "hello"
    assert "quantum" in error_of(client.say("nowhere", "x")).message
    assert text_of(client.say("fine", "hello")) == "hello"


# ── clients ───────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_dies_in_mid_stream_is_cancelled(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.start()
    dying, other = daemon.client(), daemon.client()
    request = dying.run("echo", "!tokens 1000000", stream=True)
    dying.next(request)
    dying.close()
    assert text_of(other.say("echo", "mine")) == "mine"
    requests = daemon.status()["requests"]
    assert isinstance(requests, dict)
    assert (requests["answered"], requests["failed"]) == (1, 1)


def test_a_client_that_never_reads_disturbs_nobody(daemon: DaemonProcess) -> None:
    daemon.install("echo")
    daemon.install("other")
    daemon.start(wire={"unread_messages": 20})
    deaf, other = daemon.client(unread=1), daemon.client()
    for _ in range(20):
        deaf.run("echo", "!tokens 300000", stream=True)
    for _ in range(20):
        assert text_of(other.say("other", "quick")) == "quick"
    until(lambda: "not reading its answers" in daemon.log, "the deaf client to be given up")
    until(lambda: daemon.status()["queue"] == 0, "its requests to be dropped")
    assert text_of(other.say("echo", "mine")) == "mine"


def bombs() -> list[list[bytes]]:
    """Messages that no client of ours would send."""
    nested = b"\x91" * 100_000 + b"\xc0"
    claims = b"\xdd\xff\xff\xff\xff"
    keys = msgpack.packb({"v": 1, "t": "run", "input": {"type": "text"}})
    deep: object = None
    for _ in range(40):
        deep = [deep]
    value = {"v": 1, "t": "run", "expert": "echo", "input": {"type": "json", "value": deep}}
    return [
        [b"id"],
        [b"id", b""],
        [b"", msgpack.packb({"v": 1, "t": "ping"})],
        [b"id", os.urandom(300)],
        [b"id", nested],
        [b"id", claims],
        [b"id", msgpack.packb({"v": 1, "t": "run", "input": {"type": "text", "text": claims}})],
        [b"id", b"\x81" * 50_000],
        [b"id", msgpack.packb([1, 2])],
        [b"id", msgpack.packb({"v": 9, "t": "ping"})],
        [b"id", msgpack.packb({"v": 1, "t": "explode"})],
        [b"id", msgpack.packb({"v": 1, "t": "ping", "x": [{}] * 100_000})],
        [b"id", keys],
        [b"id", msgpack.packb(value)],
        [b"id", msgpack.packb({1: 2})],
        [b"id", msgpack.packb({"v": 1, "t": "ping", "at": msgpack.ExtType(5, b"x" * 100)})],
        [b"id", msgpack.packb({"v": 1, "t": "run", "input": {"type": "image", "frame": 3}})],
        [b"id", msgpack.packb({"v": 1, "t": "run", "input": {"type": "image", "frame": -1}})],
        [b"id" * 100, msgpack.packb({"v": 1, "t": "ping"})],
        [b"id", msgpack.packb({"v": 1, "t": "ping"}), *[b"x"] * 50],
        [b"id", bytes(600 * 1024)],
    ]


def test_whatever_a_client_sends_is_answered_with_a_typed_error(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    for frames in bombs():
        client.socket.send_multipart(frames)
        assert client.socket.poll(10_000), frames[:2]
        _, header = client.socket.recv_multipart()
        assert msgspec.msgpack.decode(header)["code"] == "invalid", frames[0]
    assert text_of(client.say("echo", "sober")) == "sober"
    assert "Traceback" not in daemon.log


def test_ten_thousand_frames_and_an_oversize_attachment_end_nothing(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.start(wire={"max_attachment": "1 MiB"})
    wild, other = daemon.client(), daemon.client()
    header = msgpack.packb({"v": 1, "t": "ping"})
    wild.socket.send_multipart([b"many", header, *[b"x"] * 10_000])
    assert error_of(wild.next(b"many")).details["field"] == "frames"
    wild.socket.send_multipart([b"large", header, bytes(1_500_000)])
    assert error_of(wild.next(b"large")).details["field"] == "attachments.0"
    wild.socket.send_multipart([b"huge", header, bytes(30_000_000)])
    for _ in range(300):
        wild.socket.send(b"")
    assert text_of(other.say("echo", "served")) == "served"
    assert isinstance(other.ask(Ping()), Reply)
    assert isinstance(other.ask(List()), Reply)
    assert isinstance(other.ask(Ps()), Reply)


def test_a_megabyte_of_text_is_refused_with_the_limit(daemon: DaemonProcess) -> None:
    daemon.install("echo", max_bytes=1000)
    client = daemon.start().client()
    error = error_of(client.say("echo", "x" * 1001))
    assert (error.details["field"], error.details["limit_bytes"]) == ("input", 1000)
    error = error_of(client.say("echo", "x" * 1_000_000))
    assert "header" in error.message
    assert text_of(client.say("echo", "x" * 1000)) == "x" * 1000


def test_a_stranger_who_speaks_no_zeromq_is_ignored(daemon: DaemonProcess) -> None:
    daemon.install()
    client = daemon.start().client()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(daemon.sockets / "api.sock"))
            stranger.send(os.urandom(2000))
    assert text_of(client.say("echo", "fine")) == "fine"


def test_many_connections_do_not_end_the_daemon(daemon: DaemonProcess) -> None:
    """The daemon raises its limit of open files to what it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("may open too few files here")
    daemon.install()
    few = len(list(Path("/proc/self/fd").iterdir())) + 40  # this process has some open itself
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        daemon.configure()
        daemon.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, few + 1000), hard))
    client = daemon.client()
    strangers = []
    for _ in range(few + 150):
        strangers.append(socket.socket(socket.AF_UNIX))
        strangers[-1].settimeout(10)
        until(lambda: not strangers[-1].connect_ex(str(daemon.sockets / "api.sock")), "a line")
    assert text_of(client.say("echo", "fine")) == "fine"
    for stranger in strangers:
        stranger.close()
    assert text_of(client.say("echo", "still fine")) == "still fine"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_daemon_without_a_free_descriptor_serves_on_and_takes_in_others_later(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    daemon.start()
    client = daemon.client()
    assert text_of(client.say("echo", "warm")) == "warm"
    used = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 8, used + 8))
    strangers = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for stranger in strangers:
        stranger.connect(str(daemon.sockets / "api.sock"))
    assert text_of(client.say("echo", "crowded")) == "crowded"
    for stranger in strangers:
        stranger.close()
    assert text_of(daemon.client().say("echo", "later")) == "later"


def test_a_message_that_never_ends_costs_no_memory_and_ends_its_own_connection(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    client = daemon.start().client()
    assert text_of(client.say("echo", "before")) == "before"
    frame = b"\x03" + (60_000).to_bytes(8) + bytes(60_000)
    with socket.socket(socket.AF_UNIX) as flood:
        flood.settimeout(20)
        flood.connect(str(daemon.sockets / "api.sock"))
        flood.sendall(GREETING + command(b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            flood.sendall(frame * 2000)
    assert text_of(client.say("echo", "after")) == "after"
    status = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 60_000, "kB"


def test_what_a_client_asked_for_that_is_gone_is_cancelled_though_nothing_is_sent(
    daemon: DaemonProcess,
) -> None:
    daemon.install()
    daemon.start()
    leaving = daemon.client()
    leaving.run("echo", "!sleep 60")
    daemon.running("echo")
    leaving.close()

    def failed() -> bool:
        requests = daemon.status()["requests"]
        assert isinstance(requests, dict)
        return (requests["answered"], requests["failed"]) == (0, 1)

    until(failed, "its end")


def test_clients_that_connect_before_the_daemon_starts_are_served(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.sockets.mkdir()
    early = RawClient(daemon.sockets / "api.sock")
    request = early.send(Ping())
    daemon.start()
    assert isinstance(early.end(request), Reply)
    early.close()


def test_a_daemon_started_by_systemd_serves_who_connected_before_it(
    daemon: DaemonProcess,
) -> None:
    """As systemd does: listen first, start the daemon with the socket as descriptor 3."""
    daemon.install()
    daemon.sockets.mkdir()
    daemon.configure()
    path = daemon.sockets / "api.sock"
    starter = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='api');"
        "os.execv(sys.executable, [sys.executable, '-m', 'aiosd.daemon', '--config', sys.argv[2]])"
    )
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen(16)
        client = daemon.client()
        request = client.run("echo", "early")
        handle = passed.fileno()
        with (daemon.folder / "log").open("ab") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-c", starter, str(handle), str(daemon.config)],
                pass_fds=[handle],
                stderr=log,
            )
        assert text_of(client.end(request)) == "early"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert path.exists(), "it is systemd's to remove"
