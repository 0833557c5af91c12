"""Asking one endpoint: take from the budget, log, send, read, log again, give back, keep."""

import time
from dataclasses import dataclass, replace

import msgspec

from aiosd.domain.errors import AiosdError, ExpertFailedError, NoRouteError
from aiosd.net.post import NetError, Patience, Post
from aiosd.policy.outbound.allowance import NOTHING, Amount
from aiosd.protocol.openai import Tokens, encode_chat
from aiosd.protocol.uplink import Answered
from aiosd.uplink.answer import Answer, BrokenAnswerError, RefusedError, read_answer
from aiosd.uplink.books import DAY_SECONDS, OverBudgetError
from aiosd.uplink.case import Case
from aiosd.uplink.doors import Door, retry_after
from aiosd.uplink.office import MICROS, Office

PATH = "/chat/completions"
# What a turn costs beside its own bytes, in tokens, at most; a token is a byte at least.
_TURN_TOKENS = 16
_MAY_ASK_FOR_REST = frozenset({429, 503})
# These say that the request itself is wrong, wherever it goes.
_BAD_REQUEST = frozenset({400, 413, 422})
# Stages of NetError at which nothing has left yet.
_UNSENT = frozenset({"connect", "tls"})


@dataclass(frozen=True)
class End:
    """How it ended: with an answer, with the request's end, or (neither) for the next endpoint.

    `blame` is whether the endpoint failed; None proves nothing of it. `real` is what it cost.
    """

    why: str = ""
    blame: bool | None = None
    rest_seconds: float = 0.0
    answered: Answered | None = None
    error: AiosdError | None = None
    real: Amount = NOTHING


class Attempt:
    """One request at one endpoint."""

    def __init__(self, office: Office, case: Case, door: Door) -> None:
        """Do nothing yet."""
        self._office = office
        self._case = case
        self._door = door
        asked, most = case.ask.sampling.max_tokens, office.uplink.max_tokens
        self._max_tokens = most if asked is None else max(1, min(asked, most))
        self._answer = Answer(office.max_answer)

    def run(self) -> End:
        """Ask, within what the owner and the request allow."""
        endpoint, case = self._door.endpoint, self._case
        body = encode_chat(
            endpoint.model,
            case.turns,
            case.ask.sampling,
            self._max_tokens,
            endpoint.max_tokens_field,
        )
        worst = self._worst(len(body))
        refusal = self._too_much(len(body), worst)
        if refusal is not None:
            return End(error=refusal)
        try:
            day = self._office.books.take(worst)
        except OverBudgetError as error:
            left = DAY_SECONDS - time.time() % DAY_SECONDS
            short = NoRouteError(f"the uplink's {error}", budget=error.budget)
            short.details["retry_after_seconds"] = round(left)
            return End(error=short)
        except OSError as error:
            why = f"the uplink cannot write down its budget: {error.strerror}"
            return End(error=NoRouteError(why, budget="unwritable"))
        real = worst
        try:
            end = self._exchange(body, worst)
            real = end.real
        finally:
            self._office.books.settle(worst, real, day)
        return end

    def _worst(self, body_bytes: int) -> Amount:
        """Return the most that it can cost."""
        turns = self._case.turns
        prompt = sum(len(turn.content.encode()) + _TURN_TOKENS for turn in turns)
        micros = self._door.micros(Tokens(prompt, self._max_tokens))
        return Amount(1, body_bytes + self._office.max_answer, micros)

    def _too_much(self, body_bytes: int, worst: Amount) -> AiosdError | None:
        """Return why the request may not go up here: too large, or too dear."""
        office, most = self._office, self._case.ask.max_cost
        if body_bytes > office.max_request:
            return NoRouteError(
                f"the request has {body_bytes} bytes, the owner lets {office.max_request} go up",
                limit_bytes=office.max_request,
            )
        # So that a bound which is no number bounds everything.
        if most is not None and not worst.micros <= most * MICROS:
            return NoRouteError(
                f"it could cost {worst.micros / MICROS:g} {office.uplink.currency} at "
                f"{self._door.name}, at most {most:g} were allowed",
                max_cost=most,
            )
        return None

    # ── the exchange ──────────────────────────────────────────────────────────────────────────

    def _exchange(self, body: bytes, worst: Amount) -> End:
        """Log, send, read, and log how it ended."""
        case, door = self._case, self._door
        try:
            self._log("sent", sha256=case.digest, bytes_up=len(body), redactions=case.redactions)
        except OSError as error:
            return End(f"the log of what leaves cannot be written: {error.strerror}")
        uplink = self._office.uplink
        patience = Patience(uplink.connect_seconds, uplink.first_byte_seconds, uplink.stall_seconds)
        case.post = post = Post(door.place, patience, door.trust, case.until)
        try:
            end = self._talk(post, body, worst)
        finally:
            post.close()
        over = None if end.answered else case.over()
        if over is not None:
            end = replace(end, error=over, blame=None)
        try:
            how = "answered" if end.answered else end.why
            up = len(body) if end.real.requests else 0
            self._log("ended", outcome=how, bytes_up=up, bytes_down=self._answer.size)
        except OSError as error:
            # It has left already; that it cannot be said any more changes nothing.
            return replace(end, why=f"{end.why} ({error.strerror})")
        return end

    def _talk(self, post: Post, body: bytes, worst: Amount) -> End:
        """Send the request and read the answer."""
        answer, door, case = self._answer, self._door, self._case
        over = case.over()
        if over is not None:
            return End(over.message, error=over)
        try:
            read_answer(answer, post, PATH, body, self._headers(), case.emit)
        except RefusedError as error:
            return self._refused(error, Amount(1, len(body) + answer.size))
        except NetError as error:
            sent = error.stage not in _UNSENT
            end = End(str(error), blame=True, real=self._real(body, worst) if sent else NOTHING)
        except BrokenAnswerError as error:
            end = End(str(error), blame=True, real=self._real(body, worst))
        else:
            real = self._real(body, worst)
            self._keep()
            return End(blame=False, real=real, answered=self._answered(real))
        if case.passed_on:
            why = f"the uplink: {door.name}: {end.why}"
            return replace(end, error=ExpertFailedError(why, expert="uplink", reason=end.why))
        return end

    def _headers(self) -> dict[str, str]:
        """Return the headers; the key is in them and nowhere else."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "aiosd",
            "Connection": "close",
        }
        key = self._door.key
        return headers if key is None else headers | key.header()

    def _refused(self, error: RefusedError, real: Amount) -> End:
        """Return what a refusal of the endpoint means."""
        status = error.head.status
        if status in _BAD_REQUEST:
            why = f"the uplink: {self._door.name} finds the request wrong: {error}"
            failed = ExpertFailedError(why, expert="uplink", reason=str(error), status=status)
            return End(str(error), error=failed, real=real)
        rest = None
        if status in _MAY_ASK_FOR_REST:
            rest = retry_after(error.head.retry_after, time.time())
        return End(str(error), blame=True, rest_seconds=rest or 0.0, real=real)

    def _real(self, body: bytes, worst: Amount) -> Amount:
        """Return what it cost; without the server's own count of tokens the most that it can."""
        tokens = self._answer.tokens
        micros = worst.micros if tokens is None else self._door.micros(tokens)
        return Amount(1, len(body) + self._answer.size, micros)

    def _answered(self, real: Amount) -> Answered:
        answer, door, case = self._answer, self._door, self._case
        tokens, first = answer.tokens, answer.first_at
        return Answered(
            id=case.ask.id,
            text=answer.text,
            endpoint=door.name,
            model=answer.model or door.endpoint.model,
            finish_reason=answer.finish,
            run_ms=(time.monotonic() - case.began) * 1e3,
            first_token_ms=None if first is None else (first - case.began) * 1e3,
            tokens_in=tokens.prompt_tokens if tokens else None,
            tokens_out=tokens.completion_tokens if tokens else None,
            cost=real.micros / MICROS if door.priced else None,
            currency=self._office.uplink.currency if door.priced else "",
            redactions=case.redactions,
        )

    # ── what is written down ──────────────────────────────────────────────────────────────────

    def _log(self, what: str, **facts: object) -> None:
        """Write a line into the log of what left.

        Raises:
            OSError: it cannot be written.
        """
        ask, door = self._case.ask, self._door
        who = {"request": ask.id, "kind": ask.kind, "client": ask.client, "uid": ask.uid}
        where = {"endpoint": door.name, "address": door.place.address}
        self._office.log({"what": what, **who, **where, **facts})

    def _keep(self) -> None:
        """Keep what was asked and answered; an answer is worth more than a lesson."""
        answer, ask, door = self._answer, self._case.ask, self._door
        lesson: dict[str, object] = {
            "kind": ask.kind,
            "messages": msgspec.to_builtins(self._case.turns),
            "answer": answer.text,
            "endpoint": door.name,
            "model": answer.model or door.endpoint.model,
            "finish_reason": answer.finish,
        }
        try:
            self._office.keep(lesson, ask.kind, str(ask.uid))
        except OSError:
            return
