"""What was measured of a release while it was loaded, and what it was measured under."""

from typing import Annotated

import msgspec
from msgspec import Meta

Bytes = Annotated[int, Meta(ge=0, le=2**50)]


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """The most a worker was seen to hold, after how many answers, and how long its load took.

    `engine` is name and version of the library it was measured with: another one may need more.
    """

    engine: Annotated[str, Meta(max_length=200)]
    peak_bytes: Bytes
    answers: Annotated[int, Meta(ge=0, le=2**50)]
    reload_seconds: Annotated[float, Meta(gt=0, le=86_400)]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What a footprint depends on beside the engine: elsewhere it says nothing.

    `package` is the digest of the manifest, which holds the release and the digests of all files;
    `context` is in tokens; `board` names profile, processor, and how workers are made.
    """

    package: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    context: Annotated[int, Meta(ge=0)]
    board: Annotated[str, Meta(max_length=400)]
