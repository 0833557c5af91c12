"""Who waits for one expert: by priority, then a round over clients, then in order of arrival."""

from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

from aiosd.domain.request import Priority

ORDER = (Priority.INTERACTIVE, Priority.NORMAL, Priority.BACKGROUND)
RANK = {priority: rank for rank, priority in enumerate(ORDER)}
BACKGROUND_RANK = RANK[Priority.BACKGROUND]


class Ticket(msgspec.Struct, frozen=True):
    """A request as the scheduler sees it; times are seconds of the monotonic clock."""

    id: int
    client: str
    expert: str
    arrived: float
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    keep_alive_seconds: float | None = None


class FairQueue:
    """Tickets for one expert; one client with a thousand requests delays another by one."""

    def __init__(self) -> None:
        """Start empty."""
        self._lanes: dict[Priority, OrderedDict[str, deque[Ticket]]] = {
            priority: OrderedDict() for priority in ORDER
        }
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Ticket]:
        for lane in self._lanes.values():
            for waiting in lane.values():
                yield from waiting

    def push(self, ticket: Ticket) -> None:
        """Add a ticket behind those of its client and priority."""
        lane = self._lanes[ticket.priority]
        waiting = lane.get(ticket.client)
        if waiting is None:
            lane[ticket.client] = deque((ticket,))
        else:
            waiting.append(ticket)
        self._size += 1

    def peek(self) -> Ticket:
        """Return the next ticket, which stays.

        Raises:
            IndexError: nobody waits.
        """
        for lane in self._lanes.values():
            if lane:
                return next(iter(lane.values()))[0]
        raise IndexError("nobody waits")

    def rank(self) -> int:
        """Return how urgent the next ticket is: its place in `ORDER`, beyond it if nobody waits."""
        for rank, lane in enumerate(self._lanes.values()):
            if lane:
                return rank
        return len(ORDER)

    def urgency(self) -> tuple[int, float]:
        """Return a key by which those go first who are most urgent, then who waited longest."""
        for rank, lane in enumerate(self._lanes.values()):
            if lane:
                return rank, min(waiting[0].arrived for waiting in lane.values())
        return 0, 0.0  # nobody but the operator

    def pop(self) -> Ticket:
        """Take the next ticket; its client goes to the end of the round.

        Raises:
            IndexError: nobody waits.
        """
        for lane in self._lanes.values():
            if lane:
                client, waiting = next(iter(lane.items()))
                ticket = waiting.popleft()
                if waiting:
                    lane.move_to_end(client)
                else:
                    del lane[client]
                self._size -= 1
                return ticket
        raise IndexError("nobody waits")

    def remove(self, request: int) -> Ticket | None:
        """Take out one ticket by its request's id, wherever it stands."""
        for lane in self._lanes.values():
            for client, waiting in lane.items():
                for ticket in waiting:
                    if ticket.id == request:
                        waiting.remove(ticket)
                        self._size -= 1
                        if not waiting:
                            del lane[client]
                        return ticket
        return None

    def clear(self) -> list[Ticket]:
        """Take out everybody."""
        everybody = list(self)
        for lane in self._lanes.values():
            lane.clear()
        self._size = 0
        return everybody

    def oldest(self) -> float | None:
        """Return when the longest-waiting ticket arrived, or None."""
        arrivals = [
            waiting[0].arrived for lane in self._lanes.values() for waiting in lane.values()
        ]
        return min(arrivals, default=None)
