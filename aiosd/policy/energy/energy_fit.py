"""What a short request of one expert costs: J = a × CPU seconds + b × units, over many of them.

Recursive least squares with forgetting, kept as its normal equations (two by two), which makes the
bounds a, b >= 0 exact: of the sides where they hold, the one with the least residual is taken.
"""

import math

from aiosd.domain.energy import Prediction
from aiosd.domain.energy_record import FitRecord

# A request counts half after about 340 others.
_FORGETTING = 0.998
_FEWEST = 5
# A weak pull towards the first guess, in units of one observation of a typical size.
_PULL = 1e-6
# Where the two explain the same to this share, the CPU time is taken as the cause.
_COLLINEAR = 1e-3


class ExpertFit:
    """The fit of one expert, and what its typical request looks like."""

    def __init__(self) -> None:
        """Start with no observations."""
        self._cc = self._cu = self._uu = self._cy = self._uy = 0.0
        self._square = self._weight = 0.0
        self._cpu = self._units = 0.0
        self.count = 0
        self.joules_per_cpu_second = 0.0
        self.joules_per_unit = 0.0

    @property
    def ready(self) -> bool:
        """Whether enough was seen to answer from it."""
        return self.count >= _FEWEST

    @property
    def sigma_joules(self) -> float:
        """The root of the mean square of what was predicted wrongly, request by request."""
        return math.sqrt(self._square / self._weight) if self._weight else 0.0

    def record(self, package: str) -> FitRecord:
        """Return the sums, to be kept."""
        return FitRecord(
            package=package,
            cc=self._cc,
            cu=self._cu,
            uu=self._uu,
            cy=self._cy,
            uy=self._uy,
            square=self._square,
            weight=self._weight,
            cpu=self._cpu,
            units=self._units,
            count=self.count,
        )

    @classmethod
    def of(cls, record: FitRecord) -> "ExpertFit":
        """Return the fit that was kept."""
        fit = cls()
        fit._cc, fit._cu, fit._uu = record.cc, record.cu, record.uu
        fit._cy, fit._uy = record.cy, record.uy
        fit._square, fit._weight = record.square, record.weight
        fit._cpu, fit._units, fit.count = record.cpu, record.units, record.count
        fit._solve()
        return fit

    def on_request(self, cpu_seconds: float, units: float, joules: float) -> None:
        """Take a measured request: its CPU time, its units, and what it added to the idle."""
        if self.ready:
            error = joules - self._value(cpu_seconds, units)
            self._square = _FORGETTING * self._square + error * error
            self._weight = _FORGETTING * self._weight + 1.0
        keep = _FORGETTING
        self._cc = keep * self._cc + cpu_seconds * cpu_seconds
        self._cu = keep * self._cu + cpu_seconds * units
        self._uu = keep * self._uu + units * units
        self._cy = keep * self._cy + cpu_seconds * joules
        self._uy = keep * self._uy + units * joules
        self._cpu = keep * self._cpu + cpu_seconds
        self._units = keep * self._units + units
        self.count += 1
        self._solve()

    def predict(
        self, cpu_seconds: float | None = None, units: float | None = None
    ) -> Prediction | None:
        """Return what such a request adds; what is None is taken as usual for the expert.

        None before there is a fit.
        """
        if not self.ready:
            return None
        weight = (1 - _FORGETTING**self.count) / (1 - _FORGETTING)
        cpu = self._cpu / weight if cpu_seconds is None else cpu_seconds
        amount = self._units / weight if units is None else units
        # Until there are residuals, the figure is as uncertain as it is large.
        joules = self._value(cpu, amount)
        return Prediction(joules, self.sigma_joules if self._weight else joules)

    def _value(self, cpu_seconds: float, units: float) -> float:
        """Return the fit's joules."""
        return self.joules_per_cpu_second * cpu_seconds + self.joules_per_unit * units

    def _solve(self) -> None:
        """Find the coefficients; at a bound, the other one alone."""
        pull = _PULL * (self._cc + 1e-12)
        cc, uu = self._cc + pull, self._uu
        only_cpu = max(0.0, self._cy / cc)
        only_units = max(0.0, self._uy / uu) if uu > 0 else 0.0
        determinant = cc * uu - self._cu * self._cu
        # Units that rise and fall with the CPU time alone say nothing of their own.
        if determinant > _COLLINEAR * cc * uu:
            a = (self._cy * uu - self._uy * self._cu) / determinant
            b = (self._uy * cc - self._cy * self._cu) / determinant
            if a >= 0 and b >= 0:
                self.joules_per_cpu_second, self.joules_per_unit = a, b
                return
        by_cpu, by_units = self._loss(only_cpu, 0.0), self._loss(0.0, only_units)
        better = by_units < by_cpu - _COLLINEAR * abs(by_cpu)
        self.joules_per_cpu_second = 0.0 if better else only_cpu
        self.joules_per_unit = only_units if better else 0.0

    def _loss(self, a: float, b: float) -> float:
        """Return the squared residual of a pair, less what all pairs have in common."""
        square = a * a * self._cc + 2 * a * b * self._cu + b * b * self._uu
        return square - 2 * (a * self._cy + b * self._uy)
