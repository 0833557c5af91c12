"""From what an owner read off a power meter to watts by busy cores and clock: one linear fit.

watts = idle + Σ over clock groups: busy cores × Σ over the points up to the group's clock: add

It is linear in the idle and in every `add`, and none of them may be negative, so that more cores
and a faster clock never take less: least squares with bounds (Lawson and Hanson, Solving Least
Squares Problems, 1974, chapter 23). No polynomial.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from aiosd.domain.calibration import Calibration, Load, Observation, Point, PolicyCost

# Fewer busy cores than this on the whole board are an idle reading.
IDLE_CORES = 0.15
# A clock group that was less busy than this says nothing of a core's price.
_LOADED_CORES = 0.25
# Clocks closer together than this share are one point.
_SAME_CLOCK = 0.03
_MOST_WATTS = 1000.0
# A meter's last digit, and a share for its noise: a USB meter shows 10 mW.
_DIGIT_WATTS, _NOISE_SHARE = 0.05, 0.02
_IDLE_SPREAD = 0.10
# A reading that the fit misses by more than this part of the span is not believed.
_RESIDUAL_SHARE, _RESIDUAL_WATTS = 0.10, 0.10
# Of this leverage a reading is not checked by any other (Hoaglin and Welsch 1978: it is 1 for one
# that decides a coefficient alone).
_ALONE = 0.97
_TINY = 1e-12
_ROUNDS = 3


class UnusableReadingsError(Exception):
    """There is too little to fit a model to; the message says what is missing."""


@dataclass(frozen=True)
class Doubt:
    """A reading that cannot be right: its place, and why."""

    index: int
    why: str


@dataclass(frozen=True)
class Fit:
    """The model, and what each reading was above it, in watts."""

    idle_watts: float
    policies: tuple[PolicyCost, ...]
    residuals: tuple[float, ...]

    @property
    def residual_watts(self) -> float:
        """The root of the mean square of the residuals."""
        return math.sqrt(sum(each * each for each in self.residuals) / len(self.residuals))

    def calibration(self, board: str, meter: str) -> Calibration:
        """Return what is kept of it."""
        return Calibration(
            board=board,
            meter=meter,
            idle_watts=self.idle_watts,
            residual_watts=self.residual_watts,
            policies=list(self.policies),
        )


def doubts(observations: Sequence[Observation]) -> list[Doubt]:
    """Return the readings that no fit could make sense of, before there is one."""
    found: list[Doubt] = []
    for index, each in enumerate(observations):
        if not math.isfinite(each.watts) or not 0 < each.watts <= _MOST_WATTS:
            found.append(Doubt(index, f"{each.watts:g} W is no board's power"))
    idles = [(i, each.watts) for i, each in enumerate(observations) if _idle(each)]
    if found or not idles:
        return found
    middle = median(watts for _, watts in idles)
    for index, watts in idles:
        if abs(watts - middle) > max(_DIGIT_WATTS, _IDLE_SPREAD * middle):
            why = f"{watts:.2f} W idle, where the others say {middle:.2f} W: was something running?"
            found.append(Doubt(index, why))
    floor = middle - max(_DIGIT_WATTS, _NOISE_SHARE * middle)
    for index, each in enumerate(observations):
        if not _idle(each) and each.watts < floor:
            why = f"{each.watts:.2f} W under load is less than the {middle:.2f} W of the idle"
            found.append(Doubt(index, why))
    return found


def fit(observations: Sequence[Observation]) -> Fit:
    """Return the model that comes closest to all readings.

    Raises:
        UnusableReadingsError: no idle reading, none under load, or no load that took anything.
    """
    if not any(map(_idle, observations)):
        raise UnusableReadingsError("no reading of the idle board: every model starts from it")
    knots = _knots(observations)
    if not knots:
        raise UnusableReadingsError("no reading under load: nothing says what a busy core takes")
    idle = median(each.watts for each in observations if _idle(each))
    if max(each.watts for each in observations) < idle + _DIGIT_WATTS:
        raise UnusableReadingsError(
            "no load took anything beyond the idle: is the meter between this board and its supply?"
        )
    columns = [(policy, place) for policy, clocks in knots.items() for place in range(len(clocks))]
    rows = _rows(observations, knots)
    solved = least_squares(rows, [each.watts for each in observations])
    base, *adds = solved
    residuals = tuple(
        each.watts - _dot(row, solved) for each, row in zip(observations, rows, strict=True)
    )
    increases = dict(zip(columns, adds, strict=True))
    policies = tuple(
        PolicyCost(
            policy=policy,
            points=[
                Point(khz=khz, add_watts=increases[policy, place])
                for place, khz in enumerate(clocks)
            ],
        )
        for policy, clocks in knots.items()
    )
    return Fit(max(base, _TINY), policies, residuals)


def misfits(observations: Sequence[Observation], found: Fit) -> list[Doubt]:
    """Return the readings that the others contradict, first that without which they agree best.

    Each is compared with a fit that has not seen it: one that had would bend towards it. A reading
    that alone tells of its clock (its leverage is near 1) has only the bounds against it.
    """
    most = max(each.watts for each in observations)
    allowed = max(_RESIDUAL_WATTS, _RESIDUAL_SHARE * (most - found.idle_watts))
    rows = _rows(observations, _knots(observations))
    squares = _squares(rows)
    doubted: list[tuple[float, Doubt]] = []
    for index, row in enumerate(rows):
        leverage = _dot(row, _solve(squares, row))
        model = found.residuals
        if leverage <= _ALONE:
            others = least_squares(
                [*rows[:index], *rows[index + 1 :]],
                [other.watts for i, other in enumerate(observations) if i != index],
            )
            model = tuple(
                other.watts - _dot(other_row, others)
                for other, other_row in zip(observations, rows, strict=True)
            )
        over = model[index]
        rest = sum(miss * miss for i, miss in enumerate(model) if i != index)
        if abs(over) > allowed:
            side = "above" if over > 0 else "below"
            doubted.append((rest, Doubt(index, f"is {abs(over):.2f} W {side} what the rest say")))
    return [doubt for _, doubt in sorted(doubted, key=lambda each: each[0])]


def _rows(observations: Sequence[Observation], knots: dict[str, list[int]]) -> list[list[float]]:
    """Return each reading's equation: how often it contains the idle and each increase."""
    return [
        [
            1.0,
            *(
                _part(each, knots, policy, place)
                for policy, clocks in knots.items()
                for place in range(len(clocks))
            ),
        ]
        for each in observations
    ]


def _idle(observation: Observation) -> bool:
    """Tell whether nothing ran."""
    return observation.busy_cores < IDLE_CORES


def _knots(observations: Sequence[Observation]) -> dict[str, list[int]]:
    """Return the clocks at which each group was seen at work, ascending, near ones as one."""
    seen: dict[str, list[int]] = {}
    for observation in observations:
        for load in observation.loads:
            if load.busy_cores >= _LOADED_CORES and load.khz > 0:
                seen.setdefault(load.policy, []).append(load.khz)
    knots: dict[str, list[int]] = {}
    for policy, clocks in seen.items():
        groups: list[list[int]] = []
        for khz in sorted(clocks):
            if groups and khz <= groups[-1][0] * (1 + _SAME_CLOCK):
                groups[-1].append(khz)
            else:
                groups.append([khz])
        knots[policy] = [round(sum(group) / len(group)) for group in groups]
    return knots


def _part(observation: Observation, knots: dict[str, list[int]], policy: str, place: int) -> float:
    """Return how often a reading contains the increase of one point."""
    clocks = knots[policy]
    loads = (load for load in observation.loads if load.policy == policy)
    return sum(load.busy_cores * _reached(clocks, place, load) for load in loads)


def _reached(clocks: list[int], place: int, load: Load) -> float:
    """Return how far a clock has climbed from the point before `place` to it, 0 to 1."""
    low = clocks[place - 1] if place else 0
    return min(1.0, max(0.0, (load.khz - low) / (clocks[place] - low)))


# ── least squares with bounds ─────────────────────────────────────────────────────────────────


def least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Return the x >= 0 that makes |rows · x - values| least.

    Lawson and Hanson's active set: a variable joins while the gradient asks for it, and leaves
    when it would turn negative. What the readings do not determine stays 0.
    """
    width = len(rows[0])
    matrix = _squares(rows)
    target = [
        sum(row[i] * value for row, value in zip(rows, values, strict=True)) for i in range(width)
    ]
    x = [0.0] * width
    free: set[int] = set()
    slack = 1e-9 * max(map(abs, target), default=0.0)
    for _ in range(_ROUNDS * width):
        gradient = [
            target[i] - sum(matrix[i][j] * x[j] for j in range(width)) for i in range(width)
        ]
        waiting = [i for i in range(width) if i not in free and gradient[i] > slack]
        if not waiting:
            break
        free.add(max(waiting, key=lambda i: gradient[i]))
        x = _settle(matrix, target, x, free)
    return x


def _dot(row: Sequence[float], x: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(row, x, strict=True))


def _squares(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return rows' transpose times rows."""
    width = range(len(rows[0]))
    return [[sum(row[i] * row[j] for row in rows) for j in width] for i in width]


def _settle(
    matrix: list[list[float]], target: list[float], x: list[float], free: set[int]
) -> list[float]:
    """Move to the best x of the free variables; those that hit 0 on the way are bound again."""
    while True:
        order = sorted(free)
        best = _solve([[matrix[i][j] for j in order] for i in order], [target[i] for i in order])
        wanted = dict(zip(order, best, strict=True))
        blocked = [i for i in order if wanted[i] <= 0]
        if not blocked:
            return [wanted.get(i, 0.0) for i in range(len(x))]
        way = min(x[i] / (x[i] - wanted[i]) if x[i] > wanted[i] else 0.0 for i in blocked)
        x = [x[i] + way * (wanted.get(i, 0.0) - x[i]) for i in range(len(x))]
        for i in blocked:
            if x[i] <= _TINY:
                x[i] = 0.0
                free.discard(i)


def _solve(matrix: list[list[float]], target: Sequence[float]) -> list[float]:
    """Solve a symmetric system by elimination; a direction without any weight is 0."""
    size = len(target)
    work = [[*row, value] for row, value in zip(matrix, target, strict=True)]
    scale = max((abs(matrix[i][i]) for i in range(size)), default=0.0)
    pivots: list[int] = []
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(work[i][column]))
        work[column], work[pivot] = work[pivot], work[column]
        if abs(work[column][column]) <= _TINY * scale:
            continue
        pivots.append(column)
        for row in range(size):
            if row != column:
                part = work[row][column] / work[column][column]
                work[row] = [a - part * b for a, b in zip(work[row], work[column], strict=True)]
    return [work[i][size] / work[i][i] if i in pivots else 0.0 for i in range(size)]
