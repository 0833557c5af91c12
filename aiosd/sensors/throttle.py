"""Under-voltage and throttling of a Raspberry Pi, from the firmware, or the little the kernel says.

The old sysfs file `get_throttled` is never read: its first reader gets a kernel warning with a
stack trace into the log. The kernel's own driver (`rpi_volt`, in0_lcrit_alarm) knows under-voltage
only, looks every 2 s, and clears the bits of the past as it looks.
"""

import contextlib
import re
from pathlib import Path

from aiosd.domain.power import ThrottleBits
from aiosd.sensors.kernel_file import ROOT, KernelFile, SensorError, read_text
from aiosd.sensors.mailbox import Mailbox, open_mailbox

_QUESTION = "get_throttled"
_ANSWER = re.compile(r"throttled=0x(?P<bits>[0-9a-fA-F]{1,8})")
# Bits of the present (raspberrypi/utils, vcgencmd.1); those of the past are 16 higher.
_NAMES = ("under_voltage", "frequency_capped", "throttled", "soft_limit")
_PAST = 16


class ThrottleGauge:
    """What tells of throttling on this board, if anything does.

    `source` says which: "firmware", "rpi_volt" or empty, with the reason in `reason`.
    """

    def __init__(self, root: Path = ROOT) -> None:
        """Open the mailbox, or else the kernel's alarm."""
        self._mailbox: Mailbox | None = None
        self._alarm: KernelFile | None = None
        self.source = self.reason = ""
        try:
            mailbox = open_mailbox(root)
        except SensorError as error:
            self.reason = str(error)
        else:
            self._try(mailbox)
        if self._mailbox is None:
            self._alarm = _open_alarm(root)
            self.source = "rpi_volt" if self._alarm else ""

    def read(self) -> ThrottleBits | None:
        """Return the bits; None if nothing tells, or not now (`reason` says why)."""
        try:
            if self._mailbox is not None:
                return parse_throttled(self._mailbox.ask(_QUESTION))
            if self._alarm is not None:
                return ThrottleBits(under_voltage=self._alarm.number() != 0)
        except SensorError as error:
            self.reason = str(error)
        return None

    def close(self) -> None:
        """Close what is open."""
        if self._mailbox is not None:
            self._mailbox.close()
        if self._alarm is not None:
            self._alarm.close()

    def _try(self, mailbox: Mailbox) -> None:
        """Keep the mailbox if it answers."""
        try:
            parse_throttled(mailbox.ask(_QUESTION))
        except SensorError as error:
            self.reason = str(error)
            mailbox.close()
        else:
            self._mailbox, self.source = mailbox, "firmware"


def parse_throttled(text: str) -> ThrottleBits:
    """Return the bits of `throttled=0x50005`.

    Raises:
        SensorError: the text is another.
    """
    match = _ANSWER.fullmatch(text.strip())
    if not match:
        raise SensorError(f"the firmware's {text[:40]!r} is no answer to {_QUESTION!r}")
    bits = int(match["bits"], 16)
    fields = {name: bool(bits >> place & 1) for place, name in enumerate(_NAMES)}
    past = {f"had_{name}": bool(bits >> place + _PAST & 1) for place, name in enumerate(_NAMES)}
    return ThrottleBits(**fields, **past)


def _open_alarm(root: Path) -> KernelFile | None:
    """Open the alarm of the kernel's driver; None if there is none."""
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(folder / "name") == "rpi_volt":
            with contextlib.suppress(SensorError):
                return KernelFile(folder / "in0_lcrit_alarm")
    return None
