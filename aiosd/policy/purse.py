"""What requests are expected to take, and whether the joule bucket gives it."""

from aiosd.domain.allowance import Draw
from aiosd.domain.errors import AiosdError
from aiosd.domain.request import Priority
from aiosd.policy.energy import EnergyBooks
from aiosd.policy.power import PowerGovernor
from aiosd.policy.queues import Ticket


class JoulePurse:
    """Draws from the governor's bucket what the books predict; drawn when a request begins.

    So a request that is cancelled while it waits has taken nothing.
    """

    def __init__(self, books: EnergyBooks, governor: PowerGovernor) -> None:
        """Ask these two."""
        self._books, self._governor = books, governor

    def draw(self, ticket: Ticket, now: float) -> Draw:
        """Take what a request is expected to need, if it is there."""
        predicted = self._books.predict(ticket.expert)
        joules = predicted.joules if predicted else None
        background = ticket.priority is Priority.BACKGROUND
        return self._governor.draw(ticket.id, joules, now, background=background)

    def refusal(self, draw: Draw) -> AiosdError:
        """Return the error for a request whose patience is over."""
        return self._governor.refusal(draw)
