"""What is known of one package's texts where thousands are installed: counts, made once for each.

A page is a function of the package's lesson alone; together they are all that a head of thousands
of routes is made of (`postings.py`). So one package more costs the reading of its own texts, and
nothing that was kept can change what comes out.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.texts import Example, rows_of
from aiosd.policy.routing.lessons import RECIPE, Lesson
from aiosd.policy.routing.lexical import PLACES, normal

_MAGIC = b"aiosd-pages\x02\n"
_SUM_BYTES = 4


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Little-endian arrays as bytes.

    `places` (uint16) are those of all texts, with in how many texts each is (`counts`, uint16) and
    in how many of those that siblings learn (`early`). `late` and `late_starts` are the rows of the
    texts that are measured on, `forms` the first eight bytes of each text's digest.
    """

    texts: int
    early_texts: int
    places: bytes
    counts: bytes
    early: bytes
    late: bytes
    late_starts: bytes
    forms: bytes

    def late_rows(self) -> list[NDArray[np.int64]]:
        """Return the places of each text that is measured on."""
        starts = np.frombuffer(self.late_starts, "<u4")
        found = np.frombuffer(self.late, "<u2").astype(np.int64)
        return np.split(found, starts[1:-1]) if len(starts) > 1 else []


def page_of(examples: Sequence[Example]) -> Page:
    """Return the page of some texts; late ones are measured on."""
    rows = rows_of((each.text for each in examples), far=False)
    late = np.array([each.late for each in examples], np.bool_)
    owner_late = np.repeat(late, np.diff(rows.starts))
    # What is in a text twice is still in one text.
    first = np.diff(rows.places, prepend=-1) != 0
    first[rows.starts[:-1][np.diff(rows.starts) > 0]] = True
    counts = np.bincount(rows.places[first], minlength=PLACES)
    early = np.bincount(rows.places[first & ~owner_late], minlength=PLACES)
    used = np.flatnonzero(counts)
    judged = rows.pick(late)
    forms = b"".join(form(each.text) for each in examples)
    return Page(
        texts=len(examples),
        early_texts=int((~late).sum()),
        places=used.astype("<u2").tobytes(),
        counts=counts[used].astype("<u2").tobytes(),
        early=early[used].astype("<u2").tobytes(),
        late=judged.places.astype("<u2").tobytes(),
        late_starts=judged.starts.astype("<u4").tobytes(),
        forms=forms,
    )


def form(text: str) -> bytes:
    """Return what tells a text from another in normal form."""
    return hashlib.sha256(normal(text).encode("utf-8", "surrogatepass")).digest()[:8]


def key_of_page(lesson: Lesson) -> str:
    """Return the digest of what a page is made of."""
    files = [file and file.sha256 for file in (lesson.examples, lesson.calibration)]
    parts = (RECIPE, lesson.expert, lesson.utterances, files)
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()[:32]


def read_pages(file: BinaryIO) -> dict[str, Page]:
    """Return the pages that were kept; none where the file is empty, damaged or of old."""
    file.seek(0)
    data = file.read()
    body = data[len(_MAGIC) + _SUM_BYTES :]
    start = _MAGIC + zlib.crc32(body).to_bytes(_SUM_BYTES, "little")
    if not data.startswith(start):
        return {}
    try:
        return msgspec.msgpack.decode(body, type=dict[str, Page])
    except msgspec.DecodeError:
        return {}


def write_pages(file: BinaryIO, pages: dict[str, Page]) -> None:
    """Keep the pages; where that fails half-way the sum tells."""
    body = msgspec.msgpack.encode(pages)
    file.seek(0)
    file.truncate()
    file.write(_MAGIC + zlib.crc32(body).to_bytes(_SUM_BYTES, "little") + body)
    file.flush()


def forms_of(pages: Iterable[Page]) -> set[bytes]:
    """Return what tells the texts of all pages."""
    return {page.forms[at : at + 8] for page in pages for at in range(0, len(page.forms), 8)}
