"""Real control groups: limits that the kernel holds, and nothing left behind.

Skipped where this process may not make groups below its own.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.running import DaemonProcess, RawClient, alive, until

from aiosd.daemon.workers.control_groups import ControlGroups
from aiosd.daemon.workers.memory_files import MEMORY
from aiosd.protocol.messages import End, Error
from aiosd.sensors.hierarchy import Hierarchy, find_hierarchy

pytestmark = pytest.mark.process

MIB = 2**20


@pytest.fixture
def box(daemon: DaemonProcess) -> Iterator[Hierarchy]:
    """A group of this test's own, in which its daemon starts; it must be empty at the end."""
    place = find_hierarchy("memory")
    if place is None:
        pytest.skip("no memory controller here")
    probe = ControlGroups(Path("/"))
    mechanism, limited = probe.mechanism, probe.active and "per worker" in probe.mechanism
    probe.shut()
    if not limited or place.version != 1:
        pytest.skip(f"no groups can be made below this one: {mechanism}")
    group = place.group / f"aiosd-test-{os.getpid()}"
    group.mkdir()
    (group / "cgroup.procs").write_text(str(os.getpid()))  # the daemon inherits it
    try:
        daemon.configure(ram={"groups": "auto"})
        yield Hierarchy(place.version, place.top, group, place.place)
    finally:
        (place.group / "cgroup.procs").write_text(str(os.getpid()))
        daemon.stop()
        group.rmdir()  # fails if anything is left in it


def groups_of(box: Hierarchy, daemon: DaemonProcess) -> dict[str, Path]:
    """Return the workers' groups by expert."""
    folder = box.group / f"aiosd.{daemon.pid}"
    return {path.name.partition(".")[0]: path for path in folder.iterdir() if path.is_dir()}


def limit(box: Hierarchy, folder: Path) -> int:
    return int((folder / MEMORY[box.version].limit).read_text())


def take_unseen(daemon: DaemonProcess, client: RawClient, expert: str, mebibytes: int) -> object:
    """Have a worker take memory while the daemon cannot look, which might give it more."""
    pid = daemon.worker(expert)
    os.kill(pid, signal.SIGSTOP)
    request = client.run(expert, f"!alloc {mebibytes}")
    daemon.running(expert)
    daemon.signal(signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGCONT)
        until(lambda: not alive(pid), "the kernel to end it")
    finally:
        daemon.signal(signal.SIGCONT)
    return client.end(request)


@pytest.mark.parametrize("hosts", ["on", "off"])
def test_each_worker_is_held_to_its_own_limit_and_the_others_go_on(
    box: Hierarchy, daemon: DaemonProcess, hosts: str
) -> None:
    daemon.install("greedy", mebibytes=8)
    daemon.install("modest", mebibytes=8)
    daemon.start(engines={"hosts": hosts})
    modest = daemon.load("modest")
    pid = daemon.load("greedy")
    folders = groups_of(box, daemon)
    assert set(folders) == {"greedy", "modest"}
    procs = folders["greedy"] / "cgroup.procs"  # a small package enters beside its load
    until(lambda: procs.read_text().split() == [str(pid)], "greedy to be in its group")
    told = daemon.loaded()["greedy"]
    assert limit(box, folders["greedy"]) == told["limit_bytes"]
    assert int(str(told["limit_bytes"])) >= int(str(told["held_bytes"])) + 16 * MIB
    assert "per worker (cgroup v1)" in str(daemon.status()["enforced_by"])

    client = daemon.client()
    waiting = client.run("modest", "!sleep 0.5")
    error = take_unseen(daemon, client, "greedy", 400)
    assert isinstance(error, Error)
    assert error.code == "expert_failed"
    mebibytes = int(str(told["limit_bytes"])) // MIB
    assert f"went over its own limit of {mebibytes} MiB" in str(error.details["reason"])
    assert isinstance(client.end(waiting), End)
    assert daemon.worker("modest") == modest


def test_what_a_worker_takes_is_counted_in_its_own_group(
    box: Hierarchy, daemon: DaemonProcess
) -> None:
    daemon.install("echo", mebibytes=8)
    client = daemon.start().client()
    # A small package enters its group while it loads, and may have answered before it is inside.
    assert isinstance(client.say("echo", "hello"), End)
    assert isinstance(client.say("echo", "!alloc 12"), End)
    folder = groups_of(box, daemon)["echo"]
    assert int((folder / MEMORY[box.version].usage).read_text()) > 12 * MIB


def test_an_expert_that_outgrew_its_limit_is_given_more_until_it_fits(
    box: Hierarchy, daemon: DaemonProcess
) -> None:
    daemon.install("greedy", mebibytes=8)
    daemon.start(restart={"crashes": 5}).load("greedy")
    client = daemon.client()
    assert isinstance(take_unseen(daemon, client, "greedy", 60), Error)
    until(lambda: isinstance(client.say("greedy", "!alloc 60"), End), "its need to be found")
    assert limit(box, groups_of(box, daemon)["greedy"]) > 60 * MIB


def test_no_group_is_left_when_a_worker_leaves_or_the_daemon_ends(
    box: Hierarchy, daemon: DaemonProcess
) -> None:
    daemon.install("echo")
    daemon.install("other")
    pid = daemon.start().load("echo")
    daemon.load("other")
    os.kill(pid, signal.SIGKILL)
    until(lambda: set(groups_of(box, daemon)) == {"other"}, "its group to go")
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert [path for path in box.group.iterdir() if path.is_dir()] == []
    cpu = find_hierarchy("cpu")
    if cpu is not None:
        assert not (cpu.group / f"aiosd.{daemon.pid}").exists()


def test_what_a_killed_daemon_leaves_is_removed_by_the_next(
    box: Hierarchy, daemon: DaemonProcess
) -> None:
    daemon.install("echo")
    worker = daemon.start().load("echo")
    left = box.group / f"aiosd.{daemon.pid}"
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until(lambda: not alive(worker), "its worker to go")
    assert left.exists()
    for name in ("api", "admin", "events"):
        with contextlib.suppress(FileNotFoundError):
            (daemon.sockets / f"{name}.sock").unlink()
    daemon.start()
    assert not left.exists()
