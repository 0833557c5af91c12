"""The power chip of a Raspberry Pi 5: volts and amperes of a dozen rails, from the firmware.

It sees what the chip itself supplies and not what hangs on 5 V (USB, HATs, NVMe); the profile's
correction leads from the sum to the board. The reading of 3V7_WL_SW drifts with temperature
(raspberrypi/linux issue 6473), and all fluctuate: average over seconds.
"""

import re
from pathlib import Path

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import PowerSample
from aiosd.sensors.kernel_file import ROOT, SensorError
from aiosd.sensors.mailbox import Mailbox, open_mailbox
from aiosd.sensors.rails import RailSum

_QUESTION = "pmic_read_adc"
_LINE = re.compile(
    r"^\s*(?P<rail>\w+)_(?P<kind>[AV])\s+(?:current|volt)\(\d+\)=(?P<value>\d+(?:\.\d+)?)(?P=kind)\s*$",
    re.MULTILINE | re.ASCII,
)
# The firmware does not publish its converters' steps. In published dumps the currents of 3V3_DAC
# and 3V3_ADC are multiples of this; other rails' steps are larger and unknown, and far below what
# the correction may be wrong by.
_AMPERE_STEP = 61.05e-6


class Pmic:
    """A power meter over the firmware's text."""

    def __init__(self, facts: PowerFacts, mailbox: Mailbox) -> None:
        """Ask once, and choose the rails.

        Raises:
            SensorError: no answer, or rails of the profile are missing in it.
        """
        self._mailbox = mailbox
        self._sum = RailSum(facts, parse_rails(mailbox.ask(_QUESTION)))
        self.source, self.scope, self.rails = self._sum.source, self._sum.scope, self._sum.rails
        self.step_watts = 0.0

    def sample(self, now: float) -> PowerSample:
        """Ask the firmware for all rails at once.

        Raises:
            SensorError: no answer, or a rail is missing in it.
        """
        read = parse_rails(self._mailbox.ask(_QUESTION))
        missing = [rail for rail in self.rails if rail not in read]
        if missing:
            raise SensorError(f"the firmware's answer lacks {', '.join(missing)}")
        steps = [read[rail][0] * _AMPERE_STEP for rail in self.rails]
        self.step_watts = sum(steps)
        rails = [(rail, read[rail][0] * read[rail][1]) for rail in self.rails]
        return self._sum.sample(rails, now, steps)

    def close(self) -> None:
        """Close the mailbox."""
        self._mailbox.close()


def open_pmic(facts: PowerFacts, root: Path = ROOT) -> Pmic:
    """Open the meter of a Raspberry Pi 5.

    Raises:
        SensorError: as `open_mailbox` and `Pmic`.
    """
    mailbox = open_mailbox(root)
    try:
        return Pmic(facts, mailbox)
    except SensorError:
        mailbox.close()
        raise


def parse_rails(text: str) -> dict[str, tuple[float, float]]:
    """Return (volts, amperes) of each rail that has both; EXT5V and BATT have no current."""
    values = {
        (match["rail"], match["kind"]): float(match["value"]) for match in _LINE.finditer(text)
    }
    return {
        rail: (values[rail, "V"], amperes)
        for (rail, kind), amperes in values.items()
        if kind == "A" and (rail, "V") in values
    }
