"""Workers that grow between two measurements, where no kernel holds them: as on a stock board."""

import pytest
from fakes.running import DaemonProcess, RawClient, until

from aiosd.protocol.messages import End, Error

pytestmark = pytest.mark.process

MIB = 2**20


def grow(client: RawClient, mebibytes: int) -> None:
    """Take memory in an answer after which the worker does not measure itself."""
    for text in ("one", "two", "three", f"!alloc {mebibytes}"):
        assert isinstance(client.say("greedy", text), End)


def held(daemon: DaemonProcess, expert: str) -> int:
    return int(str(daemon.loaded().get(expert, {}).get("held_bytes", 0)))


@pytest.mark.parametrize("hosts", ["on", "off"])
def test_one_that_has_grown_is_found_while_it_answers(daemon: DaemonProcess, hosts: str) -> None:
    daemon.install("greedy", mebibytes=8)
    client = daemon.start(engines={"hosts": hosts}, stop={"drain_seconds": 0.3}).client()
    grow(client, 200)
    running = client.run("greedy", "!sleep 60")
    until(lambda: held(daemon, "greedy") > 200 * MIB, "the growth to be in the books")
    client.close()
    del running


def test_one_that_grows_over_the_cap_is_ended_with_its_numbers_and_the_others_go_on(
    daemon: DaemonProcess,
) -> None:
    daemon.install("greedy", mebibytes=8)
    daemon.install("modest", mebibytes=8)
    client = daemon.start(ram={"cap": "256 MiB"}).client()
    busy = client.run("modest", "!sleep 2")
    # It is seen while it takes the memory, or while it sits on it: whichever comes first.
    orders = ("one", "two", "three", "!alloc 400", "!deaf 60")
    answers = (client.say("greedy", text) for text in orders)
    error = next(answer for answer in answers if isinstance(answer, Error))
    assert error.code == "over_ram"
    assert int(str(error.details["need_bytes"])) > int(str(error.details["cap_bytes"])) // 2
    assert isinstance(client.end(busy), End)
    assert isinstance(client.say("modest", "still here"), End)
    # What it held is remembered. It may have been seen before it held more than all may have: then
    # it is let in, alone.
    again = client.say("greedy", "again")
    if isinstance(again, Error):
        assert again.code == "over_ram"
        assert again.details["need_bytes"] == error.details["need_bytes"]
    else:
        assert isinstance(again, End)
        assert again.outcome.usage.ram_bytes == error.details["need_bytes"]
        assert set(daemon.loaded()) == {"greedy"}
