"""Whether a request may leave the board: the last layer, after everything here has failed.

Two words are needed, and each alone is a no: the request's (`privacy = "uplink"`) and the owner's
(`allow` and `users` of the settings). Nothing here is learnt, and no text is looked at: words
inside a request cannot change the verdict. Whoever sends something up must show a `Permit`, and
only this module makes one.
"""

from dataclasses import dataclass

import msgspec

from aiosd.domain.errors import AiosdError, Detail, ErrorCode, NoRouteError, RefusedPrivacyError
from aiosd.domain.inputs import InputType
from aiosd.domain.request import Outcome, Privacy

# The name by which a request asks for the uplink outright.
NAME = "uplink"
# What a request is called, in `allow`, that names neither an expert nor a task.
AUTO = "auto"
# The tasks that a chat endpoint can do.
TASKS = frozenset({"text.generate", "text.chat"})
ANY = "*"


@dataclass(frozen=True)
class EscalationRules:
    """The owner's word: which classes of request, and which Unix users' programs (None: all)."""

    allow: frozenset[str] = frozenset()
    users: frozenset[int] | None = frozenset()


class Asker(msgspec.Struct, frozen=True):
    """Who asks: the connection's name, and the Unix user at its other end, if the kernel says."""

    client: str
    uid: int | None


class Question(msgspec.Struct, frozen=True):
    """What is looked at of a request: never its text."""

    privacy: Privacy
    expert: str | None
    task: str | None
    input_type: InputType


class Permit(msgspec.Struct, frozen=True):
    """Leave to send one request up: as what, by whom, and why no one here answers."""

    kind: str
    asker: Asker
    why: str


def kind_of(question: Question) -> str | None:
    """Return as what a request could go up; None if a chat endpoint is nothing for it."""
    if question.input_type not in {InputType.TEXT, InputType.CHAT}:
        return None
    if question.expert is not None:
        return NAME if question.expert == NAME else None
    if question.task is None:
        return AUTO
    return question.task if question.task in TASKS else None


def is_last_resort(error: AiosdError) -> bool:
    """Tell whether an error says that nobody here can answer: no route, no room, resting."""
    if error.code is ErrorCode.EXPERT_FAILED:
        return error.retry_after_seconds is not None
    return error.code in {ErrorCode.NO_ROUTE, ErrorCode.OVER_RAM}


def permit(
    question: Question, rules: EscalationRules, asker: Asker, *, why: str, local_only: bool = False
) -> Permit:
    """Return leave to send a request up; `local_only` is the word of the package it was meant for.

    Raises:
        RefusedPrivacyError: the request, the owner or the package forbids it; `forbidden_by` says.
        NoRouteError: a chat endpoint can do nothing with it.
    """
    if question.privacy is not Privacy.UPLINK:
        raise _refused("it must say privacy = uplink to leave the board", "request")
    kind = kind_of(question)
    if kind is None:
        raise NoRouteError("the uplink answers texts and chats only", nearest=[])
    if not rules.allow & {kind, ANY}:
        raise _refused(f"the owner's uplink.allow has no {kind!r}", "uplink.allow")
    if rules.users is not None and asker.uid not in rules.users:
        whose = "nobody the kernel knows" if asker.uid is None else f"user {asker.uid}"
        raise _refused(f"the owner's uplink.users has not {whose}", "uplink.users")
    if local_only:
        raise _refused("the package that it was meant for is local", "package")
    return Permit(kind, asker, why)


def doubtful(outcome: Outcome) -> NoRouteError:
    """Say that an answer from here is in doubt: a reason to go up, as if there were none."""
    why = f"{outcome.expert} answered, but: {outcome.doubt}"
    return NoRouteError(why, expert=outcome.expert)


def unanswered(local: AiosdError | None, up: AiosdError) -> AiosdError:
    """Return the end of a request that neither an expert here nor the uplink answered.

    What the uplink says goes first; why nobody here answered is kept beside it.
    """
    if local is None:
        return up
    details: dict[str, Detail] = {**up.details}
    details["local_code"], details["local_reason"] = local.code.value, local.message
    if "nearest" in local.details:
        details.setdefault("nearest", local.details["nearest"])
    error = type(up)(f"{local.message}; {up.message}")
    error.details.update(details)
    return error


def _refused(why: str, by: str) -> RefusedPrivacyError:
    return RefusedPrivacyError(f"this request may not go up: {why}", forbidden_by=by)
