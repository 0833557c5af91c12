"""A stream of bytes → the data of server-sent events (HTML Living Standard, section 9.2).

Only `data` matters here; `event`, `id`, `retry` and comments are skipped. Lines end with LF, CR LF
or CR. An event that the stream's end cuts off is dropped, as the standard says.
"""

_BOM = b"\xef\xbb\xbf"


class SseError(Exception):
    """The stream holds a line or an event longer than any of ours; it must be given up."""


class SseReader:
    """Collects bytes as they come and gives back the data of whole events."""

    def __init__(self, limit: int) -> None:
        """Refuse lines and events longer than `limit` bytes."""
        self._limit = limit
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take some bytes; return the data of every event that is now complete.

        Raises:
            SseError: a line or an event is over the limit.
        """
        text = self._rest + chunk
        if not self._begun:
            if _BOM.startswith(text):
                self._rest = text
                return []
            self._begun = True
            text = text.removeprefix(_BOM)
        lines = text.splitlines(keepends=True)
        # A CR may be half of a CR LF, and an unfinished line must wait for its end.
        last = lines[-1] if lines else b""
        self._rest = b"" if last.endswith(b"\n") else lines.pop() if lines else b""
        if len(self._rest) > self._limit:
            raise SseError(f"a line of over {self._limit} bytes")
        events = []
        for line in lines:
            data = self._line(line.rstrip(b"\r\n"))
            if data is not None:
                events.append(data)
        return events

    def close(self) -> list[bytes]:
        """Return the event that only waited for the stream's end to be whole, if there is one."""
        rest, self._rest = self._rest, b""
        data = self._line(rest[:-1]) if rest.endswith(b"\r") else None
        return [] if data is None else [data]

    def _line(self, line: bytes) -> bytes | None:
        """Take a line; return the event's data if it ends one that has any."""
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._limit:
                raise SseError(f"an event of over {self._limit} bytes")
            self._data.append(value.removeprefix(b" "))
        return None
