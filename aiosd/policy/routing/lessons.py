"""What the router learns from: each package's own texts, and the key of a head made of them.

A head is a function of the lessons alone, in the order of names, and of the recipe; the key is
their digest. Whatever was installed before leaves no trace in it.
"""

import hashlib
from collections.abc import Iterable

import msgspec

# Another number for every change of features, losses, background, thresholds or word vectors.
RECIPE = 6


class TextFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of texts, by its digest; where it lies is no part of what is learned."""

    sha256: str
    path: str


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of one package."""

    expert: str
    utterances: list[str] = msgspec.field(default_factory=list)
    refuses: list[str] = msgspec.field(default_factory=list)
    examples: TextFile | None = None
    calibration: TextFile | None = None

    @property
    def taught(self) -> bool:
        """Whether there is anything to learn: an expert without texts is found by name or task."""
        return bool(self.utterances or self.examples)


def in_order(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return the lessons that teach anything, by name: the order in which they are learned."""
    return sorted((each for each in lessons if each.taught), key=lambda each: each.expert)


def key_of(lessons: Iterable[Lesson]) -> str:
    """Return the digest of what is learned, as 32 hexadecimal digits; "" where that is nothing."""
    ordered = in_order(lessons)
    if not ordered:
        return ""
    digest = hashlib.sha256(f"recipe {RECIPE}\n".encode())
    for each in ordered:
        files = [file and file.sha256 for file in (each.examples, each.calibration)]
        parts = (each.expert, each.utterances, each.refuses, files)
        digest.update(hashlib.sha256(msgspec.msgpack.encode(parts)).digest())
    return digest.hexdigest()[:32]
