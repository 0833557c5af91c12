"""`python -m aiosd.worker`: an engine host, or a worker of its own; started by the daemon only."""

import argparse
import logging
import os
import signal
import sys

from aiosd.worker.confine import die_with_parent


def main() -> int:
    """Be what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="aiosd-worker", description="Started by aiosd; not for people."
    )
    parser.add_argument("--fd", type=int, required=True, help="the pipe to the daemon")
    parser.add_argument("--host", metavar="ENGINE", help="be the host of this engine")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    parser.add_argument("--log", default="INFO", help="level of what is logged")
    options = parser.parse_args()
    logging.basicConfig(
        level=options.log, stream=sys.stderr, format=f"%(name)s[{os.getpid()}]: %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if options.host:
        from aiosd.worker.host import Host  # noqa: PLC0415 - a worker does without it

        return Host(options.fd, options.host).serve()
    if options.parent:
        die_with_parent(options.parent)
    from aiosd.worker.main import run_worker  # noqa: PLC0415 - imported late, after the arguments

    return run_worker(options.fd, os.getpid())


if __name__ == "__main__":
    raise SystemExit(main())
