"""What can be wrong with a SIMULATED board's files, by name, and which files each one spoils.

Each may be on from the start or come and go; `docs/boardsim.md` says what a reader is to make of
it.
"""

import re
from collections.abc import Collection, Iterator
from enum import Enum, StrEnum

from tools.boardsim.instruments import BATTERY, MAILBOX, RAPL_RANGE_MICRO
from tools.boardsim.shape import Board


class Fault(StrEnum):
    """A fault."""

    MISSING_RAILS = "missing-rails"
    """The rail that matters most has no name (INA3221), no line (PMIC), no zone (RAPL)."""
    RAIL_GONE = "rail-gone"
    """The same rail's readings vanish while it is open; without the fault they are back."""
    DEAD_ZONES = "dead-zones"
    """Every thermal zone reads -256 °C."""
    NOT_AVAILABLE = "not-available"
    """The meter's and the zones' files say "N/A"."""
    RAPL_WRAP = "rapl-wrap"
    """The energy counter is 20 J from its end (at the start only)."""
    IO_ERROR = "io-error"
    """The meter's files are refused with EIO, at the latest when they are opened again."""
    STUCK_BATTERY = "stuck-battery"
    """The battery's gauge does not move any more, and says that it discharges."""
    LYING_BATTERY = "lying-battery"
    """The gauge says "Discharging", whatever happens."""
    UNDER_VOLTAGE = "under-voltage"
    """The supply sags: the firmware's bit is set, the clock is the lowest."""
    NOISE = "noise"
    """Twenty times the usual noise."""
    UNKNOWN_CLOCK = "unknown-clock"
    """The clock of a CPU that sleeps: "<unknown>"."""


class Refusal(Enum):
    """A file that does not say anything."""

    GONE = "gone"
    """It is not there; a descriptor that is open reads nothing."""
    IO_ERROR = "io-error"
    """Opening it anew gives EIO on reading; a descriptor that is open reads nothing."""


Content = str | Refusal

_METER = re.compile(
    r"(in|curr|in_voltage|in_current|in_power)\d_input$|energy_uj$|pmic_read_adc$|power_now$"
)
_ZONE = re.compile(r"thermal_zone\d+/temp$")
_CLOCK = re.compile(r"scaling_cur_freq$")
_NEAR_MICRO = 20_000_000


def parse_faults(text: str) -> frozenset[Fault]:
    """Return the faults that a text names, by spaces, commas or lines.

    Raises:
        ValueError: one of the names is none (with those that there are).
    """
    found = set()
    for word in re.split(r"[\s,]+", text.strip("\0 \n\t")):
        if word and word not in set(Fault):
            raise ValueError(f"no fault {word!r}; there are {', '.join(Fault)}")
        found |= {Fault(word)} if word else set()
    return frozenset(found)


def count_from(faults: Collection[Fault]) -> int:
    """Return where the RAPL counter starts, in µJ."""
    return RAPL_RANGE_MICRO - _NEAR_MICRO if Fault.RAPL_WRAP in faults else 0


def spoil(board: Board, texts: dict[str, str], faults: Collection[Fault]) -> dict[str, Content]:
    """Return the files with what these faults make of them."""
    spoilt: dict[str, Content] = dict(texts)
    for fault in sorted(faults):
        found = _spoilt(board, texts, fault)
        spoilt |= {path: content for path, content in found if path in texts}
    return spoilt


def _spoilt(board: Board, texts: dict[str, str], fault: Fault) -> Iterator[tuple[str, Content]]:
    """Yield the files that one fault spoils."""
    meter = [path for path in texts if _METER.search(path)]
    zones = [path for path in texts if _ZONE.search(path)]
    if fault is Fault.DEAD_ZONES:
        yield from ((path, "-256000") for path in zones)
    elif fault is Fault.NOT_AVAILABLE:
        yield from ((path, "N/A") for path in (*meter, *zones))
    elif fault is Fault.IO_ERROR:
        yield from ((path, Refusal.IO_ERROR) for path in meter)
    elif fault in {Fault.MISSING_RAILS, Fault.RAIL_GONE}:
        yield from _without_rail(board, texts, named=fault is Fault.MISSING_RAILS)
    elif fault is Fault.LYING_BATTERY:
        yield f"{BATTERY}/status", "Discharging"
    elif fault is Fault.UNKNOWN_CLOCK:
        yield from ((path, "<unknown>") for path in texts if _CLOCK.search(path))


def _without_rail(
    board: Board, texts: dict[str, str], *, named: bool
) -> Iterator[tuple[str, Content]]:
    """Yield the files of the first rail of the total, without its name or without its readings."""
    power = board.profile.power
    rail = "VDD_CORE" if board.shape.kind == "rpi-pmic" else next(iter(power.rails), "package-0")
    if board.shape.kind == "rpi-pmic":
        path = f"{MAILBOX}/pmic_read_adc"
        lines = texts.get(path, "").splitlines()
        yield path, "\n".join(line for line in lines if f" {rail}_" not in line)
        return
    for path, text in texts.items():
        if text != rail or not re.search(r"(_label|/rail_name_\d|/name)$", path):
            continue
        if named:
            yield path, Refusal.GONE
            continue
        folder = path.rpartition("/")[0]
        number = re.search(r"in(\d)_label$|rail_name_(\d)$", path)
        digit = (number[1] or number[2]) if number else ""
        yield from (
            (other, Refusal.GONE)
            for other in texts
            if other.startswith(f"{folder}/")
            and _METER.search(other)
            and (not digit or f"{digit}_input" in other)
        )
