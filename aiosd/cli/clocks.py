"""Fixed clocks for a calibration: by the kernel's own files, where this user may write them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from aiosd.client import Client
from aiosd.domain.errors import AiosdError
from aiosd.domain.power import CpuPolicy
from aiosd.sensors.kernel_file import read_number

_CPUFREQ = "sys/devices/system/cpu/cpufreq"
_LIMIT = "scaling_max_freq"
# A calibration goes up from here: below it a core adds less than a meter's last digit.
_LOWEST_SHARE = 0.4


class Clocks(Protocol):
    """What can hold a clock group below a clock."""

    def hold(self, policy: str, khz: int) -> "contextlib.AbstractContextManager[None]":
        """Keep the group from going faster for as long as the context is open."""
        ...


class KernelClocks:
    """Writes scaling_max_freq, which root may, and anybody on a simulated board."""

    def __init__(self, root: Path) -> None:
        """Work below `root`."""
        self._folder = root / _CPUFREQ

    @contextlib.contextmanager
    def hold(self, policy: str, khz: int) -> Iterator[None]:
        """Lower the limit, and put it back as it was found.

        Raises:
            OSError: the kernel refuses.
        """
        path = self._folder / policy / _LIMIT
        found = path.read_text(encoding="ascii")
        path.write_text(f"{khz}\n", encoding="ascii")
        try:
            yield
        finally:
            path.write_text(found, encoding="ascii")


class HelpedClocks:
    """Asks the daemon, which asks aiosd-powerd."""

    def __init__(self, client: Client) -> None:
        """Ask on the admin socket."""
        self._client = client

    @contextlib.contextmanager
    def hold(self, policy: str, khz: int) -> Iterator[None]:
        """Lower the limit, and let it go again.

        Raises:
            AiosdError: the daemon or its helper refuses.
        """
        self._client.power(policy=policy, khz=khz)
        try:
            yield
        finally:
            self._client.power(policy=policy, khz=0)


def find_clocks(root: Path, client: Client | None) -> Clocks | None:
    """Return what can fix a clock here, or None: then the governor's clock is all there is.

    `client` is None where no daemon runs.
    """
    files = list((root / _CPUFREQ).glob(f"policy*/{_LIMIT}"))
    if files and all(os.access(file, os.W_OK) for file in files):
        return KernelClocks(root)
    if client is not None:
        with contextlib.suppress(AiosdError):
            client.power()
            return HelpedClocks(client)
    return None


def spread(policy: CpuPolicy, root: Path, count: int) -> list[int]:
    """Return `count` clocks of a group from 40 % of the fastest up to it, those that exist."""
    if policy.max_khz <= 0 or count <= 1:
        return [policy.max_khz] if policy.max_khz > 0 else []
    folder = root / _CPUFREQ / policy.name
    with contextlib.suppress(OSError, ValueError):
        text = (folder / "scaling_available_frequencies").read_text(encoding="ascii")
        steps = sorted(map(int, text.split()))
        return sorted(
            {min(steps, key=lambda khz: abs(khz - each)) for each in _even(policy, count)}
        )
    lowest = read_number(folder / "cpuinfo_min_freq") or 0
    return sorted({max(lowest, khz) for khz in _even(policy, count)})


def _even(policy: CpuPolicy, count: int) -> list[int]:
    """Return clocks evenly spread over the upper part of the range."""
    step = (1 - _LOWEST_SHARE) / (count - 1)
    return [round(policy.max_khz * (_LOWEST_SHARE + step * place)) for place in range(count)]
