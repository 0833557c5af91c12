"""One HTTP/1.1 POST over a connection of its own: bounded in time on every step, never redirected.

The standard library's client is enough for that: nothing to install, 5.4 MB and 36 ms at the start
of the one process that uses it. It looks at no proxy variables, follows nothing, unpacks nothing.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.uplink import Place

# The largest piece read at once.
PIECE_BYTES = 16_384
_ERROR = 400
# How a server is verified.
Trust = ssl.SSLContext
_REDIRECT = 300


class NetError(Exception):
    """No answer, or no more of it: `stage` is connect, tls, send, answer or read.

    The message never holds what was sent.
    """

    def __init__(self, stage: str, why: str) -> None:
        """Take the stage, and why it failed."""
        super().__init__(f"{stage}: {why}")
        self.stage = stage
        self.why = why


@dataclass(frozen=True)
class Patience:
    """Seconds for connecting (with TLS), until the answer begins, and between its pieces."""

    connect: float
    first_byte: float
    stall: float


@dataclass(frozen=True)
class Head:
    """How an answer begins; `retry_after` is the header as it came."""

    status: int
    content_type: str
    encoding: str
    retry_after: str

    @property
    def is_error(self) -> bool:
        """Whether this is a refusal, or leads somewhere else (which nobody follows)."""
        return self.status >= _ERROR or _REDIRECT <= self.status < _ERROR


def tls_context(ca_file: str) -> Trust:
    """Return how servers are verified: by the system's roots, or by the owner's authority alone.

    Raises:
        OSError: the file of the authority cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=str(Path(ca_file)) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Post:
    """One POST and its answer. One thread uses it; any other may `abort` it at any time."""

    def __init__(self, place: Place, patience: Patience, trust: Trust | None, until: float) -> None:
        """Do nothing yet; `until` is when, by time.monotonic, everything must be over."""
        self._place = place
        self._patience = patience
        self._trust = trust
        self._until = until
        self._socket: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._aborted = False

    def send(self, path: str, body: bytes, headers: Mapping[str, str]) -> Head:
        """Connect, send, and return how the answer begins.

        Raises:
            NetError: no connection, no trust, or no answer in time.
        """
        self._connect()
        plug = self._plug()
        place = self._place
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.sock = plug
        connection.auto_open = 0
        usual = 443 if place.secure else 80
        host = f"[{place.host}]" if ":" in place.host else place.host
        named = {"Host": host if place.port == usual else place.address}
        try:
            plug.settimeout(self._left(self._patience.stall, "send"))
            connection.request("POST", place.path + path, body, {**named, **headers})
            plug.settimeout(self._left(self._patience.first_byte, "answer"))
            self._answer = answer = connection.getresponse()
        except TimeoutError:
            raise NetError("answer", "timed out") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            # The error's own text may quote a header, and a header holds the key.
            raise NetError("answer", _kind(error)) from None
        return Head(
            answer.status,
            (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
            (answer.getheader("Content-Encoding") or "identity").strip().lower(),
            (answer.getheader("Retry-After") or "").strip(),
        )

    def read(self) -> bytes:
        """Return the next piece of the answer; nothing at its end.

        Raises:
            NetError: it stalls, breaks off or takes too long.
        """
        answer = self._answer
        if answer is None:
            raise NetError("read", "nothing was sent")
        try:
            self._plug().settimeout(self._left(self._patience.stall, "read"))
            piece = answer.read1(PIECE_BYTES)
        except TimeoutError:
            raise NetError("read", "stalled") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise NetError("read", _kind(error)) from None
        if self._aborted:
            raise NetError("read", "given up")
        return piece

    def abort(self) -> None:
        """Break the connection, which ends whatever waits for it."""
        self._aborted = True
        plug = self._socket
        if plug is not None:
            try:
                # Not SSLSocket's own, which would pull its state away from the reading thread.
                socket.socket.shutdown(plug, socket.SHUT_RDWR)
            except OSError:
                return  # not connected yet, or not any more

    def close(self) -> None:
        """Close the connection."""
        if self._answer is not None:
            self._answer.close()
        if self._socket is not None:
            self._socket.close()

    def _connect(self) -> None:
        """Connect to the first address that answers, and verify who that is."""
        end = time.monotonic() + self._left(self._patience.connect, "connect")
        place = self._place
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NetError("connect", f"{place.host} has no address ({_kind(error)})") from None
        why = "no address"
        for family, kind, protocol, _, address in found:
            plug = self._socket = socket.socket(family, kind, protocol)
            try:
                plug.settimeout(max(0.001, end - time.monotonic()))
                if self._aborted:
                    raise NetError("connect", "given up")
                plug.connect(address)
            except OSError as error:
                why = "timed out" if isinstance(error, TimeoutError) else _kind(error)
                plug.close()
                continue
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._secure(plug, end)
            return
        raise NetError("connect", why)

    def _secure(self, plug: socket.socket, end: float) -> None:
        """Put TLS over a connection, where the address says so."""
        if not self._place.secure:
            return
        if self._trust is None:
            raise NetError("tls", "no authority to verify the server by")
        try:
            plug.settimeout(max(0.001, end - time.monotonic()))
            self._socket = self._trust.wrap_socket(plug, server_hostname=self._place.host)
        except ssl.SSLCertVerificationError as error:
            plug.close()
            raise NetError("tls", f"not trusted: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            plug.close()
            raise NetError("tls", _kind(error)) from None

    def _plug(self) -> socket.socket:
        if self._socket is None:
            raise NetError("connect", "not connected")
        return self._socket

    def _left(self, seconds: float, stage: str) -> float:
        """Return how long a step may take."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise NetError(stage, "the time was up")
        if self._aborted:
            raise NetError(stage, "given up")
        return min(seconds, left)


def _kind(error: BaseException) -> str:
    """Return what kind of error it is; not its text, which may quote what was sent."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "name not found"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
