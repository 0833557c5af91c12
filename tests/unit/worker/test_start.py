"""A host or worker that cannot even import what it needs says so, in its daemon's words."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from aiosd.protocol.framing import Unframer
from aiosd.protocol.pipe import FromHost, FromWorker, HostFailed, LoadFailed


def said(tmp_path: Path, *arguments: str) -> bytes:
    """Start a process where NumPy is missing; return the one message it sends."""
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy here')\n")
    near, far = socket.socketpair()
    near.settimeout(20)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[3])])
    with (
        near,
        subprocess.Popen(
            [sys.executable, "-m", "aiosd.worker", "--fd", str(far.fileno()), *arguments],
            pass_fds=[far.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        far.close()
        (body,) = Unframer().feed(near.recv(65536))
        assert process.wait(20) == 1
    return body


def test_a_host_without_its_libraries_says_what_is_missing(tmp_path: Path) -> None:
    message = msgspec.msgpack.decode(said(tmp_path, "--host", "litert"), type=FromHost)
    assert isinstance(message, HostFailed)
    assert "no numpy here" in message.reason
    assert "doctor" in message.reason


@pytest.mark.parametrize("arguments", [(), ("--parent", str(os.getpid()))])
def test_a_worker_without_its_libraries_says_what_is_missing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    message = msgspec.msgpack.decode(said(tmp_path, *arguments), type=FromWorker)
    assert isinstance(message, LoadFailed)
    assert "no numpy here" in message.reason
