"""How a command fails: one line on stderr with the next step, and an exit code to rely on."""

import sys
from enum import IntEnum

from aiosd.cli.render import printable, size, to_json
from aiosd.domain.errors import AiosdError, ConfigError, ErrorCode, PackageError


class Exit(IntEnum):
    """Every exit code of aiosctl; those from 65 on follow sysexits where it has a word."""

    OK = 0
    EXPERT_FAILED = 1
    USAGE = 2
    INVALID = 65
    NO_INPUT = 66
    UNKNOWN_EXPERT = 67
    NO_ROUTE = 68
    UNREACHABLE = 69
    OVER_RAM = 71
    OVER_POWER = 72
    CANCELLED = 73
    DEADLINE = 74
    BUSY = 75
    REFUSED_PRIVACY = 76
    FORBIDDEN = 77
    PACKAGE = 78
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


MEANINGS = {
    Exit.OK: "it worked",
    Exit.EXPERT_FAILED: "the expert failed (for doctor: a check failed)",
    Exit.USAGE: "the command line is wrong",
    Exit.INVALID: "the request is wrong and will stay wrong",
    Exit.NO_INPUT: "a file that was named cannot be read",
    Exit.UNKNOWN_EXPERT: "no expert of that name is installed",
    Exit.NO_ROUTE: "no installed expert can answer",
    Exit.UNREACHABLE: "no daemon answers",
    Exit.OVER_RAM: "the expert does not fit the RAM cap",
    Exit.OVER_POWER: "the request does not fit the power cap",
    Exit.CANCELLED: "the request was cancelled by someone else, or the daemon stops",
    Exit.DEADLINE: "more time is needed than was given",
    Exit.BUSY: "a queue is full or an expert rests; try again later",
    Exit.REFUSED_PRIVACY: "the request may not go where it would have to go",
    Exit.FORBIDDEN: "the verb is for operators",
    Exit.PACKAGE: "a package or a settings file is wrong",
    Exit.HUNG_UP: "SIGHUP; a running request was cancelled",
    Exit.INTERRUPTED: "Ctrl-C; a running request was cancelled",
    Exit.BROKEN_PIPE: "the reader of the output went away",
    Exit.TERMINATED: "SIGTERM; a running request was cancelled",
}

CODES = {code: Exit[code.name] for code in ErrorCode}


class UsageError(Exception):
    """The command line is wrong in a way that argparse does not see."""


Failure = AiosdError | PackageError | ConfigError | OSError | UsageError


def fail(error: Failure, *, as_json: bool) -> Exit:
    """Report the error on stderr and return the exit code."""
    exit_code, code, message, step = _read(error)
    if as_json:
        details = error.details if isinstance(error, AiosdError) else {}
        report = {"code": code, "message": message, "details": details, "exit": int(exit_code)}
        print(to_json({"error": report}), file=sys.stderr)
    else:
        text = " ".join(f"{code}: {message}".split())
        print(printable(f"aiosctl: {text}{f'; {step}' if step else ''}"), file=sys.stderr)
    return exit_code


def _read(error: Failure) -> tuple[Exit, str, str, str]:
    """Return the exit code, the code, the sentence and the next step."""
    match error:
        case AiosdError():
            return CODES[error.code], str(error.code), error.message, _step(error)
        case PackageError():
            return Exit.PACKAGE, "package", error.message, ""
        case ConfigError():
            return Exit.PACKAGE, "config", str(error), ""
        case UsageError():
            return Exit.USAGE, "usage", str(error), "see: aiosctl --help"
        case OSError():
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return Exit.NO_INPUT, "no_input", what, ""


def _step(error: AiosdError) -> str:
    """Return what to do next, where the message alone does not say it."""
    details = error.details
    nearest = details.get("nearest")
    near = ", ".join(nearest) if isinstance(nearest, list) else ""
    after = error.retry_after_seconds
    steps = {
        ErrorCode.UNKNOWN_EXPERT: f"did you mean {near}?" if near else "see: aiosctl list",
        ErrorCode.NO_ROUTE: f"closest: {near}" if near else "see: aiosctl list",
        ErrorCode.BUSY: "try again later" if after is None else f"try again in {after:g} s",
        ErrorCode.OVER_RAM: _ram_step(details.get("need_bytes"), details.get("cap_bytes")),
        ErrorCode.DEADLINE: "" if details.get("stage") == "client" else _MORE_TIME,
        ErrorCode.INVALID: f"the field is {error.field}" if error.field else "",
        ErrorCode.EXPERT_FAILED: "see: journalctl -u aiosd",
    }
    step = steps.get(error.code, "")
    return "" if step in error.message or error.field in error.message.split() else step


_MORE_TIME = "give it more with --deadline"


def _ram_step(need: object, cap: object) -> str:
    """Return what to do about an expert that does not fit."""
    figures = f"it needs {size(need)} of a cap of {size(cap)}; " if need and cap else ""
    return f"{figures}see who holds it: aiosctl ps"
