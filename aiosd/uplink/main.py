"""The uplink's process: takes orders until the daemon closes the pipe, one thread a request."""

import logging
import os
import threading
import time

from aiosd.domain.errors import AiosdError, ExpertFailedError
from aiosd.protocol.pipe import CancelRequest, Failed, Piece
from aiosd.protocol.uplink import Answered, Ask, Look, Looked, UplinkReady
from aiosd.uplink.case import Case
from aiosd.uplink.channel import Channel
from aiosd.uplink.errand import run_errand
from aiosd.uplink.office import Office

log = logging.getLogger(__name__)


class Uplink:
    """Everything that runs in this process."""

    def __init__(self, office: Office, channel: Channel) -> None:
        """Speak with the daemon through `channel`."""
        self._office = office
        self._channel = channel
        self._cases: dict[int, Case] = {}

    def serve(self) -> int:
        """Take orders until the daemon closes the pipe; return the exit status."""
        doors = self._office.doors
        problems = [f"{door.name}: {door.problem}" for door in doors if door.problem]
        for problem in problems:
            log.warning("endpoint %s", problem)
        self._channel.send(
            UplinkReady(pid=os.getpid(), endpoints=[door.name for door in doors], problems=problems)
        )
        try:
            while True:
                self._obey()
        except EOFError:
            return self._close()

    def _obey(self) -> None:
        """Take one order, or end what takes too long."""
        now = time.monotonic()
        cases = list(self._cases.values())
        wait = min((case.until - now for case in cases), default=None)
        order = self._channel.receive(None if wait is None else max(0.05, wait))
        match order:
            case Ask():
                self._begin(order)
            case CancelRequest():
                case = self._cases.get(order.id)
                if case is not None:
                    case.stop()
            case Look():
                office = self._office
                body = office.entries(order.lines) if order.lines else office.status()
                self._channel.send(Looked(id=order.id, body=body))
            case None:
                now = time.monotonic()
                for each in cases:
                    if each.until <= now:
                        each.stop(late=True)

    def _begin(self, ask: Ask) -> None:
        """Serve a request on a thread of its own."""
        send = self._channel.send
        total = self._office.uplink.total_seconds
        case = Case(ask, total, lambda text: send(Piece(id=ask.id, text=text)))
        self._cases[ask.id] = case
        threading.Thread(target=self._run, args=(ask, case), daemon=True).start()

    def _run(self, ask: Ask, case: Case) -> None:
        """Be a request's thread."""
        end: Answered | AiosdError = ExpertFailedError(
            "the uplink met an error of its own; see its log", expert="uplink", reason="internal"
        )
        try:
            end = run_errand(self._office, case)
        except AiosdError as error:
            end = error
        finally:
            # Whatever happened: nobody is left waiting.
            self._cases.pop(ask.id, None)
            if isinstance(end, AiosdError):
                details = dict(end.details)
                self._channel.send(
                    Failed(id=ask.id, code=end.code, message=end.message, details=details)
                )
            else:
                self._channel.send(end)

    def _close(self) -> int:
        """The daemon is gone, or wants this process to go; what is under way counts in full."""
        for case in list(self._cases.values()):
            case.stop()
        try:
            self._office.close()
        except OSError as error:
            log.warning("the budget was not written: %s", error.strerror)
        return 0
