"""The operators who wait for an expert to be loaded or unloaded, and their answer."""

from collections.abc import Mapping

from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError
from aiosd.policy.serving.slots import Slot
from aiosd.protocol.messages import Reply, error_message


class Askers:
    """Who asked, by expert."""

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        """Nobody yet; `slots` are the scheduler's."""
        self._slots = slots
        self._waiting: dict[str, list[tuple[Client, bytes]]] = {}

    def wait(self, client: Client, request: bytes, expert: str) -> None:
        """Take note of one who asks."""
        self._waiting.setdefault(expert, []).append((client, request))

    def settled(self, expert: str, error: AiosdError | None) -> None:
        """Answer all who asked for this expert's load or unload."""
        for client, request in self._waiting.pop(expert, []):
            slot = self._slots.get(expert)
            state = slot.state.value if slot else "removed"
            answer = (
                error_message(error) if error else Reply(body={"expert": expert, "state": state})
            )
            client.frontend.send(client, request, answer)
