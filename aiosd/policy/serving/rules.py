"""What an owner may set of the scheduler's policy."""

from dataclasses import dataclass, field

from aiosd.policy.serving.restart import RestartRules


@dataclass(frozen=True)
class SchedulerRules:
    """The bounds of the policy; times in seconds.

    `gather_seconds` is how long requests for a loaded expert go before an older request for one
    that is not loaded, so that A B A B does not load four times. `threads` are for all workers
    together. At most `running` requests are answered at once (None: no bound); one that is more
    urgent waits only for those that are as urgent. A request whose joules are not there waits
    for them up to `patience_seconds`.
    """

    queue_per_client: int = 32
    queue_total: int = 512
    gather_seconds: float = 0.25
    interrupt_grace_seconds: float = 5.0
    threads: int = 4
    running: int | None = None
    patience_seconds: float = 30.0
    restart: RestartRules = field(default_factory=RestartRules)
