"""Every deliberate error, by who must act: the words that a client, an owner or an operator reads.

The tree::

    AiosdError
    ├── InvalidError          the caller: fix the request; `field` says where
    ├── UnknownExpertError    the caller: no expert of that name is installed
    ├── NoRouteError          the caller: nothing here can answer; `nearest` says what was closest
    ├── BusyError             the caller: send the same again after `retry_after_seconds`
    ├── DeadlineError         the caller: more time is needed than was given
    ├── OverRamError          the owner: the expert does not fit the RAM cap
    ├── OverPowerError        the owner: the request does not fit the power cap
    ├── RefusedPrivacyError   the caller: the request may not go where it would have to go
    ├── ExpertFailedError     the expert's publisher: its worker crashed or its model is bad
    ├── CancelledError        nobody: the caller asked for it
    ├── ForbiddenError        the operator: this verb belongs on the admin socket
    └── UnreachableError      the operator: no daemon answers (raised by clients only)

    PackageError              the expert's publisher: a package on disk is not what it claims
    ConfigError               the owner: a file of settings is wrong; `path` and `line` say where
"""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The error codes of the wire, version 1."""

    INVALID = "invalid"
    UNKNOWN_EXPERT = "unknown_expert"
    NO_ROUTE = "no_route"
    BUSY = "busy"
    DEADLINE = "deadline"
    OVER_RAM = "over_ram"
    OVER_POWER = "over_power"
    REFUSED_PRIVACY = "refused_privacy"
    EXPERT_FAILED = "expert_failed"
    CANCELLED = "cancelled"
    FORBIDDEN = "forbidden"
    UNREACHABLE = "unreachable"


Detail = str | int | float | bool | list[str]


class AiosdError(Exception):
    """An error that may cross the wire: a code, one sentence, and details as data.

    `message` is for people and may change; `code` and `details` are for programs and stay.
    """

    code: ClassVar[ErrorCode]

    def __init__(self, message: str, **details: Detail) -> None:
        """Take one sentence for people, and the facts behind it for programs."""
        super().__init__(message)
        self.message = message
        self.details: dict[str, Detail] = details

    @property
    def retry_after_seconds(self) -> float | None:
        """When the same request may be sent again, if waiting helps."""
        value = self.details.get("retry_after_seconds")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def field(self) -> str:
        """The part of the request that is wrong, as a dotted path, or an empty string."""
        return str(self.details.get("field", ""))


class InvalidError(AiosdError):
    """The request is wrong and will stay wrong; `field` names the part to fix."""

    code = ErrorCode.INVALID

    def __init__(self, message: str, *, field: str = "", **details: Detail) -> None:
        """Take the dotted path of the wrong part, such as `input.rate`."""
        super().__init__(message, field=field, **details)


class UnknownExpertError(AiosdError):
    """No expert of that name is installed; `nearest` holds names that look alike."""

    code = ErrorCode.UNKNOWN_EXPERT


class NoRouteError(AiosdError):
    """No installed expert can answer; `nearest` holds what came closest and why it was left out."""

    code = ErrorCode.NO_ROUTE


class BusyError(AiosdError):
    """A queue is full or an expert is resting after failures; send the same again, later."""

    code = ErrorCode.BUSY


class DeadlineError(AiosdError):
    """The deadline passed; `stage` says where the request was.

    That is `queued`, `waiting for power`, `loading` or `running`.
    """

    code = ErrorCode.DEADLINE


class OverRamError(AiosdError):
    """The expert does not fit; `need_bytes`, `have_bytes`, `cap_bytes` and `would_free` say why."""

    code = ErrorCode.OVER_RAM


class OverPowerError(AiosdError):
    """The request does not fit the power cap now."""

    code = ErrorCode.OVER_POWER


class RefusedPrivacyError(AiosdError):
    """The request's privacy forbids the only way to answer it."""

    code = ErrorCode.REFUSED_PRIVACY


class ExpertFailedError(AiosdError):
    """The expert's worker crashed, or its model could not be loaded; `reason` says how."""

    code = ErrorCode.EXPERT_FAILED


class CancelledError(AiosdError):
    """The caller cancelled the request, or the daemon is stopping."""

    code = ErrorCode.CANCELLED


class ForbiddenError(AiosdError):
    """The verb is for operators; use the admin socket."""

    code = ErrorCode.FORBIDDEN


class UnreachableError(AiosdError):
    """No daemon answers at the socket; raised by clients, never sent."""

    code = ErrorCode.UNREACHABLE


ERRORS: dict[ErrorCode, type[AiosdError]] = {
    error.code: error
    for error in (
        InvalidError,
        UnknownExpertError,
        NoRouteError,
        BusyError,
        DeadlineError,
        OverRamError,
        OverPowerError,
        RefusedPrivacyError,
        ExpertFailedError,
        CancelledError,
        ForbiddenError,
        UnreachableError,
    )
}


class PackageError(Exception):
    """A package on disk is not what its manifest claims; the publisher or installer must act."""

    def __init__(self, message: str, *, path: str = "") -> None:
        """Take one sentence, and the file it is about."""
        super().__init__(message)
        self.message = message
        self.path = path


class ConfigError(Exception):
    """A file of settings is wrong; `path` and `line` (0 if unknown) say where."""

    def __init__(self, message: str, *, path: str = "", line: int = 0) -> None:
        """Take one sentence, the file, and the line counted from 1."""
        place = f"{path}:{line}: " if line else f"{path}: " if path else ""
        super().__init__(f"{place}{message}")
        self.message = message
        self.path = path
        self.line = line
