"""When a client pings, sends again, and gives up; without a clock."""

from pathlib import Path

import pytest

from aiosd.client.patience import Beat, Patience, Pending, Pulse, arrival
from aiosd.domain.errors import DeadlineError, UnreachableError
from aiosd.protocol.codec import encode
from aiosd.protocol.messages import Chunk, Error, Reply

PATIENCE = Patience(resends=2)


def test_a_silent_daemon_is_pinged_and_then_given_up() -> None:
    pulse = Pulse(5.0)
    pulse.heard(100.0)
    assert pulse.beat(104.9) is Beat.WAIT
    assert pulse.wait(104.0) == 1.0
    assert [pulse.beat(now) for now in (105.0, 106.0, 110.0, 115.0)] == [
        Beat.PING,
        Beat.WAIT,
        Beat.PING,
        Beat.PING,
    ]
    assert pulse.beat(120.0) is Beat.DEAD


def test_a_sign_of_life_starts_the_pulse_anew() -> None:
    pulse = Pulse(5.0)
    pulse.heard(0.0)
    pulse.beat(5.0)
    pulse.heard(6.0)
    assert pulse.beat(10.9) is Beat.WAIT
    assert pulse.beat(11.0) is Beat.PING


def test_the_limit_of_silence_starts_anew_with_each_piece() -> None:
    pending = Pending([b""], 10.0, asked_at=0.0)
    pending.take(encode(Chunk(n=0, text="a")), 9.0)
    pending.check(18.9)
    with pytest.raises(DeadlineError):
        pending.check(19.0)


def test_a_request_is_sent_again_only_so_often() -> None:
    pending = Pending([b""], 10.0)
    for _ in range(PATIENCE.resends):
        pending.again(PATIENCE, Path("/x"))
    with pytest.raises(UnreachableError, match="3 times"):
        pending.again(PATIENCE, Path("/x"))


def test_what_is_no_message_ends_the_request_as_invalid() -> None:
    pending = Pending([b""], 10.0)
    pending.take(b"\xc1", 1.0)
    answer = pending.answers.popleft()
    assert isinstance(answer, Error)
    assert answer.code == "invalid"
    assert pending.done


def test_a_reply_ends_the_request() -> None:
    pending = Pending([b""], 10.0)
    pending.take(encode(Reply(body={})), 1.0)
    assert pending.done


def test_a_daemon_that_was_there_gets_the_longer_time(tmp_path: Path) -> None:
    missing = tmp_path / "api.sock"
    assert arrival(missing, PATIENCE, 0.0, ever_up=False) == PATIENCE.connect
    assert arrival(missing, PATIENCE, 3.0, ever_up=True) == PATIENCE.restart
    with pytest.raises(UnreachableError, match="after 1 s"):
        arrival(missing, PATIENCE, 2.0, ever_up=False)
    with pytest.raises(UnreachableError, match="after 15 s"):
        arrival(missing, PATIENCE, 15.0, ever_up=True)
