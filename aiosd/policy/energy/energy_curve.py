"""The meter's samples as energy over time: what lies between any two moments, and the gaps."""

from collections import deque
from dataclasses import dataclass

from aiosd.domain.power import CounterSample, NoSample, PowerSample, Sample

# Two readings of power further apart than this say nothing of what was between them.
LONGEST_SECONDS = 10.0


@dataclass(frozen=True)
class Segment:
    """From one sample to the next; `joules` is None in a gap.

    `sigma_watts` is one standard deviation of its mean power.
    """

    start: float
    end: float
    joules: float | None
    sigma_watts: float = 0.0


@dataclass(frozen=True)
class Stretch:
    """What is known of a stretch of time: its energy over `known_seconds`, the rest is a gap.

    `sigma_joules` takes the errors of neighbouring samples as the same, which is what a meter's
    gain does. `samples` are those that ended in it.
    """

    joules: float
    known_seconds: float
    gap_seconds: float
    sigma_joules: float
    samples: int


class EnergyCurve:
    """Power by trapezoids, counters by differences; the past is dropped once it is settled."""

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        """Start with nothing."""
        self._longest = longest_seconds
        self._segments: deque[Segment] = deque()
        self._last: PowerSample | CounterSample | None = None
        self._edge: float | None = None
        self.joules = 0.0
        self.gap_seconds = 0.0

    @property
    def start(self) -> float | None:
        """The first moment that is still held, or None."""
        return self._segments[0].start if self._segments else self._edge

    @property
    def end(self) -> float | None:
        """The last moment that anything is known of, gaps included, or None."""
        return self._edge

    def on_sample(self, sample: Sample) -> None:
        """Take the next sample; one that is not later than the last is dropped."""
        if self._edge is None:
            self._edge = sample.at_seconds
            self._last = None if isinstance(sample, NoSample) else sample
            return
        match sample:
            case PowerSample() | CounterSample():
                if sample.at_seconds > self._edge:
                    self._append(self._segment(self._edge, sample))
                    self._last = sample
            case _:
                # A counter counts on while nobody can read it; power that nobody read is lost.
                bridged = isinstance(self._last, CounterSample)
                waited = sample.at_seconds - self._edge
                if waited > (self._longest if bridged else 0.0):
                    self._append(Segment(self._edge, sample.at_seconds, None))
                    self._last = None

    def between(self, start: float, end: float) -> Stretch:
        """Return what is known of [start, end], which must not go beyond `end` of the curve."""
        joules = known = sigma = 0.0
        samples = 0
        for segment in self._segments:
            if segment.end <= start:
                continue
            if segment.start >= end:
                break
            part = min(end, segment.end) - max(start, segment.start)
            if segment.joules is None:
                continue
            joules += segment.joules * part / (segment.end - segment.start)
            known += part
            sigma += segment.sigma_watts * part
            samples += start < segment.end <= end
        return Stretch(joules, known, max(0.0, end - start - known), sigma, samples)

    def drop(self, before: float) -> None:
        """Forget what ended before a moment."""
        while self._segments and self._segments[0].end <= before:
            self._segments.popleft()

    def _segment(self, start: float, sample: PowerSample | CounterSample) -> Segment:
        """Return what lies between the last sample and this one."""
        end, last = sample.at_seconds, self._last
        seconds = end - start
        if isinstance(sample, CounterSample) and isinstance(last, CounterSample):
            joules = sample.joules - last.joules
            if joules >= 0:  # else the counter was opened anew
                return Segment(start, end, joules, joules * sample.uncertainty_share / seconds)
        if (
            isinstance(sample, PowerSample)
            and isinstance(last, PowerSample)
            and seconds <= self._longest
        ):
            sigma = (last.uncertainty_watts + sample.uncertainty_watts) / 2
            return Segment(start, end, (last.watts + sample.watts) / 2 * seconds, sigma)
        return Segment(start, end, None)

    def _append(self, segment: Segment) -> None:
        """Add a segment and count it."""
        self._segments.append(segment)
        self._edge = segment.end
        if segment.joules is None:
            self.gap_seconds += segment.end - segment.start
        else:
            self.joules += segment.joules
