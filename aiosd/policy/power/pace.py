"""How many busy cores a watt cap pays for: a model of the board, corrected by the meter.

Feed-forward: cores = (cap - idle - others) / watts of a busy core, learnt while it runs. Feedback:
joules beyond the cap are a debt, and it is paid back within half of the window. Unused joules are
no credit worth the name: an hour of idling must not buy a minute above the cap.
"""

# What idling earns, as seconds at the cap: enough that noise around the cap evens out.
_CREDIT_SECONDS = 0.06
# Below it, noise and the idle's error say more than the cores.
_LEAST_CORES = 0.2
_LEARN_SECONDS = 3.0
_OTHERS_SECONDS = 2.0


class Pace:
    """The controller: fed with intervals, asked for cores."""

    def __init__(self, window_seconds: float, core_watts: float | None) -> None:
        """Start with the profile's watts of a busy core, if it has them."""
        self.window_seconds = window_seconds
        self._core_watts = core_watts
        self._learnt = 0.0
        self._debt = 0.0
        self._others = 0.0

    @property
    def core_watts(self) -> float | None:
        """What one busy core takes beyond the idle, as far as it is known."""
        return self._core_watts

    @property
    def debt_joules(self) -> float:
        """What was taken beyond the cap and not yet paid back; negative is credit."""
        return self._debt

    def on_interval(
        self, seconds: float, watts: float | None, cores: tuple[float, float], idle: float | None
    ) -> None:
        """Take an interval: mean power, busy cores of (workers, others), the idle.

        `watts` None is a gap of the meter: the model goes on alone.
        """
        workers, others = cores
        self._others += (others - self._others) * min(1.0, seconds / _OTHERS_SECONDS)
        busy = workers + others
        if watts is None or idle is None or busy < _LEAST_CORES:
            return
        found = max((watts - idle) / busy, 1e-3)
        if self._core_watts is None:
            self._core_watts = found
            return
        # Quick at first, when the profile's figure may be far off; then steady against noise.
        self._learnt = min(self._learnt + seconds * min(busy, 1.0), _LEARN_SECONDS)
        weight = seconds * min(busy, 1.0) / max(self._learnt, seconds)
        self._core_watts += (found - self._core_watts) * min(weight, 1.0)

    def on_watts(self, seconds: float, watts: float, cap: float) -> None:
        """Add what an interval took beyond the cap to the debt."""
        most = cap * self.window_seconds
        self._debt = min(max(self._debt + (watts - cap) * seconds, -cap * _CREDIT_SECONDS), most)

    def forgive(self) -> None:
        """Drop debt and credit: there is no cap any more."""
        self._debt = 0.0

    def cores(self, cap: float, idle: float) -> float | None:
        """Return how many busy cores the workers may have; None if a core's price is unknown."""
        if self._core_watts is None:
            return None
        target = cap - self._debt / (self.window_seconds / 2)
        return max(0.0, (target - idle) / self._core_watts - self._others)

    def seconds_to_pay(self, cap: float, idle: float) -> float | None:
        """Return how long the idle board needs to pay its debt; None if it never will."""
        room = cap - idle - self._others * (self._core_watts or 0.0)
        if room <= 0:
            return None
        return max(0.0, self._debt) / room
