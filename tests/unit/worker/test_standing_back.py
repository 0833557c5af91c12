"""A worker that loads while others answer."""

import os
import subprocess
import sys


def test_who_stands_back_gets_what_others_leave_of_the_processor() -> None:
    program = (
        "import os; from aiosd.worker.main import _stand_back;"
        "_stand_back(); print(os.sched_getscheduler(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) == os.SCHED_IDLE
