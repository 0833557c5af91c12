"""Small JSON questions to one server, with a token: bounded in time and size, never redirected."""

import http.client
import ssl
import time
import urllib.parse

import msgspec

from aiosd.domain.update import Fault, UpdateError
from aiosd.domain.uplink import Place, place_of
from aiosd.net.line import Line, connect
from aiosd.net.post import tls_context

MOST_BYTES = 262_144
_DONE = range(200, 300)
_GONE = (404, 410)


class Exchange:
    """One server; each question has a connection of its own."""

    def __init__(
        self, url: str, *, ca_file: str = "", token: str = "", seconds: float = 30.0
    ) -> None:
        """Take its address, and what comes after `Authorization:`.

        Raises:
            UpdateError: the authority's file cannot be read, or the address is none.
        """
        try:
            self.place: Place = place_of(url)
            self._trust = tls_context(ca_file) if self.place.secure else None
        except (OSError, ValueError) as error:
            raise UpdateError(Fault.TLS, f"{ca_file or url}: {error}") from error
        self._token = token
        self._seconds = seconds

    def path_of(self, href: str) -> str:
        """Return path and query of a link that leads to this server.

        Raises:
            UpdateError: it leads elsewhere, where the token must not go.
        """
        try:
            to = urllib.parse.urlsplit(href)
            port = to.port or (443 if to.scheme == "https" else 80)
        except ValueError:
            raise UpdateError(Fault.REDIRECTED, f"{href[:200]!r} is no link") from None
        place = self.place
        if (to.scheme == "https", to.hostname, port) != (place.secure, place.host, place.port):
            raise UpdateError(Fault.REDIRECTED, f"{href[:200]!r} leads to another server")
        return to.path + (f"?{to.query}" if to.query else "")

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Send a question and return what is answered, at most 256 KiB.

        Raises:
            UpdateError: nobody answers, or not with yes; nothing of the token is in the message.
        """
        place = self.place
        data = None if body is None else msgspec.json.encode(body)
        host = f"[{place.host}]" if ":" in place.host else place.host
        usual = place.port == (443 if place.secure else 80)
        headers = {
            "Host": host if usual else place.address,
            "Accept": "application/json, application/hal+json",
            "Accept-Encoding": "identity",
            "User-Agent": "aiosd-update",
            "Connection": "close",
        }
        headers |= {"Authorization": self._token} if self._token else {}
        headers |= {"Content-Type": "application/json"} if data is not None else {}
        line = self._connect()
        try:
            line.grant(self._seconds)
            connection = http.client.HTTPConnection(place.host, place.port)
            connection.sock = line
            connection.auto_open = 0
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            found = answer.read(MOST_BYTES + 1)
            answer.close()
        except TimeoutError:
            raise UpdateError(Fault.STALLED, f"{place.address}: no answer") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            # Its own text may quote a header, and a header holds the token.
            raise UpdateError(
                Fault.BROKEN_OFF, f"{place.address}: {type(error).__name__}"
            ) from None
        finally:
            line.close()
        return _checked(answer.status, found, f"{place.address}{path.partition('?')[0]}")

    def _connect(self) -> Line:
        """Connect.

        Raises:
            UpdateError: nobody answers, or nobody who may be trusted.
        """
        place = self.place
        try:
            return connect(place, self._seconds, self._trust, time.monotonic)
        except ssl.SSLError as error:
            raise UpdateError(Fault.TLS, f"{place.address}: {error.reason}") from None
        except OSError as error:
            raise UpdateError(Fault.UNREACHABLE, f"{place.address}: {error.strerror}") from None


def _checked(status: int, found: bytes, where: str) -> bytes:
    """Refuse an answer that is none.

    Raises:
        UpdateError: so it is.
    """
    if status in _GONE:
        raise UpdateError(Fault.NOT_FOUND, f"{where}: the server has none ({status})")
    if status not in _DONE:
        raise UpdateError(Fault.REFUSED, f"{where}: the server answers {status}")
    if len(found) > MOST_BYTES:
        raise UpdateError(Fault.TOO_LONG, f"{where}: more than {MOST_BYTES} bytes")
    return found
