"""What the scheduler wants a worker to do, told to it, to the log and to the events socket."""

import logging

from aiosd.daemon.wire.events import Events
from aiosd.daemon.workers.crew import Workers
from aiosd.policy.serving.effects import Interrupt, Kill, Park, Resume, Unload

log = logging.getLogger(__name__)


class Orders:
    """The broker's hand for everything that is neither a request nor a load."""

    def __init__(self, workers: Workers, events: Events) -> None:
        """Give orders to these workers."""
        self._workers = workers
        self._events = events

    def give(self, effect: Unload | Park | Resume | Interrupt | Kill) -> None:
        """Tell a worker what to do, and everybody why."""
        match effect:
            case Unload(expert, why):
                topic = "expert.evicted" if why.startswith("evicted") else "expert.draining"
                self._events.publish(topic, {"expert": expert, "why": why})
                log.info("unloading %s: %s", expert, why)
                self._workers.stop(expert)
            case Park(expert, pages, why):
                self._events.publish("expert.parking", {"expert": expert, "why": why})
                log.info("parking %s: %s", expert, why)
                self._workers.park(expert, pages=pages)
            case Resume(expert):
                self._workers.resume(expert)
            case Interrupt(request, expert):
                self._workers.cancel(expert, request)
            case Kill(expert, why):
                log.warning("killing %s: %s", expert, why)
                self._workers.kill(expert, why)
