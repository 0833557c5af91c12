"""What this machine is: its RAM, cores, CPU features and kernel, and whether aiosd runs on it."""

import os
import platform
import struct
from pathlib import Path

from aiosd.domain.board import Machine

PROC = Path("/proc")

# Lines of /proc/cpuinfo that list features: x86 says "flags", ARM "Features".
_FEATURE_KEYS = ("flags", "Features")
# Both are what a 64-bit kernel or processor is called by uname.
_WIDE_ARCHITECTURES = ("aarch64", "x86_64")


def read_machine(
    proc: Path = PROC,
    *,
    architecture: str | None = None,
    word_bits: int = 8 * struct.calcsize("P"),
    allowed_cores: int | None = None,
) -> Machine:
    """Describe this machine; a file that is missing leaves its fact empty or 0.

    `proc` may be another root for tests; the rest is asked of the interpreter if not given.
    """
    cpuinfo = _text(proc / "cpuinfo")
    present = sum(1 for line in cpuinfo.splitlines() if _key(line) == "processor")
    allowed = len(os.sched_getaffinity(0)) if allowed_cores is None else allowed_cores
    return Machine(
        ram_bytes=_total_bytes(_text(proc / "meminfo")),
        cores=min(present, allowed) if present else allowed,
        isa=_features(cpuinfo),
        architecture=platform.machine() if architecture is None else architecture,
        kernel=_text(proc / "sys" / "kernel" / "osrelease").strip(),
        cpu_model=_first(cpuinfo, "model name"),
        board_model=_text(proc / "device-tree" / "model").rstrip("\0\n"),
        word_bits=word_bits,
    )


def refusal(machine: Machine) -> str | None:
    """Return why aiosd does not run on this machine, and what to do; None if it does."""
    if machine.word_bits >= 64:  # noqa: PLR2004 - the width in the sentence below
        return None
    if machine.architecture in _WIDE_ARCHITECTURES:
        return (
            f"this Python is {machine.word_bits}-bit on a 64-bit kernel ({machine.architecture}); "
            "the engines exist for a 64-bit user land only: install the 64-bit image of the system"
        )
    return (
        f"this machine ({machine.architecture}) is {machine.word_bits}-bit; aiosd needs a 64-bit "
        "ARM or x86 board with a 64-bit system"
    )


def _text(path: Path) -> str:
    """Return a small kernel file as text, empty if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _key(line: str) -> str:
    """Return what stands before the colon of a line of /proc/cpuinfo."""
    return line.partition(":")[0].strip()


def _first(cpuinfo: str, key: str) -> str:
    """Return the first value of a key of /proc/cpuinfo, empty if there is none."""
    for line in cpuinfo.splitlines():
        if _key(line) == key:
            return line.partition(":")[2].strip()
    return ""


def _features(cpuinfo: str) -> frozenset[str]:
    """Return the features that every core lists: code may be moved to any of them."""
    lists = [
        frozenset(line.partition(":")[2].split())
        for line in cpuinfo.splitlines()
        if _key(line) in _FEATURE_KEYS
    ]
    return frozenset.intersection(*lists) if lists else frozenset()


def _total_bytes(meminfo: str) -> int:
    """Return MemTotal in bytes, 0 if the text does not say."""
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemTotal" and words and words[0].isdecimal():
            return int(words[0]) * 1024
    return 0
