"""What requests are expected to take, and whether the joule bucket gives it."""

from collections.abc import Callable

from aiosd.domain.allowance import Draw
from aiosd.domain.errors import AiosdError
from aiosd.domain.request import Priority
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.serving.queues import Ticket


class JoulePurse:
    """Draws from the governor's bucket what the books predict; drawn when a request begins.

    So a request that is cancelled while it waits has taken nothing.
    """

    def __init__(self, predict: Callable[[str], float | None], governor: PowerGovernor) -> None:
        """Ask these two; `predict` gives the joules of a request that is to come."""
        self._predict, self._governor = predict, governor

    def draw(self, ticket: Ticket, now: float) -> Draw:
        """Take what a request is expected to need, if it is there."""
        joules = self._predict(ticket.expert)
        background = ticket.priority is Priority.BACKGROUND
        return self._governor.draw(ticket.id, joules, now, background=background)

    def refusal(self, draw: Draw) -> AiosdError:
        """Return the error for a request whose patience is over."""
        return self._governor.refusal(draw)
