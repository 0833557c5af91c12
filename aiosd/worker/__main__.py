"""`python -m aiosd.worker`: an engine host, or a worker of its own; started by the daemon only."""

import argparse
import logging
import os
import signal
import sys

import msgspec

from aiosd.protocol.pipe import HostFailed, LoadFailed, Spawn
from aiosd.worker.channel import Channel
from aiosd.worker.confine import die_with_parent, enter_groups, open_entrances


def main() -> int:
    """Be what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="aiosd-worker", description="Started by aiosd; not for people."
    )
    parser.add_argument("--fd", type=int, required=True, help="the pipe to the daemon")
    parser.add_argument("--host", metavar="ENGINE", help="be the host of this engine")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    parser.add_argument("--group", action="append", default=[], help="a control group to enter")
    parser.add_argument("--log", default="INFO", help="level of what is logged")
    options = parser.parse_args()
    logging.basicConfig(
        level=options.log, stream=sys.stderr, format=f"%(name)s[{os.getpid()}]: %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _be(options)
    except ImportError as error:
        reason = f"a library that its workers need is missing: {error}; see: aiosctl doctor"
        return _cannot(
            options.fd, HostFailed(reason=reason) if options.host else LoadFailed(reason=reason)
        )


def _be(options: argparse.Namespace) -> int:
    """Be a host or a worker; what each needs is imported only now.

    Raises:
        ImportError: a library is missing.
    """
    if options.host:
        from aiosd.worker.host import Host  # noqa: PLC0415 - a worker does without it

        return Host(options.fd, options.host).serve()
    if options.parent:
        die_with_parent(options.parent)
    enter_groups(
        open_entrances(options.group)
    )  # the interpreter's own imports are counted there as well
    from aiosd.worker.main import run_worker  # noqa: PLC0415 - imported late, after the arguments

    return run_worker(options.fd, os.getpid())


def _cannot(handle: int, message: HostFailed | LoadFailed) -> int:
    """Tell the daemon why this process is of no use, and return its exit status."""
    channel: Channel[Spawn] = Channel(handle, msgspec.msgpack.Decoder(Spawn))
    channel.send(message)
    channel.close()
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
