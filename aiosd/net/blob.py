"""Where files of a repository come from: a folder at a web server, or on a stick in this machine.

Asked for a part, an origin gives that part or the whole file, and says which; it never gives more
than was asked for. It follows redirects within its own address only, takes nothing packed, asks no
proxy, and is bounded in time on every step. What comes is not to be believed before it was hashed.
"""

import contextlib
import http.client
import os
import re
import ssl
import stat
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiosd.domain.update import Fault, UpdateError, folder_of
from aiosd.domain.uplink import Place, place_of
from aiosd.net.line import Clock, Line, connect
from aiosd.net.post import Trust, tls_context

PIECE_BYTES = 65_536
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
# Of a path as the address has it: what need not be quoted, and percent signs that quote already.
_SAFE = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True)
class Part:
    """Bytes `first` to `end` (not included) of a file of `total` bytes."""

    first: int
    end: int
    total: int


class Body:
    """What comes; `first` is where in the file it begins, `etag` names the file's state."""

    def __init__(
        self, first: int, limit: int, read: Callable[[int], bytes], *, length: int | None, etag: str
    ) -> None:
        """Take how to read, how much may come, and how much is said to."""
        self.first = first
        self.etag = etag
        self.length = length
        self._left = limit
        self._read = read
        self._came = 0

    def read(self) -> bytes:
        """Return the next piece; nothing at the end.

        Raises:
            UpdateError: it stalls or breaks off, or more comes than may.
        """
        piece = self._read(min(PIECE_BYTES, self._left + 1))
        self._came += len(piece)
        self._left -= len(piece)
        if self._left < 0:
            raise UpdateError(Fault.TOO_LONG, "more bytes come than were asked for")
        if not piece and self.length is not None and self._came < self.length:
            raise UpdateError(
                Fault.BROKEN_OFF, f"the answer broke off after {self._came} of {self.length} bytes"
            )
        return piece


class Origin(Protocol):
    """A folder of files."""

    def open(self, path: str, limit: int, part: Part | None = None, etag: str = "") -> Body:
        """Return (part of) the file at `path`, as an address spells it, at most `limit` bytes.

        Of a `part` the whole file may come as well, which `Body.first` then tells. `etag`: the
        part is of no use if the file is not in that state any more.

        Raises:
            UpdateError: there is none, or it does not come as it should.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def origin_of(url: str, ca_file: str = "", stall_seconds: float = 30.0) -> Origin:
    """Return the origin that an address names.

    Raises:
        UpdateError: its authority's file cannot be read.
        ValueError: it is no address.
    """
    folder = folder_of(url)
    if folder is not None:
        return FileOrigin(Path(urllib.parse.unquote(folder)))
    place = place_of(url)
    try:
        trust = tls_context(ca_file) if place.secure else None
    except OSError as error:
        raise UpdateError(Fault.TLS, f"{ca_file}: {error.strerror or error}") from error
    return WebOrigin(place, trust, stall_seconds)


class FileOrigin:
    """A folder in this machine, such as a stick's."""

    def __init__(self, folder: Path) -> None:
        """Look only into `folder`."""
        self._folder = folder
        self._handle: int | None = None

    def open(self, path: str, limit: int, part: Part | None = None, etag: str = "") -> Body:
        """Return (part of) a file; see `Origin`."""
        del etag  # one who reads it whole hashes it whole
        self.close()
        where = self._folder / _within(path)
        try:
            # Not blocking: a stick may hold a pipe where a file should be.
            handle = os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UpdateError(Fault.NOT_FOUND, f"{where}: there is no such file") from None
        except OSError as error:
            raise UpdateError(Fault.UNREACHABLE, f"{where}: {error.strerror}") from error
        self._handle = handle
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UpdateError(Fault.REFUSED, f"{where}: is no file")
        first, length = (part.first, part.end - part.first) if part else (0, status.st_size)
        if part is None and length > limit:
            raise UpdateError(Fault.TOO_LONG, f"{where}: {length} bytes, {limit} may come")
        if part is not None and status.st_size != part.total:
            raise UpdateError(Fault.CHANGED, f"{where}: {status.st_size} bytes, not {part.total}")
        os.lseek(handle, first, os.SEEK_SET)
        left = length

        def read(most: int) -> bytes:
            nonlocal left
            try:
                piece = os.read(handle, min(most, left))
            except OSError as error:
                raise UpdateError(Fault.BROKEN_OFF, f"{where}: {error.strerror}") from error
            left -= len(piece)
            return piece

        return Body(first, limit, read, length=length, etag="")

    def close(self) -> None:
        """Close the file that was read last."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class WebOrigin:
    """A folder at a web server: one connection, kept from file to file. One thread uses it."""

    def __init__(
        self,
        place: Place,
        trust: Trust | None,
        stall_seconds: float = 30.0,
        clock: Clock = time.monotonic,
    ) -> None:
        """Do nothing yet; nothing may take longer than `stall_seconds` without a byte."""
        self._place = place
        self._trust = trust
        self._stall = stall_seconds
        self._clock = clock
        self._line: Line | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None

    def open(self, path: str, limit: int, part: Part | None = None, etag: str = "") -> Body:
        """Return (part of) a file; see `Origin`."""
        where = f"{self._place.path}/{_quoted(_within(path))}"
        headers = {
            "Host": self._named(),
            "Accept-Encoding": "identity",
            "User-Agent": "aiosd-update",
        }
        if part is not None and (part.first or part.end != part.total):
            headers["Range"] = f"bytes={part.first}-{part.end - 1}"
            if etag and not etag.startswith("W/"):
                headers["If-Range"] = etag
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(where, headers)
            if answer.status not in _REDIRECTS:
                return self._body(answer, limit, part, where)
            where = self._elsewhere(where, answer.getheader("Location") or "")
            self.close()
        raise UpdateError(
            Fault.REDIRECTED, f"{where}: redirected more than {_MOST_REDIRECTS} times"
        )

    def close(self) -> None:
        """Close the connection; the next file opens another."""
        if self._answer is not None:
            self._answer.close()
        if self._line is not None:
            self._line.close()
        self._answer = self._line = self._connection = None

    def _ask(self, where: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send a request and return how its answer begins; once more if a kept line was dead."""
        last = self._answer
        kept = last is not None and last.isclosed() and not last.will_close
        if not kept:
            self.close()
        try:
            return self._once(where, headers)
        except UpdateError as error:
            self.close()
            if not kept or error.fault is not Fault.BROKEN_OFF:
                raise
        return self._once(where, headers)

    def _once(self, where: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send a request and return how its answer begins."""
        if self._line is None or self._connection is None:
            self._connect()
        line, connection = self._line, self._connection
        assert line is not None  # noqa: S101 - just made
        assert connection is not None  # noqa: S101
        line.grant(self._stall)
        try:
            connection.request("GET", where, headers=headers)
            self._answer = answer = connection.getresponse()
        except TimeoutError:
            self.close()
            raise UpdateError(Fault.STALLED, f"{where}: no answer in {self._stall:g} s") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise UpdateError(Fault.BROKEN_OFF, f"{where}: {_kind(error)}") from None
        return answer

    def _connect(self) -> None:
        """Connect, and let http.client speak over that line."""
        place = self._place
        try:
            self._line = connect(place, self._stall, self._trust, self._clock)
        except ssl.SSLError as error:
            raise UpdateError(Fault.TLS, f"{place.address}: {_kind(error)}") from None
        except (OSError, UnicodeError, ValueError) as error:
            raise UpdateError(Fault.UNREACHABLE, f"{place.address}: {_kind(error)}") from None
        self._connection = http.client.HTTPConnection(place.host, place.port)
        self._connection.sock = self._line
        self._connection.auto_open = 0

    def _body(
        self, answer: http.client.HTTPResponse, limit: int, part: Part | None, where: str
    ) -> Body:
        """Check how an answer begins against what was asked for."""
        try:
            _check_status(answer, where)
            first, most = _extent(answer, part, limit, where)
        except UpdateError:
            self.close()
            raise
        expected = most if part is not None else answer.length
        etag = (answer.getheader("ETag") or "").strip()
        return Body(first, most, self._reader(answer, where), length=expected, etag=etag)

    def _reader(self, answer: http.client.HTTPResponse, where: str) -> Callable[[int], bytes]:
        """Return what reads a piece of the answer."""

        def read(most: int) -> bytes:
            line = self._line
            if line is None or self._answer is not answer:
                raise UpdateError(Fault.BROKEN_OFF, f"{where}: closed")
            line.grant(self._stall)
            try:
                return answer.read1(most)
            except TimeoutError:
                self.close()
                raise UpdateError(
                    Fault.STALLED, f"{where}: nothing came for {self._stall:g} s"
                ) from None
            except (http.client.HTTPException, OSError, ValueError) as error:
                self.close()
                raise UpdateError(Fault.BROKEN_OFF, f"{where}: {_kind(error)}") from None

        return read

    def _elsewhere(self, where: str, location: str) -> str:
        """Return the path of a redirect within this very address."""
        with contextlib.suppress(ValueError):
            base = f"{'https' if self._place.secure else 'http'}://{self._place.address}"
            to = urllib.parse.urlsplit(urllib.parse.urljoin(base + where, location))
            usual = 443 if to.scheme == "https" else 80
            there = (to.scheme == "https", to.hostname, to.port or usual)
            here = (self._place.secure, self._place.host.lower(), self._place.port)
            if to.scheme in ("http", "https") and there == here and to.username is None:
                return _quoted(to.path or "/")
        raise UpdateError(
            Fault.REDIRECTED, f"{where}: leads to another place, {location[:200]!r}; not followed"
        )

    def _named(self) -> str:
        place = self._place
        host = f"[{place.host}]" if ":" in place.host else place.host
        return host if place.port == (443 if place.secure else 80) else place.address


def _check_status(answer: http.client.HTTPResponse, where: str) -> None:
    """Refuse an answer that is no file.

    Raises:
        UpdateError: so it is.
    """
    status = answer.status
    if status in (http.client.OK, http.client.PARTIAL_CONTENT):
        return
    if status in (http.client.NOT_FOUND, http.client.FORBIDDEN, http.client.GONE):
        raise UpdateError(Fault.NOT_FOUND, f"{where}: the server has none ({status})")
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise UpdateError(Fault.CHANGED, f"{where}: the server's file is shorter (416)")
    raise UpdateError(Fault.REFUSED, f"{where}: the server answers {status}")


def _extent(
    answer: http.client.HTTPResponse, part: Part | None, limit: int, where: str
) -> tuple[int, int]:
    """Return where in the file an answer begins, and how many bytes it may have.

    Raises:
        UpdateError: it is packed, another part, or of another length than asked for.
    """
    encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise UpdateError(Fault.PACKED, f"{where}: packed as {encoding!r}, which was not asked for")
    first, most = 0, limit if part is None else part.total
    if answer.status == http.client.PARTIAL_CONTENT:
        first, most = _range_of(answer, part, where)
    length = answer.length
    if length is not None and length > most:
        raise UpdateError(Fault.TOO_LONG, f"{where}: {length} bytes are announced, not {most}")
    if part is not None and length not in (None, most):
        raise UpdateError(Fault.CHANGED, f"{where}: {length} bytes are announced, not {most}")
    return first, most


def _range_of(answer: http.client.HTTPResponse, part: Part | None, where: str) -> tuple[int, int]:
    """Return where a partial answer begins and how long it is.

    Raises:
        UpdateError: it is another part than was asked for.
    """
    said = (answer.getheader("Content-Range") or "").strip()
    found = _CONTENT_RANGE.fullmatch(said)
    asked = (part.first, part.end - 1, part.total) if part is not None else None
    if part is None or found is None or tuple(map(int, found.groups())) != asked:
        raise UpdateError(
            Fault.RANGE_LIED, f"{where}: Content-Range is {said[:100]!r}, asked was {asked}"
        )
    return part.first, part.end - part.first


def _within(path: str) -> str:
    """Return a relative path that stays below its folder.

    Raises:
        UpdateError: it would not.
    """
    bare = path.lstrip("/")
    parts = urllib.parse.unquote(bare).split("/")
    if not bare or ".." in parts or any(ord(char) < 32 for char in bare):  # noqa: PLR2004 - controls
        raise UpdateError(Fault.NOT_FOUND, f"{path[:200]!r} is no path within a repository")
    return bare


def _quoted(path: str) -> str:
    return urllib.parse.quote(path, safe=_SAFE)


def _kind(error: BaseException) -> str:
    """Return what kind of error it is, without what the other side said."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
