"""The simulated world on a board: meter, energy books and power governor in the loop.

Once a second, or as often as is said, the instruments are read and the governor is asked, as the
daemon does. What the board really did is kept beside it, so that both can be compared.
"""

from collections import deque
from dataclasses import dataclass, field

from aiosd.domain.allowance import Admission, Allowance
from aiosd.domain.energy import CpuInterval, EnergyFigure, EnergyTotals
from aiosd.domain.power import EnergySource, NoSample, Scope
from aiosd.policy.energy.energy import EnergyBooks
from aiosd.policy.power.power_governor import PowerGovernor
from aiosd.policy.power.power_rules import PowerRules
from tools.replay.board import Board, BoardSpec
from tools.replay.traces import Ask, Trace
from tools.replay.world import Count, World, scheduler_of

# A request that may not run is not kept longer than this.
_HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class Fixed:
    """Instead of the governor: always the same threads and duty."""

    threads: int
    duty: float


@dataclass
class PowerRun:
    """What a run left behind: the truth, the books, and what was decided."""

    count: Count
    cap_watts: float | None
    watts: list[tuple[float, float]] = field(default_factory=list)
    celsius: list[tuple[float, float]] = field(default_factory=list)
    share: list[tuple[float, float]] = field(default_factory=list)
    allowances: list[tuple[float, Allowance]] = field(default_factory=list)
    figures: list[tuple[EnergyFigure, float]] = field(default_factory=list)
    joules: float = 0.0
    totals: EnergyTotals | None = None
    smaller: int = 0
    background: int = 0


class PoweredWorld:
    """One replay with power."""

    def __init__(
        self, trace: Trace, spec: BoardSpec, rules: PowerRules | Fixed, cap_bytes: int, seed: int
    ) -> None:
        self.trace = trace
        self.scheduler = scheduler_of(trace, cap_bytes)
        self.world = World(trace, self.scheduler, cap_bytes, seed)
        self.world.cores = spec.cores
        self.board = Board(spec, seed)
        self.rules = rules if isinstance(rules, PowerRules) else PowerRules()
        self.governor = PowerGovernor(self.rules)
        blind = spec.meter == "none"
        source = EnergySource.NONE if blind else EnergySource.MEASURED_TOTAL
        self.books = EnergyBooks(source, Scope.BOARD, self.rules.idle_watts)
        self.fixed = rules if isinstance(rules, Fixed) else None
        self.run = PowerRun(self.world.count, self.rules.cap_watts)
        self.allowance: Allowance | None = None
        self._held: deque[tuple[float, Ask]] = deque()
        self._read_at = self._sampled_at = 0.0

    def replay(self, tick: float = 1.0, meter: float = 0.1) -> PowerRun:
        """Run the whole trace; return what it left.

        The governor is asked every `tick` seconds, the meter read every `meter` seconds while
        anything runs, by the clock: readings at the ends of requests would not be a fair sample.
        """
        world, due, read = self.world, 0.0, 0.0
        if self.fixed:
            world.threads, world.duty = self.fixed.threads, self.fixed.duty
        while world.now < self.trace.seconds:
            coming = min(world.next_event(), due, read, self.trace.seconds)
            if coming > world.now:
                self.run.watts.append((world.now, self._true_watts()))
            world.advance(coming, self.board)
            arriving = world.act()
            self._account()
            # Work that began since the last reading is not left to the slow clock of idle times.
            read = min(read, self._sampled_at + meter) if self._busy() else read
            if world.now >= read - 1e-9:
                self._read()
                self._sample(world.now)
                read = world.now + (meter if self._busy() else tick)
            if world.now >= due - 1e-9:
                self._tick()
                due = world.now + tick
            for ask in arriving:
                world.count.asked += 1
                self._admit(ask, world.now)
            self._account()
        self._read()
        self._sample(world.now)
        self.run.joules = self.board.joules
        self.run.totals = self.books.totals()
        return self.run

    # ── what the daemon does ──────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        """Feed the governor what the books settled, and ask it."""
        now, governor = self.world.now, self.governor
        for metered in self.books.take_metered():
            governor.on_interval(metered)
        governor.on_idle(self.books.idle_watts)
        governor.on_heat((self.board.heat(),))
        governor.on_battery(self.board.battery(), now)
        if self.fixed:
            return
        allowance = governor.allowance(now)
        if self.allowance is None or allowance != self.allowance:
            self.run.allowances.append((now, allowance))
        self.allowance = allowance
        self.world.threads, self.world.duty = allowance.threads, allowance.duty
        self.run.celsius.append((now, self.board.celsius))
        if self.board.spec.battery_joules:
            self.run.share.append((now, self.board.charge / self.board.spec.battery_joules))
        for _ in range(len(self._held)):
            since, ask = self._held.popleft()
            if now - since > _HOLD_SECONDS and not ask.background:
                self.world.count.refused += 1
            else:
                self._admit(ask, since)

    def _read(self) -> None:
        """Read the CPU times."""
        now, world = self.world.now, self.world
        if now > self._read_at:
            spent = tuple(world.spent.items())
            self.books.on_cpu(CpuInterval(self._read_at, now, spent, world.others_spent))
            world.spent, world.others_spent = {}, 0.0
            self._read_at = now

    def _busy(self) -> bool:
        """Tell whether any worker does anything."""
        return self.world.busy_cores() > self.world.others

    def _sample(self, now: float) -> None:
        """Hand the books the meter's reading."""
        self._sampled_at = now
        self.books.on_sample(self.board.sample(now) or NoSample("no meter", now, 0.0))

    def _admit(self, ask: Ask, since: float) -> None:
        """Queue a request, have it wait, or refuse it."""
        allowance, world = self.allowance, self.world
        if allowance is None or self.fixed:
            world.ask(ask)
            return
        smaller = world.models[ask.model].smaller
        if allowance.prefer_smaller and smaller:
            ask = Ask(ask.at, smaller, ask.client, ask.size, ask.background)
            self.run.smaller += 1
        if ask.background and not allowance.background:
            self._held.append((since, ask))
            return
        if allowance.admit is Admission.REFUSE and not ask.background:
            world.count.refused += 1
            return
        if allowance.admit is not Admission.NOW:
            self._held.append((since, ask))
            return
        guess = self.books.predict(ask.model)
        number = world.next_number()
        draw = self.governor.draw(
            number, guess.joules if guess else None, world.now, background=ask.background
        )
        if draw.admit is Admission.REFUSE:
            world.count.refused += 1
        elif draw.admit is Admission.WAIT:
            self._held.append((since, ask))
        else:
            self.run.background += ask.background
            world.ask(ask)

    def _account(self) -> None:
        """Tell the books who began and who ended."""
        world = self.world
        while world.started:
            request = world.started.popleft()
            ticket = world.served[request]
            self.books.on_started(request, ticket.expert, ticket.client, world.now)
        if world.ended:
            self._read()
            if self.board.spec.meter == "counter":
                self._sample(world.now)
        while world.ended:
            request, cpu, units = world.ended.popleft()
            figure = self.books.on_ended(request, world.now, cpu, units)
            self.governor.reconcile(request, figure.marginal_joules if figure else None)
            if figure:
                self.run.figures.append((figure, cpu * self.board.spec.core_watts))

    def _true_watts(self) -> float:
        """Return the board's true power now."""
        spec = self.board.spec
        return spec.idle_watts + spec.core_watts * self.world.busy_cores()
