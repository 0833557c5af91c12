"""The walk through a calibration: what is loaded, what is asked, and what is asked again."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiosd.cli.readings import ALL_CPUS, NO_CLOCK
from aiosd.domain.calibration import Load, Observation
from aiosd.domain.errors import InvalidError
from aiosd.domain.power import CpuPolicy, CpuReading
from aiosd.policy.energy.calibration import IDLE_CORES, Doubt, Fit, doubts, fit, misfits

IDLE_READINGS = 3
_TRIES = 3
# A load that got less of its cores than this is worth a word; the fit takes what really ran.
_RAN_SHARE = 0.6
_MILLI = 1000.0
# "2.41", "2,41 W", "2410 mW", or volts times amperes: "5.12 * 0.47".
_NUMBER = r"(\d{1,9}(?:[.,]\d{1,9})?)"
_WATTS = re.compile(rf"^{_NUMBER}\s*(mW|W)?$", re.IGNORECASE)
_PRODUCT = re.compile(rf"^{_NUMBER}\s*V?\s*[x*×]\s*{_NUMBER}\s*A?$", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One load: these CPUs busy, and one group held to a clock (0: as its governor wants)."""

    what: str
    cpus: tuple[int, ...] = ()
    policy: str = ""
    khz: int = 0


class Desk(Protocol):
    """What a calibration is done with: the owner, the cores, the clock on the wall."""

    def say(self, text: str) -> None:
        """Tell the owner something."""

    def ask(self, question: str) -> str:
        """Ask the owner and return the answer.

        Raises:
            EOFError: the owner has gone.
        """

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def read(self) -> CpuReading:
        """Read how busy the CPUs were, and at which clock."""

    def load(self, step: Step) -> "contextlib.AbstractContextManager[None]":
        """Keep the step's CPUs busy for as long as the context is open."""


def plan(policies: Sequence[CpuPolicy], clocks: Mapping[str, Sequence[int]]) -> list[Step]:
    """Return the loads: each group alone, 1 to all of its cores, at every clock that can be had.

    At the fastest clock with 1 to all cores (of large groups one, half and all), at the others
    with all of them; at last everything at once.
    """
    steps: list[Step] = []
    for policy in policies:
        wanted = list(clocks.get(policy.name, ())) or [0]
        for khz in wanted:
            counts = _counts(len(policy.cpus)) if khz == wanted[-1] else [len(policy.cpus)]
            for count in counts:
                at = f" at {khz / 1e6:.2f} GHz" if khz else ""
                what = f"{count} of {len(policy.cpus)} cores of {policy.name}{at}"
                steps.append(Step(what, policy.cpus[:count], policy.name, khz))
    if len(policies) > 1:
        cpus = tuple(cpu for policy in policies for cpu in policy.cpus)
        steps.append(Step(f"all {len(cpus)} cores", cpus))
    return steps


def _counts(cores: int) -> list[int]:
    """Return how many cores of a group are loaded, one after the other."""
    if cores <= 4:  # noqa: PLR2004 - a small group is measured core by core
        return list(range(1, cores + 1))
    return [1, cores // 2, cores]


def parse_watts(text: str) -> float:
    """Return a reading such as "2.41", "2,41 W", "2410 mW" or "5.12 * 0.47" (volts × amperes).

    Raises:
        ValueError: this is none.
    """
    text = text.strip()
    found = _WATTS.match(text)
    if found:
        value = float(found[1].replace(",", "."))
        return value / _MILLI if (found[2] or "").lower() == "mw" else value
    found = _PRODUCT.match(text)
    if found:
        return float(found[1].replace(",", ".")) * float(found[2].replace(",", "."))
    raise ValueError(f"{text!r} is no reading; write it like 2.41, 2410 mW or 5.12 * 0.47")


class Walk:
    """Leads the owner through idle and every step; `observations` grows as it goes."""

    def __init__(self, desk: Desk, settle_seconds: float) -> None:
        """Take the desk, and how long a load runs before its reading."""
        self._desk = desk
        self._settle = settle_seconds
        self._steps: list[Step] = []
        self.observations: list[Observation] = []

    def go(self, steps: Sequence[Step]) -> Fit:
        """Take all readings, those that make no sense again, and return the fit.

        Raises:
            InvalidError: a reading makes no sense, and did not after some tries.
            UnusableReadingsError: they are too few.
        """
        whole = [*(Step("idle") for _ in range(IDLE_READINGS)), *steps]
        for number, step in enumerate(whole, start=1):
            self._desk.say(f"[{number}/{len(whole)}] {step.what}")
            self._steps.append(step)
            self.observations.append(self._observe(step))
            self._mend(lambda: doubts(self.observations))
        self._mend(lambda: misfits(self.observations, fit(self.observations)))
        return fit(self.observations)

    def _mend(self, look: Callable[[], Sequence[Doubt]]) -> None:
        """Take readings again that are in doubt, the first of them first.

        Raises:
            InvalidError: they stay so.
        """
        for _ in range(_TRIES):
            found = look()
            if not found:
                return
            self._again(found[0])
        found = look()
        if found:
            raise refused(self.observations, found[0])

    def _again(self, doubt: Doubt) -> None:
        """Offer to repeat one reading.

        Raises:
            InvalidError: the owner does not want to.
        """
        index, why = doubt.index, doubt.why
        step = self._steps[index]
        self._desk.say(f"  the reading of {step.what!r} cannot be right: {why}")
        if self._desk.ask("  repeat it? [Y/n] ").strip().lower().startswith("n"):
            raise refused(self.observations, doubt)
        self.observations[index] = self._observe(step)

    def _observe(self, step: Step) -> Observation:
        """Run one load and ask for its watts."""
        with self._desk.load(step):
            self._desk.wait(self._settle / 2)
            before = self._desk.read()
            self._desk.wait(self._settle / 2)
            watts = self._ask()
            after = self._desk.read()
        loads = loads_between(before, after)
        busy = sum(load.busy_cores for load in loads)
        if not step.cpus and busy >= IDLE_CORES:
            self._desk.say(f"  (not idle: {busy:.1f} cores were busy with something else)")
        if busy < _RAN_SHARE * len(step.cpus):
            said = f"only {busy:.1f} of {len(step.cpus)} cores were kept busy"
            self._desk.say(f"  ({said}: something else runs, or a quota holds this shell back)")
        return Observation(step.what, watts, loads)

    def _ask(self) -> float:
        """Ask until the answer is a reading."""
        while True:
            answer = self._desk.ask("  watts on the meter now: ")
            try:
                return parse_watts(answer)
            except ValueError as error:
                self._desk.say(f"  {error}")


def refused(observations: Sequence[Observation], doubt: Doubt) -> InvalidError:
    """Return the error that names a reading that cannot be right."""
    index, why = doubt.index, doubt.why
    return InvalidError(
        f"the reading of {observations[index].what!r} cannot be right: {why}; read it again",
        field=f"readings[{index}]",
    )


def loads_between(before: CpuReading, after: CpuReading) -> tuple[Load, ...]:
    """Return what each clock group did between two readings: busy cores and mean clock."""
    seconds = max(after.at_seconds - before.at_seconds, 1e-9)
    past = dict(before.busy_seconds)
    busy = {
        cpu: max(0.0, total - past.get(cpu, total)) / seconds for cpu, total in after.busy_seconds
    }
    if not after.policies:
        return (Load(ALL_CPUS, sum(busy.values()), NO_CLOCK),)
    earlier = {policy.name: policy for policy in before.policies}
    return tuple(
        Load(
            policy.name,
            sum(busy.get(cpu, 0.0) for cpu in policy.cpus),
            _mean_khz(earlier.get(policy.name, policy), policy),
        )
        for policy in after.policies
    )


def _mean_khz(before: CpuPolicy, after: CpuPolicy) -> int:
    """Return the mean clock of a group: by its time in each state, else of the two moments."""
    past = dict(before.time_in_state)
    spent = [(khz, max(0.0, total - past.get(khz, 0.0))) for khz, total in after.time_in_state]
    total = sum(seconds for _, seconds in spent)
    if total > 0:
        return round(sum(khz * seconds for khz, seconds in spent) / total)
    clocks = [khz for khz in (before.current_khz, after.current_khz) if khz > 0]
    return round(sum(clocks) / len(clocks)) if clocks else after.max_khz
