"""A point costs nothing until it is armed, and then does what it was told."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aiosd.store import failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoint.arm("")


def test_an_unarmed_point_does_nothing() -> None:
    failpoint.reach("a")


def test_an_armed_point_fails_and_no_other_does() -> None:
    for how, number in (("eio", errno.EIO), ("enospc", errno.ENOSPC)):
        failpoint.arm(f"a.b:{how}")
        failpoint.reach("a")
        with pytest.raises(OSError, match=os.strerror(number)) as told:
            failpoint.reach("a.b")
        assert told.value.errno == number


@pytest.mark.parametrize("order", ["a", "a:", "a:explode", ":kill"])
def test_an_order_that_is_none_is_refused(order: str) -> None:
    with pytest.raises(ValueError, match="AIOSD_FAILPOINT"):
        failpoint.arm(order)


def test_a_point_told_to_kill_leaves_no_time_for_a_finally() -> None:
    code = (
        "from aiosd.store import failpoint\n"
        "failpoint.arm('x:kill')\n"
        "try:\n    failpoint.reach('x')\nfinally:\n    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""


def test_a_test_may_bring_an_action_of_its_own() -> None:
    reached: list[str] = []
    failpoint.act_by(reached.append)
    failpoint.reach("one")
    failpoint.reach("two")
    assert reached == ["one", "two"]
