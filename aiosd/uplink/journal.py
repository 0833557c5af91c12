"""A file of JSON lines that never outgrows its bound: half in use, half from before."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

_ENCODER = msgspec.json.Encoder()


class Journal:
    """Lines are added at the end; the older file goes when the newer one is full."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Keep at most `most_bytes` in `path` and the file beside it; nothing is opened yet."""
        self._path = path
        self._half = most_bytes // 2

    def add(self, entry: Mapping[str, object]) -> None:
        """Write one line; an entry that is larger than half of the bound is left out.

        Raises:
            OSError: it cannot be written.
        """
        line = _ENCODER.encode(entry) + b"\n"
        if len(line) > self._half:
            return
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size + len(line) > self._half:
            self._path.replace(self._older())
        handle = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            written = os.write(handle, line)
            if written != len(line):
                # Half a line would spoil the next one.
                os.ftruncate(handle, size)
                raise OSError(None, "no room for a line")
        finally:
            os.close(handle)

    def last(self, lines: int) -> list[dict[str, object]]:
        """Return the last entries, oldest first; a line that is damaged is left out."""
        found: list[dict[str, object]] = []
        for path in (self._path, self._older()):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue
            for line in reversed(text.splitlines()):
                if len(found) >= lines:
                    break
                try:
                    found.append(msgspec.json.decode(line, type=dict[str, object]))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
        return found[::-1]

    def _older(self) -> Path:
        return self._path.with_name(self._path.name + ".1")
