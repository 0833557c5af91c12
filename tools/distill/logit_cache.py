"""A teacher's answers on disk: one pass, many students. Append-only, and whole after any kill.

A file holds a header line of JSON (the teacher's fingerprint, k) and records: 16 bytes that stand
for the input, the number of rows n (one for a class, one per token for a text; 0: the teacher was
asked and gave nothing usable), n × k places and values and n rests, and a CRC-32 of all that. A
record that was cut off by a kill or a full disk is dropped when the file is opened.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tools.distill.fault import DistillError, room
from tools.distill.top_k import TopK

_HEAD = struct.Struct("<16sI")
_CRC = struct.Struct("<I")
# Answers between two fsyncs; a power cut costs at most so many.
SYNC_EVERY = 512


class LogitCache:
    """The answers of one teacher, by input."""

    def __init__(self, path: Path, fingerprint: str, k: int) -> None:
        """Open or make the file.

        Raises:
            DistillError: it holds the answers of another teacher, or another k.
        """
        self._path, self._k = path, k
        self._known: dict[bytes, TopK] = {}
        self._unsynced = 0
        head = json.dumps({"teacher": fingerprint, "k": k, "format": 1}).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        line, newline, _ = data.partition(b"\n")
        if not newline:
            with room(str(path)):
                path.write_bytes(head)
            data = head
        elif line + b"\n" != head:
            raise DistillError(
                f"{path} holds answers of another teacher ({line.decode(errors='replace')[:200]}); "
                "name another cache folder, or remove it"
            )
        whole = self._read(data, len(head))
        if whole < len(data):
            os.truncate(path, whole)
        self._file = path.open("ab")

    def _read(self, data: bytes, at: int) -> int:
        """Take every whole record; return where the first broken one begins."""
        while at + _HEAD.size <= len(data):
            key, rows = _HEAD.unpack_from(data, at)
            body = rows * (4 * self._k + 2)
            end = at + _HEAD.size + body + _CRC.size
            if end > len(data):
                break
            (crc,) = _CRC.unpack_from(data, end - _CRC.size)
            if crc != zlib.crc32(data[at : end - _CRC.size]):
                break
            self._known[key] = self._decode(data[at + _HEAD.size : end - _CRC.size], rows)
            at = end
        return at

    def _decode(self, body: bytes, rows: int) -> TopK:
        size = rows * self._k * 2
        shape = (rows, self._k)
        return TopK(
            np.frombuffer(body[:size], "<u2").reshape(shape),
            np.frombuffer(body[size : 2 * size], "<f2").reshape(shape),
            np.frombuffer(body[2 * size :], "<f2"),
        )

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def get(self, key: bytes) -> TopK | None:
        """Return the answer; one of no rows says that there is none to be had."""
        return self._known.get(key)

    def put(self, key: bytes, answer: TopK) -> None:
        """Keep an answer.

        Raises:
            FullDiskError: there is no room; the file holds what it held.
            ValueError: the answer does not have k places.
        """
        if len(answer) and answer.places.shape[1] != self._k:
            raise ValueError(f"{answer.places.shape[1]} places, not {self._k}")
        record = _HEAD.pack(key, len(answer)) + b"".join(
            (
                answer.places.astype("<u2").tobytes(),
                answer.values.astype("<f2").tobytes(),
                answer.rest.astype("<f2").tobytes(),
            )
        )
        whole = self._path.stat().st_size
        try:
            with room(str(self._path)):
                self._file.write(record + _CRC.pack(zlib.crc32(record)))
                self._file.flush()
        except BaseException:
            os.truncate(self._path, whole)
            raise
        self._known[key] = answer
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self.sync()

    def skip(self, key: bytes) -> None:
        """Keep that the teacher had nothing usable to say."""
        self.put(key, nothing(self._k))

    def sync(self) -> None:
        """Make everything durable."""
        with room(str(self._path)):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._unsynced = 0

    def skipped(self, keys: Iterable[bytes]) -> int:
        """Return how many of these inputs the teacher had nothing to say about."""
        found = (self._known.get(key) for key in keys)
        return sum(each is not None and not len(each) for each in found)

    def close(self) -> None:
        """Make everything durable, and close the file."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def nothing(k: int) -> TopK:
    """Return an answer of no rows."""
    empty = np.empty((0, k))
    return TopK(empty.astype("<u2"), empty.astype("<f2"), np.empty(0, "<f2"))


def stacked(answers: Mapping[bytes, TopK], keys: Iterable[bytes]) -> TopK:
    """Return the one-row answers of these inputs below each other."""
    rows = [answers[key] for key in keys]
    return TopK(
        np.concatenate([each.places for each in rows]),
        np.concatenate([each.values for each in rows]),
        np.concatenate([each.rest for each in rows]),
    )
