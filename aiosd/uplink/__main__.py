"""`aiosd-uplink`, or `python -m aiosd.uplink`: started by the daemon, or by systemd's socket."""

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from aiosd.domain.errors import ConfigError
from aiosd.store.layout import Layout
from aiosd.uplink.channel import Channel
from aiosd.uplink.keys import close_shop
from aiosd.uplink.main import Uplink
from aiosd.uplink.office import Office
from aiosd.uplink.settings import listening, read_own

# sysexits(3): a configuration error, which restarting cannot mend; and wrong usage.
EX_CONFIG = 78
EX_USAGE = 64


def main(arguments: list[str] | None = None) -> int:
    """Serve one daemon until it closes the pipe; return the exit status."""
    options = _parser().parse_args(arguments)
    close_shop()
    logging.basicConfig(level="INFO", stream=sys.stderr, format="uplink: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        office = Office(read_own(options.config))
    except ConfigError as error:
        print(f"aiosd-uplink: {error}", file=sys.stderr)  # noqa: T201 - before there is a pipe
        return EX_CONFIG
    if not office.uplink.on:
        print("aiosd-uplink: the owner's settings say uplink.on = false", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    end = _end(options.fd)
    if end is None:
        print("aiosd-uplink: started by aiosd or by aiosd-uplink.socket only", file=sys.stderr)  # noqa: T201
        return EX_USAGE
    with contextlib.closing(Channel(end)) as channel:
        return Uplink(office, channel).serve()


def _end(handle: int | None) -> socket.socket | None:
    """Return the socket to the daemon: the one that it gave, or the first who calls."""
    if handle is not None:
        return socket.socket(fileno=handle)
    passed = listening(os.getpid())
    if passed is None:
        return None
    with socket.socket(fileno=passed) as listener:
        return listener.accept()[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiosd-uplink",
        description="Sends what the owner allows to OpenAI-compatible endpoints; "
        "started by aiosd or by systemd.",
    )
    parser.add_argument("--fd", type=int, help="the pipe to the daemon")
    parser.add_argument(
        "--config", type=Path, default=Layout().settings, metavar="FILE", help="settings"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
