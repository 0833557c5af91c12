"""`python -m aiosd.cli` is aiosctl."""

import io
import signal
import sys
from types import FrameType
from typing import NoReturn

from aiosd.cli.main import main as run_main

SIGNAL_EXIT = 128


def main() -> None:
    """Run aiosctl and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    for stream in (sys.stdout, sys.stderr):
        # An answer may hold what the terminal's encoding lacks; that is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run_main())


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by way of every `with` and `finally`, so that a running request is cancelled."""
    del frame
    raise SystemExit(SIGNAL_EXIT + number)


if __name__ == "__main__":
    main()
