"""What an owner may set of the scheduler's policy."""

from dataclasses import dataclass, field

from aiosd.policy.restart import RestartRules


@dataclass(frozen=True)
class SchedulerRules:
    """The bounds of the policy; times in seconds.

    `gather_seconds` is how long requests for a loaded expert go before an older request for one
    that is not loaded, so that A B A B does not load four times.
    """

    queue_per_client: int = 32
    queue_total: int = 512
    gather_seconds: float = 0.25
    interrupt_grace_seconds: float = 5.0
    restart: RestartRules = field(default_factory=RestartRules)
