"""A release comes to a daemon that serves: it serves on, whatever the release is worth."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.rolling import Rolling
from fakes.running import DaemonProcess, until

from aiosd.protocol.messages import End, Error, History, Hold, Reply, Rollback

pytestmark = pytest.mark.process

CANARY = {"canary_requests": 3}


@pytest.fixture
def rolling(daemon: DaemonProcess) -> Iterator[Rolling]:
    daemon.install("one")
    return Rolling(daemon)


def release_of(answer: End | Error | Reply) -> int:
    assert isinstance(answer, End), answer
    return answer.outcome.release


def test_a_good_release_takes_over_and_no_request_is_lost(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout=CANARY)
    client = daemon.client()
    assert release_of(client.say("one", "x")) == 1
    rolling.come(2)
    sent, found = [], []
    while len(sent) < 2000 and not (found and rolling.row()["state"] == "collected"):
        sent.append(client.run("one", f"{len(sent)}"))
        answer = client.end(sent[-1])
        assert isinstance(answer, End), answer
        assert answer.outcome.output["text"] == f"{len(sent) - 1}"
        assert answer.outcome.expert == "one"
        found.append(answer.outcome.release)
    assert found == sorted(found)
    assert found[-1] == 2
    row = rolling.row()
    assert (row["state"], row["canary"]) == ("collected", {"good": 3, "slow": 0, "failed": 0})
    assert row["report"]["passed"] == row["report"]["cases"] == 1
    assert row["report"]["peak_bytes"] > 0
    until(lambda: set(daemon.loaded()) == {"one"}, "the canary's worker to be gone")
    assert not client.socket.poll(0)  # nothing was answered twice
    threads = Path(f"/proc/{daemon.loaded()['one']['pid']}/task").iterdir()
    policies = {os.sched_getscheduler(int(thread.name)) for thread in threads}
    assert policies == {os.SCHED_OTHER}  # it stood back only while it came
    history = rolling.admin.ask(History(expert="one"))
    assert isinstance(history, Reply)
    states = [each["state"] for each in history.body["history"]]  # type: ignore[attr-defined]
    assert states == ["collected", "drained", "committed", "canary", "probed", "staged"]


def test_a_release_that_fails_its_self_test_is_never_asked(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout=CANARY)
    client = daemon.client()
    assert release_of(client.say("one", "x")) == 1
    rolling.come(2, says="no")
    row = rolling.reach("quarantined")
    assert row["reason"] == "self-test 1: text is 'hi', not 'no'"
    assert release_of(client.say("one", "x")) == 1
    assert not (rolling.layout.releases / "one" / "2").exists()


def test_what_a_canary_cannot_answer_the_old_release_does(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout=CANARY)
    client = daemon.client()
    # It takes no texts, which its own self-test does not find out.
    cases = {"cases": [{"json": "1", "expect": {}}]}
    rolling.come(2, input={"type": "json"}, self_test=cases)
    rolling.reach("canary")
    assert release_of(client.say("one", "x")) == 1
    row = rolling.reach("quarantined")
    assert row["reason"] == "canary: 1 of 1 requests failed"
    assert release_of(client.say("one", "x")) == 1
    until(lambda: set(daemon.loaded()) == {"one"}, "the worker of release 2 to be gone")


def test_what_no_release_can_answer_is_held_against_none(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout=CANARY)
    client = daemon.client()
    rolling.come(2)
    rolling.reach("canary")
    answer = client.say("one", "!exit 3")
    assert isinstance(answer, Error)
    assert answer.code == "expert_failed"
    row = rolling.row()
    assert (row["state"], row["canary"]["failed"]) == ("canary", 0)


def test_the_operator_goes_back_and_the_release_is_not_kept(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout={"canary_requests": 0})
    client = daemon.client()
    assert release_of(client.say("one", "x")) == 1
    rolling.come(2)
    rolling.reach("collected")
    assert release_of(client.say("one", "x")) == 2
    answer = rolling.admin.ask(Rollback(expert="one"))
    assert isinstance(answer, Reply)
    assert answer.body["active"] == 1
    assert release_of(client.say("one", "x")) == 1
    assert rolling.row()["reason"] == "rolled back by the operator"
    again = rolling.admin.ask(Rollback(expert="one"))
    assert isinstance(again, Error)
    assert "no release to go back to" in again.message
    other = rolling.admin.ask(Rollback(expert="other"))
    assert isinstance(other, Error)
    assert other.code == "invalid"


def test_the_operator_does_not_go_back_below_the_security_floor(rolling: Rolling) -> None:
    rolling.stage(2, security_floor=2)
    rolling.daemon.start(rollout={"canary_requests": 0})
    rolling.reach("collected")
    answer = rolling.admin.ask(Rollback(expert="one"))
    assert isinstance(answer, Error)
    assert "none below 2 is safe" in answer.message
    assert release_of(rolling.daemon.client().say("one", "x")) == 2


def test_a_hold_stops_a_canary_and_lets_it_begin_again(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(rollout=CANARY)
    client = daemon.client()
    rolling.come(2)
    rolling.reach("canary")
    assert release_of(client.say("one", "x")) == 2
    assert isinstance(rolling.admin.ask(Hold(expert="one")), Reply)
    assert rolling.row()["state"] == "held"
    assert release_of(client.say("one", "x")) == 1
    assert isinstance(rolling.admin.ask(Hold(expert="one", on=False)), Reply)
    assert rolling.reach("canary")["canary"]["good"] == 0
    assert release_of(client.say("one", "x")) == 2


def test_a_daemon_that_dies_twice_in_a_canary_does_without_it(rolling: Rolling) -> None:
    rolling.daemon.start(rollout=CANARY)
    rolling.come(2)
    rolling.reach("canary")
    rolling.stop()  # as it should: that is no try
    rolling.daemon.start()
    assert rolling.reach("canary")["attempts"] == 1
    rolling.kill()
    rolling.daemon.start()
    assert rolling.reach("canary")["attempts"] == 2
    rolling.kill()
    rolling.daemon.start()
    row = rolling.reach("quarantined")
    assert row["reason"] == "2 probes or canaries ended with the daemon"
    assert release_of(rolling.daemon.client().say("one", "x")) == 1


def test_three_crashes_after_a_commit_bring_the_old_release_back(rolling: Rolling) -> None:
    rolling.daemon.start(rollout={"canary_requests": 0})
    rolling.come(2)
    rolling.reach("collected")
    for crashes in (1, 2):
        rolling.kill()
        rolling.daemon.start()
        assert release_of(rolling.daemon.client().say("one", "x")) == 2
        assert rolling.row()["crashes"] == crashes
    rolling.kill()
    rolling.daemon.start()
    assert release_of(rolling.daemon.client().say("one", "x")) == 1
    assert "crashed 3 times" in rolling.reach("quarantined")["reason"]


def test_a_staged_release_is_found_at_start(rolling: Rolling) -> None:
    rolling.stage(2)
    rolling.daemon.start(rollout={"canary_requests": 0})
    rolling.reach("collected")
    assert release_of(rolling.daemon.client().say("one", "x")) == 2


@pytest.mark.parametrize("point", ["ledger.put.committed", "activate.begin", "link.renamed"])
def test_a_daemon_that_dies_in_the_midst_of_a_commit_finishes_it(
    rolling: Rolling, point: str
) -> None:
    rolling.stage(2)
    daemon = rolling.daemon
    daemon.configure(rollout={"canary_requests": 0})
    daemon.process = daemon.spawn(AIOSD_FAILPOINT=f"{point}:kill")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    rolling.reach("collected")
    assert release_of(daemon.client().say("one", "x")) == 2


def test_an_expert_that_was_not_here_is_there_once_it_passed(rolling: Rolling) -> None:
    new = Rolling(rolling.daemon, "two")
    rolling.daemon.start(rollout=CANARY)
    client = rolling.daemon.client()
    assert isinstance(client.say("two", "x"), Error)
    new.come(1, old=0)
    new.reach("collected")
    assert release_of(client.say("two", "x")) == 1


def test_without_room_for_two_requests_wait_and_are_told_how_long(rolling: Rolling) -> None:
    daemon = rolling.daemon
    daemon.install("one", mebibytes=110)
    daemon.start(rollout={"canary_requests": 0}, ram={"cap": "200 MiB"})
    client = daemon.client()
    assert release_of(client.say("one", "!alloc 100")) == 1
    takes = {"cases": [{"text": "!alloc 100", "expect": {"text": "took 100 MiB"}}]}
    rolling.come(2, needs={"ram_bytes": 110 << 20}, self_test=takes)
    answered = 0
    while rolling.row()["state"] not in ("collected", "quarantined"):
        release_of(client.say("one", "x"))
        answered += 1
    assert answered
    row = rolling.row()
    assert (row["state"], row["reason"]) == ("collected", "")
    assert row["hold_ms"] > 0
    assert row["report"]["peak_bytes"] > 100 << 20
    assert release_of(client.say("one", "x")) == 2
    assert "2 loaded" not in daemon.log


def crowd(rolling: Rolling, *texts: str, **rollout: float) -> None:
    """Have a release come to a daemon whose cap has room for it or the old one, and not for both.

    Its self-tests first take as much as the old release holds, then ask `texts`.
    """
    daemon = rolling.daemon
    daemon.install("one", mebibytes=110)
    daemon.start(rollout=rollout, ram={"cap": "200 MiB"})
    assert release_of(daemon.client().say("one", "!alloc 100")) == 1
    cases = [{"text": "!alloc 100", "expect": {"text": "took 100 MiB"}}]
    cases += [{"text": text, "expect": {}} for text in texts]
    rolling.come(2, needs={"ram_bytes": 110 << 20}, self_test={"cases": cases})


def test_without_room_for_two_all_self_tests_run_in_one_load_while_others_wait(
    rolling: Rolling,
) -> None:
    crowd(rolling, *"abcdefgh", **CANARY)
    client = rolling.daemon.client()
    flying, found = [], []
    while not (found and rolling.row()["state"] in ("collected", "quarantined")):
        flying += [client.run("one", "x") for _ in range(4 - len(flying))]  # they never pause
        found.append(release_of(client.end(flying.pop(0))))
    found.extend(release_of(client.end(each)) for each in flying)
    row, log = rolling.row(), rolling.daemon.log
    assert (row["state"], row["reason"], row["attempts"]) == ("collected", "", 1)
    assert row["report"]["passed"] == row["report"]["cases"] == 9
    # The old one has answered before; how many it answers still is chance.
    assert found == sorted(found)
    assert set(found) <= {1, 2}
    assert found[-1] == 2
    assert row["hold_ms"] > 0
    assert log.count("one@2 ready in") == 1
    assert log.count("one ready in") == 2  # before and after
    assert log.count("requests to one wait") == 1  # not while the canary answers them


def test_a_release_gives_way_once_somebody_waited_long_enough_and_that_is_no_try(
    rolling: Rolling,
) -> None:
    crowd(rolling, "!sleep 1", "!sleep 60", hold_seconds=0.2)
    client = rolling.daemon.client()
    until(lambda: "requests to one wait" in rolling.daemon.log, "requests to be held back")
    assert release_of(client.say("one", "x")) == 1
    until(lambda: rolling.row()["reason"], "the release to give way")
    row = rolling.row()
    assert (row["state"], row["attempts"]) == ("staged", 0)
    assert row["reason"].startswith("no room: one@2 needs 110.0 MiB beside the ")
    assert "raise ram.cap to" in row["reason"]
    assert release_of(client.say("one", "x")) == 1


def test_a_release_that_wants_more_ram_than_the_cap_is_never_loaded(rolling: Rolling) -> None:
    daemon = rolling.daemon.start(ram={"cap": "200 MiB"})
    rolling.come(2, needs={"ram_bytes": 400 << 20})
    assert "raise ram.cap" in rolling.reach("quarantined")["reason"]
    assert release_of(daemon.client().say("one", "x")) == 1
    assert "one@2 ready" not in daemon.log


def test_a_release_that_the_cap_is_just_too_small_for_waits_and_that_is_no_try(
    rolling: Rolling,
) -> None:
    daemon = rolling.daemon.start(ram={"cap": "200 MiB"})
    assert release_of(daemon.client().say("one", "x")) == 1
    rolling.come(2, needs={"ram_bytes": 199 << 20})  # beside the host there is less than that
    until(lambda: rolling.row()["reason"], "the release to be refused")
    row = rolling.row()
    assert (row["state"], row["attempts"]) == ("staged", 0)
    assert "raise ram.cap" in row["reason"]
    assert release_of(daemon.client().say("one", "x")) == 1


def test_a_board_without_updates_has_no_database(rolling: Rolling) -> None:
    daemon = rolling.daemon.start()
    maps = Path(f"/proc/{daemon.pid}/maps")
    assert "sqlite" not in maps.read_text()
    assert not rolling.layout.ledger.exists()
