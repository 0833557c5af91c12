"""The RAM books against the truth of the kernel."""

import pytest
from fakes.running import DaemonProcess, until

from aiosd.sensors.memory import read_process

pytestmark = pytest.mark.process

SLACK_BYTES = 600_000


def test_the_books_hold_what_workers_share_without_their_host(daemon: DaemonProcess) -> None:
    names = [f"e{number}" for number in range(10)]
    for name in names:
        daemon.install(name)
    daemon.start()
    pids = [daemon.load(name) for name in names]
    client = daemon.client()
    for name in names:
        client.say(name, "hello")
    pids.append(int(str(daemon.hosts()["echo"]["pid"])))

    def in_the_books() -> bool:
        truth = sum(each.pss_bytes for each in map(read_process, pids) if each)
        used = daemon.status()["ram_used_bytes"]
        assert isinstance(used, int)
        return used > truth - SLACK_BYTES

    assert until(in_the_books, "the books to be the truth", 5)


def test_who_is_loaded_and_never_asked_is_measured_all_the_same(daemon: DaemonProcess) -> None:
    daemon.install()
    daemon.start()
    pid = daemon.load("echo")

    def in_the_books() -> bool:
        memory = read_process(pid)
        held = daemon.loaded()["echo"]["held_bytes"]
        assert memory is not None
        assert isinstance(held, int)
        return abs(held - memory.own_bytes) < SLACK_BYTES

    assert until(in_the_books, "what it holds to be measured", 5)
