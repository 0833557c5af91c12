"""What the board takes while nothing happens: the median of quiet windows, one per power mode."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiosd.domain.energy_record import IdleRecord

WINDOW_SECONDS = 2.0
# Half an hour of quiet at most; older windows say little of the temperature of today.
_WINDOWS = 900
# The first windows count at once; later ones move the figure with this time constant of quiet.
_AGEING_SECONDS = 120.0
_FEWEST = 3
# A median of a normal distribution has 1.25 times the error of its mean; 1.48 × the median of
# the absolute deviations is its standard deviation (Rousseeuw and Croux 1993).
_MEDIAN_ERROR = 1.2533
_MAD_TO_SIGMA = 1.4826
# However long it was quiet: the idle drifts with heat, and with what is plugged in.
_DRIFT_SHARE = 0.01
_UNKNOWN_SHARE = 0.3
_RECENT = 60


@dataclass
class _Mode:
    """The windows of one power mode, and the figure they led to."""

    windows: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOWS))
    watts: float | None = None
    sigma: float = 0.0


class IdleBaseline:
    """Fed only while it is quiet, and so frozen while anything is busy."""

    def __init__(self, hint_watts: float | None = None) -> None:
        """Take the profile's idle as the figure until there is a measured one."""
        self._hint = hint_watts
        self._least: float | None = None
        self._modes: dict[str, _Mode] = {"": _Mode()}
        self._mode = ""
        self._joules = self._seconds = 0.0

    @property
    def watts(self) -> float | None:
        """The idle power now: measured, else the hint, else the least that was ever seen."""
        measured = self._modes[self._mode].watts
        if measured is not None:
            return measured
        return self._hint if self._hint is not None else self._least

    @property
    def measured(self) -> bool:
        """Whether the figure comes from quiet windows of this mode."""
        return self._modes[self._mode].watts is not None

    @property
    def sigma_watts(self) -> float:
        """One standard deviation of the figure; a third of it where it is only a hint."""
        mode = self._modes[self._mode]
        if mode.watts is not None:
            return max(mode.sigma, _DRIFT_SHARE * mode.watts)
        return _UNKNOWN_SHARE * (self.watts or 0.0)

    def on_mode(self, name: str) -> None:
        """Use the figure of another power mode from now on."""
        if name == self._mode:
            return
        self._modes.setdefault(name, _Mode())
        self._mode = name
        self._joules = self._seconds = 0.0

    def record(self) -> dict[str, IdleRecord]:
        """Return the measured figures by mode, to be kept."""
        return {
            name: IdleRecord(watts=mode.watts, sigma=mode.sigma)
            for name, mode in self._modes.items()
            if mode.watts is not None and mode.watts >= 0
        }

    def restore(self, kept: Mapping[str, IdleRecord]) -> None:
        """Use the figures that were kept, until quiet windows of today replace them."""
        for name, each in kept.items():
            mode = self._modes.setdefault(name, _Mode())
            if mode.watts is None:
                mode.watts, mode.sigma = each.watts, each.sigma

    def on_quiet(self, joules: float, seconds: float) -> None:
        """Add a quiet stretch; each window of them counts once it is full."""
        self._joules += joules
        self._seconds += seconds
        if self._seconds >= WINDOW_SECONDS:
            self._close(self._joules / self._seconds, self._seconds)
            self._joules = self._seconds = 0.0

    def on_busy(self, joules: float, seconds: float) -> None:
        """Drop the window that was begun; without any figure, remember the least power seen."""
        self._joules = self._seconds = 0.0
        if seconds > 0:
            watts = max(joules / seconds, 0.0)
            self._least = watts if self._least is None else min(self._least, watts)

    def _close(self, watts: float, seconds: float) -> None:
        """Take a full window."""
        mode = self._modes[self._mode]
        mode.windows.append(watts)
        count = len(mode.windows)
        if count < _FEWEST:
            return
        recent = list(mode.windows)[-_RECENT:]
        middle = _median(recent)
        spread = _median(abs(each - middle) for each in recent)
        mode.sigma = _MEDIAN_ERROR * _MAD_TO_SIGMA * spread / math.sqrt(len(recent))
        if mode.watts is None or count < _RECENT:
            mode.watts = middle
        else:
            mode.watts += (middle - mode.watts) * -math.expm1(-seconds / _AGEING_SECONDS)


def _median(numbers: Iterable[float]) -> float:
    """Return the middle of some numbers; `statistics`, with fractions and decimals, is 0.5 MiB."""
    ordered = sorted(numbers)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
