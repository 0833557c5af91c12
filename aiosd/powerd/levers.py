"""The two things of a board that root may turn for the daemon: clock limits and the power mode.

Everything is put back as it was found. What was found is written down before the first change, so
that a helper that was killed puts it back when it starts again.
"""

import contextlib
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiosd.protocol.levers import Levers, PolicyClock, Refused
from aiosd.sensors.kernel_file import read_number
from aiosd.sensors.mode import read_mode, read_mode_numbers

log = logging.getLogger(__name__)

_CPUFREQ = "sys/devices/system/cpu/cpufreq"
_LIMIT = "scaling_max_freq"
_NVPMODEL = "/usr/sbin/nvpmodel"
_NVPMODEL_SECONDS = 20.0
_STATUS = "var/lib/nvpmodel/status"


class Found(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How the board stood before the first change: limits by policy in kHz, and the mode."""

    clocks: dict[str, int] = msgspec.field(default_factory=dict)
    mode: str = ""


class OrderError(Exception):
    """An order cannot be carried out; the message says why, `known` which names there are."""

    def __init__(self, message: str, known: list[str] | None = None) -> None:
        """Take one sentence, and the names that would have done."""
        super().__init__(message)
        self.known = known or []

    def packet(self) -> Refused:
        """Return it as the daemon hears it."""
        return Refused(reason=str(self), known=self.known)


class Board:
    """The clock limits and power modes below a root; `record` is where what was found is kept.

    `switch` changes the mode by its number.
    """

    def __init__(self, root: Path, record: Path, switch: Callable[[int], None]) -> None:
        """Put back what a helper before this one left changed."""
        self._root, self._record, self._switch = root, record, switch
        self._found = Found()
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._found = msgspec.json.decode(record.read_bytes(), type=Found)
            log.warning("a helper before this one left changes; they are put back")
        self.restore()

    def look(self) -> Levers:
        """Return how everything stands."""
        mode = read_mode(self._root)
        return Levers(
            policies=[self._clock(folder) for folder in self._folders()],
            mode=mode.name if mode else "",
            modes=list(read_mode_numbers(self._root)),
        )

    def set_clock(self, policy: str, khz: int) -> None:
        """Limit a policy's clock, within what its hardware can; 0 gives it back.

        Raises:
            OrderError: there is no such policy, or the kernel refuses.
        """
        folders = {folder.name: folder for folder in self._folders()}
        if policy not in folders:
            raise OrderError(f"no cpufreq policy {policy!r} on this board", list(folders))
        now = self._clock(folders[policy])
        if khz and not now.min_khz <= khz <= now.max_khz:
            raise OrderError(f"{policy} runs at {now.min_khz} to {now.max_khz} kHz, not {khz}")
        wanted = khz or now.found_khz
        if wanted == now.limit_khz:
            return
        if policy not in self._found.clocks:
            self._found.clocks[policy] = now.limit_khz
            self._remember()
        self._write(folders[policy] / _LIMIT, wanted)
        log.info("%s: at most %d kHz (was %d)", policy, wanted, now.limit_khz)

    def set_mode(self, name: str) -> None:
        """Change the power mode.

        Raises:
            OrderError: there is no such mode, or the board does not take it.
        """
        numbers = read_mode_numbers(self._root)
        if name not in numbers:
            what = f"no power mode {name!r}" if numbers else "this board has no power modes"
            raise OrderError(what, list(numbers))
        now = read_mode(self._root)
        if now is not None and now.name == name:
            return
        if not self._found.mode and now is not None:
            self._found.mode = now.name
            self._remember()
        self._switch(numbers[name])
        log.info("power mode %s (was %s)", name, now.name if now else "unknown")

    def restore(self) -> None:
        """Put everything back as it was found; what the kernel refuses is logged and left."""
        found, self._found = self._found, Found()
        try:
            if found.mode:
                self.set_mode(found.mode)
        except OrderError as error:
            log.error("power mode %s is not put back: %s", found.mode, error)  # noqa: TRY400
        for policy, khz in found.clocks.items():
            try:
                self._write(self._root / _CPUFREQ / policy / _LIMIT, khz)
                log.info("%s: at most %d kHz, as it was found", policy, khz)
            except OrderError as error:
                log.error("%s is not put back: %s", policy, error)  # noqa: TRY400
        self._found = Found()
        self._record.unlink(missing_ok=True)

    def _folders(self) -> list[Path]:
        """Return the policies' folders."""
        return sorted((self._root / _CPUFREQ).glob("policy*"))

    def _clock(self, folder: Path) -> PolicyClock:
        """Return one policy; what the kernel does not say is 0."""
        limit = read_number(folder / _LIMIT) or 0
        return PolicyClock(
            name=folder.name,
            min_khz=read_number(folder / "cpuinfo_min_freq") or 0,
            max_khz=read_number(folder / "cpuinfo_max_freq") or 0,
            limit_khz=limit,
            found_khz=self._found.clocks.get(folder.name, limit),
        )

    def _remember(self) -> None:
        """Write down what was found, before it is changed.

        Raises:
            OrderError: it cannot be written; then nothing is changed either.
        """
        new = self._record.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(self._found))
            new.replace(self._record)
        except OSError as error:
            raise OrderError(f"{self._record}: {error.strerror}; nothing was changed") from error

    def _write(self, path: Path, khz: int) -> None:
        """Write a limit.

        Raises:
            OrderError: the kernel refuses.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(handle, "wb", buffering=0) as file:
                # A file of a simulated board is no kernel's: what is longer would stay behind.
                file.write(f"{khz}\n".encode())
                if self._root != Path("/"):
                    file.truncate()
        except OSError as error:
            raise OrderError(f"{path}: {error.strerror}") from error


def run_nvpmodel(number: int) -> None:
    """Let NVIDIA's own tool change the mode, and never reboot.

    Raises:
        OrderError: the tool is missing, takes too long, refuses, or asks for a reboot.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a fixed path and a number
            [_NVPMODEL, "-m", str(number)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_NVPMODEL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OrderError(f"nvpmodel: {error}") from error
    said = " ".join((done.stdout + done.stderr).split())
    if "reboot" in said.lower():
        raise OrderError("this mode needs a reboot, which is yours to do: sudo nvpmodel -m …")
    if done.returncode:
        raise OrderError(f"nvpmodel: {said[:200] or f'exit status {done.returncode}'}")


def simulated_nvpmodel(root: Path) -> Callable[[int], None]:
    """Return what changes the mode of a simulated board: its status file."""

    def switch(number: int) -> None:
        path = root / _STATUS
        try:
            path.write_text(f"pmode:{number:04d} fmode:quiet\n", encoding="ascii")
        except OSError as error:
            raise OrderError(f"{path}: {error.strerror}") from error

    return switch
