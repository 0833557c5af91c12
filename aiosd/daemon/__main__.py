"""`aiosd`, or `python -m aiosd.daemon`: the daemon, in a process that has no TLS."""

import sys

# The daemon opens no connection to a network, but asyncio imports `ssl` where there is one: 1.3 MiB
# and some milliseconds of each start. It does without where the import fails, and this makes it.
sys.modules["ssl"] = None  # type: ignore[assignment]

from aiosd.daemon.command import main  # noqa: E402 - the line above must come first

if __name__ == "__main__":
    raise SystemExit(main())
