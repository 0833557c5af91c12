"""`aiosd-powerd`: root's hand for the daemon, on clock limits and power modes and nothing else.

One client at a time, the daemon: while it is connected its changes stand, and when it goes away,
or this process is told to end, the board is put back as it was found.
"""

import argparse
import logging
import os
import pwd
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from aiosd.powerd.levers import Board, OrderError, run_nvpmodel, simulated_nvpmodel
from aiosd.protocol.levers import (
    MOST_BYTES,
    Answer,
    Look,
    Refused,
    SetClock,
    SetMode,
    pack,
    unpack_order,
)

log = logging.getLogger(__name__)

ROOT = Path("/")
RECORD = Path("/run/aiosd-powerd/found.json")
_FIRST_PASSED = 3
_CREDENTIALS = struct.Struct("3i")
EX_CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
    passed = os.environ.get("LISTEN_PID") == str(os.getpid())  # noqa: TID251 - sd_listen_fds(3)
    if not passed and options.socket is None:
        log.error("aiosd-powerd: no socket was passed by systemd; name one with --socket")
        return EX_CONFIG
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    real = options.sysroot == ROOT
    board = Board(
        options.sysroot,
        options.record,
        run_nvpmodel if real else simulated_nvpmodel(options.sysroot),
    )
    with _listen(None if passed else options.socket) as listener:
        try:
            # systemd starts it anew when the daemon comes again.
            while _serve_next(listener, board, options.user) and not passed:
                pass
        finally:
            board.restore()
    return 0


def _serve_next(listener: socket.socket, board: Board, user: str) -> bool:
    """Serve the next client until it goes away; return True, to go on."""
    client, _ = listener.accept()
    with client:
        uid = peer(client)
        if not allowed(uid, user):
            log.warning("uid %d is neither root nor %s: sent away", uid, user)
            client.send(pack(Refused(reason=f"uid {uid} may not: only root and {user}")))
            return True
        log.info("the daemon (uid %d) is here", uid)
        try:
            while data := client.recv(MOST_BYTES + 1):
                client.send(pack(answer(board, data)))
        except ConnectionError:
            pass
        log.info("the daemon has gone")
        board.restore()
    return True


def answer(board: Board, data: bytes) -> Answer:
    """Carry out one order, and say how everything stands."""
    try:
        match unpack_order(data):
            case SetClock(policy=policy, khz=khz):
                board.set_clock(policy, khz)
            case SetMode(name=name):
                board.set_mode(name)
            case Look():
                pass
    except ValueError as error:
        return Refused(reason=f"not understood: {error}")
    except OrderError as error:
        return error.packet()
    return board.look()


def peer(client: socket.socket) -> int:
    """Return the uid of who is at the other end (SO_PEERCRED, unix(7))."""
    data = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def allowed(uid: int, user: str) -> bool:
    """Tell whether this uid is root's or the daemon's user."""
    if uid == 0:
        return True
    try:
        return uid == pwd.getpwnam(user).pw_uid
    except KeyError:
        return False


def _listen(path: Path | None) -> socket.socket:
    """Return the listening socket: systemd's, or one at `path`, for its own user alone."""
    if path is None:
        return socket.socket(fileno=_FIRST_PASSED)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(1)
    return listener


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by way of every `finally`, so that the board is put back."""
    del frame
    raise SystemExit(0 if number == signal.SIGTERM else 128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiosd-powerd",
        description="Sets clock limits and power modes for aiosd, and puts them back.",
    )
    parser.add_argument("--socket", type=Path, metavar="PATH", help="listen here, not for systemd")
    parser.add_argument("--user", default="aiosd", help="who may ask beside root (aiosd)")
    parser.add_argument(
        "--sysroot", type=Path, default=ROOT, metavar="DIR", help="a simulated board's folder"
    )
    parser.add_argument(
        "--record", type=Path, default=RECORD, metavar="FILE", help="where what was found is kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
