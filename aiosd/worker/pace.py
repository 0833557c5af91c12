"""How a worker keeps below its share of the time: it rests in proportion to what it has worked."""

from collections.abc import Callable

# Shorter rests than this cost more than they save; what is owed adds up until then.
SHORTEST_SECONDS = 0.004
_ROUNDING_SECONDS = 1e-9


class Pacer:
    """Owes the board some rest; times are seconds.

    What counts as work is CPU time, by thread: time in which others had the processor is rest.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        spent: Callable[[], float],
        rest: Callable[[float], None],
    ) -> None:
        """Tell time by `clock`, and by `spent` the CPU time of all threads.

        `rest` may return early when there is news from the daemon.
        """
        self.duty = 1.0
        self.threads = 1
        self._clock = clock
        self._spent = spent
        self._rest = rest
        self._owed = 0.0
        self._since: tuple[float, float] | None = None

    def begin(self) -> None:
        """Work begins, after the rest that is still owed for what came before."""
        self._pay()
        self._since = (self._clock(), self._spent()) if self.duty < 1.0 else None

    def pause(self) -> None:
        """Some work is done, more may follow: rest for it, if it is worth while."""
        if self.duty >= 1.0:
            self._since = None
            return
        if self._since is not None:
            taken = self._clock() - self._since[0]
            worked = (self._spent() - self._since[1]) / self.threads
            self._owed = max(0.0, self._owed + worked / self.duty - taken)
            self._pay()
        self._since = (self._clock(), self._spent())

    def end(self) -> None:
        """Work ends; what is owed is rested for before the next begins."""
        self.pause()
        self._since = None

    def _pay(self) -> None:
        """Rest for what is owed, if it is worth while."""
        if self._owed >= SHORTEST_SECONDS - _ROUNDING_SECONDS:
            now = self._clock()
            self._rest(self._owed)
            self._owed = max(0.0, self._owed - (self._clock() - now))
