"""How much RAM one expert takes: what it is reckoned to need, and what was measured since."""

from dataclasses import dataclass

from aiosd.policy.serving.expert_facts import ExpertFacts

# A worker may still grow by so much after it was measured first, never beyond the estimate;
# once a release has answered so often, the most that it ever held is all that it will.
_GROWTH_SHARE = 0.08
SEASONED = 8


@dataclass
class Appetite:
    """The bytes of one release; begins with what was measured of it before, if anything was.

    `need_bytes` is the best that is known, `peak_bytes` the most that was measured, 0 before that.
    `answers` counts since it was. `allowed_bytes` is what the operator says that it needs, until it
    is measured. `context_bytes` and `mapped_bytes` are the parts that parking gives back.
    """

    facts: ExpertFacts
    need_bytes: int = 0
    peak_bytes: int = 0
    answers: int = 0
    allowed_bytes: int | None = None
    context_bytes: int = 0
    mapped_bytes: int = 0

    def __post_init__(self) -> None:
        """Begin with what is known."""
        self.recall()

    @property
    def estimate_bytes(self) -> int:
        """What it is reckoned to need before it is measured: as the operator says, or the facts."""
        return self.facts.need_bytes if self.allowed_bytes is None else self.allowed_bytes

    @property
    def pages_bytes(self) -> int:
        """The mapped pages of its model; what else is mapped, libraries above all, stays."""
        own = not self.facts.shared_model  # else they are another's as well
        return min(self.mapped_bytes, self.facts.mapped_bytes) if own else 0

    def allow(self, size: int) -> None:
        """Take the operator's word for what it needs, until it is measured again."""
        self.allowed_bytes = size
        self.forget_measured()

    def forget_measured(self) -> None:
        """Strike out what was measured: it was of another engine, or the operator knows better."""
        self.need_bytes = self.estimate_bytes
        self.peak_bytes = self.answers = 0
        self.context_bytes, self.mapped_bytes = self.facts.context_bytes, self.facts.mapped_bytes

    def recall(self) -> None:
        """Start anew from what was measured before, if anything was."""
        self.allowed_bytes = None
        self.forget_measured()
        known = self.facts.known
        if known is not None:
            self.need_bytes = self.peak_bytes = known.peak_bytes
            self.answers = known.answers

    def on_measured(self, held_bytes: int, mapped_bytes: int) -> None:
        """Remember what was measured."""
        self.mapped_bytes = mapped_bytes
        self.peak_bytes = max(self.peak_bytes, held_bytes)
        self.need_bytes = self.peak_bytes

    def on_outgrown(self, need_bytes: int) -> None:
        """Remember that the expert needs so much: it went over a limit below that."""
        self.peak_bytes = self.need_bytes = max(self.peak_bytes, need_bytes)

    def own_bytes(self, held_bytes: int, shared_bytes: int) -> int:
        """Return what it holds beside shared weights, of a measurement that may hold them or not.

        Alone it holds the weights as its own; as soon as another has them mapped, neither does.
        """
        if not shared_bytes:
            return held_bytes
        planned = max(0, self.estimate_bytes - shared_bytes)
        return max(held_bytes - shared_bytes, min(held_bytes, planned))

    def expected_bytes(self) -> int:
        """Return the most it is expected to hold once it is loaded."""
        peak = self.peak_bytes
        if not peak:
            return self.need_bytes
        if self.facts.planned:
            return max(peak, self.estimate_bytes)
        if self.answers >= SEASONED:
            return peak
        return max(peak, min(self.estimate_bytes, int(peak * (1 + _GROWTH_SHARE))))

    def growth_bytes(self, held_bytes: int) -> int:
        """Return by how much it may still grow, now that it holds so much.

        As far as was planned; else a little: one that has given back much more than that is not
        expected to take it again.
        """
        if self.facts.planned:
            return max(0, self.expected_bytes() - held_bytes)
        most = int(held_bytes * _GROWTH_SHARE)
        return max(0, min(self.expected_bytes() - held_bytes, most))
