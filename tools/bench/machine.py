"""The machine that figures were measured on, and how busy it was."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("pyzmq", "msgspec", "msgpack", "numpy", "ai-edge-litert", "llama-cpp-python")


def describe() -> dict[str, object]:
    """Return processor, cores, kernel, load and versions, as far as they can be read."""
    versions = {"python": platform.python_version(), "aiosd": _version("aiosd")}
    versions |= {name: _version(name) for name in PACKAGES}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_at_start": list(os.getloadavg()),
        "interpreter": sys.executable,
        "versions": versions,
    }


def sentence(facts: dict[str, object]) -> str:
    """Return the facts in two lines."""
    load = facts["load_at_start"]
    versions = facts["versions"]
    if not isinstance(load, list) or not isinstance(versions, dict):
        raise TypeError("these are no facts of a machine")
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['kernel']}, "
        f"load {' '.join(f'{each:.2f}' for each in load)}\n"
        + ", ".join(f"{name} {number}" for name, number in versions.items())
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
