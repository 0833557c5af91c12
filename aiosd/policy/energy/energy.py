"""The energy books: every joule of the meter goes to a request, a worker, the idle, or others.

In each interval of CPU time the idle is taken off, and what is left is split by CPU seconds over
the workers and everybody else; a worker's part goes to the requests that it was answering. An
interval is settled once the meter's samples reach beyond its end.

All methods take moments of one monotonic clock, and samples and intervals in its order.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict

import msgspec

from aiosd.domain.energy import (
    CpuInterval,
    EnergyFigure,
    EnergyTotals,
    ExpertEnergy,
    MeteredInterval,
    Prediction,
)
from aiosd.domain.energy_record import EnergyRecord, ExpertRecord
from aiosd.domain.power import EnergySource, Sample, Scope
from aiosd.policy.energy.energy_account import Account, Split
from aiosd.policy.energy.energy_curve import EnergyCurve, Stretch
from aiosd.policy.energy.energy_fit import ExpertFit
from aiosd.policy.energy.idle_baseline import IdleBaseline

# With fewer samples within it, a request's figure is its expert's fit.
FEWEST_SAMPLES = 10
# An interval is quiet if no request ran, and all workers and others used less of one core than:
_QUIET_WORKERS = 0.01
_QUIET_OTHERS = 0.05
# A meter that is silent for so long does not come back for these.
_PENDING = 1024
_UNREAD = 256
_CLIENTS = 256
# Of experts that came and went, so many are kept; the others' joules go to everything else.
_EXPERTS = 256
# Less than this share of an interval may be missing for its mean power to be known.
_SLIVER = 0.01
_OTHER_CLIENTS = "(others)"
# A client is a connection, and its name ends with it.
_EARLIER_CLIENTS = "(before the restart)"
# The part of an interval's power by which its first or last moment may be misplaced (uniform).
_EDGE = 0.29


class EnergyBooks:
    """The one owner of who used which joules."""

    def __init__(self, source: EnergySource, scope: Scope, idle_watts: float | None = None) -> None:
        """Open the books of one meter; `idle_watts` is the profile's guess, if it has one."""
        self.source, self.scope = source, scope
        self._curve = EnergyCurve()
        self._baseline = IdleBaseline(idle_watts)
        self._pending: deque[CpuInterval] = deque()
        self._settled: float | None = None
        self._running: dict[int, Account] = {}
        self._ended: list[Account] = []
        self._fits: dict[str, ExpertFit] = {}
        self._experts: dict[str, ExpertEnergy] = {}
        self._clients: dict[str, float] = {}
        self._meter = self._idle = self._other = self._gaps = 0.0
        self._rate: float | None = None
        self._metered: deque[MeteredInterval] = deque(maxlen=_UNREAD)

    # ── events ────────────────────────────────────────────────────────────────────────────────

    def on_sample(self, sample: Sample) -> None:
        """Take the meter's next sample, or its silence."""
        self._curve.on_sample(sample)
        self._settle()

    def on_cpu(self, interval: CpuInterval) -> None:
        """Take the CPU time between two readings; the next interval begins where this one ends.

        Time between two intervals goes to nobody but the idle and others.
        """
        if self._settled is None:
            self._settled = interval.start
        last = self._pending[-1].end if self._pending else self._settled
        if interval.end <= last:
            return
        if interval.start > last:
            self._pending.append(CpuInterval(last, interval.start, (), 0.0))
        self._pending.append(interval)
        self._settle()
        while len(self._pending) > _PENDING:
            lost = self._pending.popleft()
            self._settle_gap(lost)
            self._close(lost.end)

    def on_mode(self, name: str) -> None:
        """Take note of another power mode, governor or clock limit: it has its own idle."""
        self._baseline.on_mode(name)

    def on_started(self, request: int, expert: str, client: str, now: float) -> None:
        """Take note that a worker begins to answer a request."""
        self._running[request] = Account(request, expert, client, now)

    def on_ended(
        self, request: int, now: float, cpu_seconds: float | None = None, units: float = 0.0
    ) -> EnergyFigure | None:
        """Take note that it is answered; return its figure, or None if nothing is known of it.

        `cpu_seconds` are the worker's own count of its CPU time for this request. For the best
        figure, CPU times are read right before, and a counter too; a meter of power is read by
        the clock alone, for readings taken when work ends are no fair sample of the time between.
        What is settled later enters the books, not the figure.
        """
        account = self._running.pop(request, None)
        if account is None:
            return None
        account.end, account.cpu_seconds, account.units = now, cpu_seconds, units
        self._ended.append(account)
        self._settle()
        return self._figure(account)

    def on_replaced(self, expert: str) -> None:
        """Forget what was learnt of an expert's price: its package is another, or gone."""
        self._fits.pop(expert, None)

    def predict(self, expert: str, units: float | None = None) -> Prediction | None:
        """Return what a request to this expert adds to the idle, or None before it is known."""
        fit = self._fits.get(expert)
        return fit.predict(units=units) if fit else None

    def take_metered(self) -> list[MeteredInterval]:
        """Return, once, the intervals settled since the last call: the power governor's food."""
        taken = list(self._metered)
        self._metered.clear()
        return taken

    @property
    def idle_watts(self) -> float | None:
        """The idle power as the books take it, or None before anything is known."""
        return self._baseline.watts

    def totals(self) -> EnergyTotals:
        """Return where all joules settled so far went."""
        return EnergyTotals(
            self.source,
            self.scope,
            self._meter,
            self._idle,
            self._other,
            self._gaps,
            self._baseline.watts,
            dict(self._experts),
            dict(self._clients),
        )

    def record(
        self, board: str, meter: str, since: float, packages: Mapping[str, str]
    ) -> EnergyRecord:
        """Return what is worth keeping over a restart; `packages` are those of the experts now."""
        ranked = sorted(self._experts.items(), key=lambda each: -each[1].joules)
        experts, rest = ranked[:_EXPERTS], ranked[_EXPERTS:]
        clients = sum(self._clients.values())
        return EnergyRecord(
            board=board,
            meter=meter,
            since=since,
            meter_joules=self._meter,
            idle_joules=self._idle,
            other_joules=self._other + sum(each.joules for _, each in rest),
            gap_seconds=self._gaps,
            idle=self._baseline.record(),
            fits={
                name: fit.record(packages[name])
                for name, fit in self._fits.items()
                if name in packages
            },
            experts={name: ExpertRecord(**asdict(each)) for name, each in experts},
            clients={_EARLIER_CLIENTS: clients} if clients else {},
        )

    def restore(self, record: EnergyRecord, packages: Mapping[str, str]) -> None:
        """Go on from what was kept; a fit of another package than is installed now is dropped."""
        self._meter += record.meter_joules
        self._idle += record.idle_joules
        self._other += record.other_joules
        self._gaps += record.gap_seconds
        self._baseline.restore(record.idle)
        for name, fit in record.fits.items():
            if packages.get(name) == fit.package:
                self._fits[name] = ExpertFit.of(fit)
        for name, each in record.experts.items():
            self._experts[name] = ExpertEnergy(**msgspec.structs.asdict(each))
        for name, joules in record.clients.items():
            self._add_client(name, joules)

    # ── settling ──────────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Settle every interval that the meter's samples cover."""
        edge = self._curve.end
        while edge is not None and self._pending and self._pending[0].end <= edge:
            interval = self._pending.popleft()
            start = self._curve.start
            stretch = self._curve.between(interval.start, interval.end)
            if start is None or stretch.known_seconds <= 0:
                self._settle_gap(interval)
            else:
                self._settle_known(interval, stretch)
            self._settled = interval.end
            self._curve.drop(interval.end)
            self._close(interval.end)

    def _settle_gap(self, interval: CpuInterval) -> None:
        """Mark an interval that nothing is known of."""
        self._metered.append(MeteredInterval(interval, None))
        seconds = interval.end - interval.start
        self._gaps += seconds
        for account, overlap in self._overlaps(interval):
            account.gap += overlap
            account.settled += overlap
        self._settled = interval.end

    def _settle_known(self, interval: CpuInterval, stretch: Stretch) -> None:
        """Share out the energy of one interval."""
        whole = stretch.gap_seconds < _SLIVER * (interval.end - interval.start)
        self._metered.append(MeteredInterval(interval, stretch.joules if whole else None))
        self._meter += stretch.joules
        self._gaps += stretch.gap_seconds
        running = tuple(self._overlaps(interval))
        seconds = interval.end - interval.start
        workers = sum(spent for _, spent in interval.experts)
        quiet = (
            not running
            and workers < _QUIET_WORKERS * seconds
            and interval.other_seconds < _QUIET_OTHERS * seconds
        )
        if quiet:
            self._baseline.on_quiet(stretch.joules, stretch.known_seconds)
            self._idle += stretch.joules
            return
        self._baseline.on_busy(stretch.joules, stretch.known_seconds)
        idle = (self._baseline.watts or 0.0) * stretch.known_seconds
        split = Split(interval, stretch, running, idle)
        self._idle += idle
        self._share_idle(split)
        self._share_active(split)

    def _share_idle(self, split: Split) -> None:
        """Give those who run their part of the idle, and count what they ran."""
        seconds = split.interval.end - split.interval.start
        together = max(seconds, sum(overlap for _, overlap in split.running))
        known = split.stretch.known_seconds / seconds
        for account, overlap in split.running:
            account.idle += split.idle_joules * overlap / together
            account.samples += split.stretch.samples
            account.settled += overlap
            account.gap += overlap * (1 - known)
            account.sigma += self._baseline.sigma_watts * overlap * known

    def _share_active(self, split: Split) -> None:
        """Split what is beyond the idle by CPU time."""
        interval, active = split.interval, split.active_joules
        busy = sum(spent for _, spent in interval.experts) + interval.other_seconds
        if busy <= 0:
            self._other += active
            return
        self._rate = active / busy if self._rate is None else 0.9 * self._rate + 0.1 * active / busy
        self._other += active * interval.other_seconds / busy
        for expert, spent in interval.experts:
            if spent > 0:
                self._bill(split, expert, spent, active / busy)

    def _bill(self, split: Split, expert: str, spent: float, rate: float) -> None:
        """Bill a worker's CPU time to its requests; what they cannot have used stays with it."""
        mine = [(each, overlap) for each, overlap in split.running if each.expert == expert]
        # Those whose bound is known and low go first: what they leave is the others'.
        mine.sort(key=lambda each: each[0].may_be_billed())
        total = sum(overlap for _, overlap in mine)
        left = spent
        seconds = split.interval.end - split.interval.start
        for account, overlap in mine:
            part = min(left * overlap / total, account.may_be_billed()) if total > 0 else 0.0
            total -= overlap
            left -= part
            account.billed_cpu += part
            account.marginal += rate * part
            account.sigma += split.stretch.sigma_joules * part / spent
            if overlap < 0.999 * seconds:
                account.edges += (_EDGE * rate * part) ** 2
            self._add_client(account.client, rate * part)
        billed = spent - left
        was = self._experts.get(expert, ExpertEnergy())
        self._experts[expert] = ExpertEnergy(
            was.request_joules + rate * billed,
            was.resident_joules + rate * left,
            was.requests,
            was.cpu_seconds + spent,
            was.units,
        )

    def _add_client(self, client: str, joules: float) -> None:
        """Add to a client's sum; beyond so many of them, to one for all others."""
        known = client in self._clients or len(self._clients) < _CLIENTS
        name = client if known else _OTHER_CLIENTS
        self._clients[name] = self._clients.get(name, 0.0) + joules

    def _overlaps(self, interval: CpuInterval) -> list[tuple[Account, float]]:
        """Return the requests that ran within an interval, and for how long."""
        accounts = [*self._running.values(), *self._ended]
        pairs = ((each, each.overlap(interval.start, interval.end)) for each in accounts)
        return [(account, overlap) for account, overlap in pairs if overlap > 0]

    def _close(self, settled: float) -> None:
        """Let the requests that are settled to their end teach their expert's fit."""
        still: list[Account] = []
        for account in self._ended:
            if account.end is None or account.end > settled:
                still.append(account)
                continue
            was = self._experts.get(account.expert, ExpertEnergy())
            self._experts[account.expert] = ExpertEnergy(
                was.request_joules,
                was.resident_joules,
                was.requests + 1,
                was.cpu_seconds,
                was.units + account.units,
            )
            if account.gap <= 0 and account.settled > 0:
                fit = self._fits.setdefault(account.expert, ExpertFit())
                fit.on_request(account.cpu, account.units, account.marginal)
        self._ended = still

    # ── figures ───────────────────────────────────────────────────────────────────────────────

    def _figure(self, account: Account) -> EnergyFigure | None:
        """Return what is known of a request that just ended."""
        if account.samples < FEWEST_SAMPLES or account.gap > 0:
            return self._fitted(account)
        tail = max(0.0, account.cpu - account.billed_cpu) * (self._rate or 0.0)
        seconds = (account.end or account.start) - account.start
        idle = account.idle + max(0.0, seconds - account.settled) * (self._baseline.watts or 0.0)
        marginal = max(0.0, account.marginal + tail)
        sigma = (account.sigma**2 + account.edges + (_EDGE * tail) ** 2) ** 0.5
        return self._as_figure(account, (marginal, sigma), idle, fitted=False)

    def _fitted(self, account: Account) -> EnergyFigure | None:
        """Return the figure of a request that cannot be measured alone."""
        fit = self._fits.get(account.expert)
        cpu = account.cpu_seconds
        guess = fit.predict(cpu, account.units) if fit else None
        if guess is None:
            if self._rate is None or cpu is None:
                return None
            # Its CPU time at the board's present price: a first figure, good for little.
            joules = max(0.0, self._rate * cpu)
            guess = Prediction(joules, joules)
        seconds = (account.end or account.start) - account.start
        share = max(1, len(self._running) + 1)
        idle = (self._baseline.watts or 0.0) * seconds / share
        return self._as_figure(account, (guess.joules, guess.uncertainty_joules), idle, fitted=True)

    def _as_figure(
        self, account: Account, marginal: tuple[float, float], idle: float, *, fitted: bool
    ) -> EnergyFigure:
        """Put a figure together."""
        joules, sigma = marginal
        return EnergyFigure(
            self.source,
            self.scope,
            joules + idle,
            joules,
            sigma,
            account.samples,
            fitted=fitted,
            gap_seconds=account.gap,
        )
