"""The files of a SIMULATED board's kernel: those that stay, and those that count CPU time.

Pure: texts by path below the root. The device tree's `model` ends in "(simulated)", which is shown
to people and decides nothing.
"""

import os
import re
from collections.abc import Iterator

from tools.boardsim.instruments import (
    BATTERY,
    CHARGER,
    RAPL,
    RAPL_RANGE_MICRO,
    ina_folder,
    zone_folder,
)
from tools.boardsim.model import State
from tools.boardsim.shape import Board, Cluster

SERVICE = "/system.slice/aiosd.service"
NOTICE = """SIMULATED. This folder was made by tools/boardsim (see docs/boardsim.md) and stands for
a board: {name}. No figure in it was measured on hardware.
"""
CPUFREQ = "sys/devices/system/cpu/cpufreq/policy{first}"
MODES_CONF, MODES_STATUS = "etc/nvpmodel.conf", "var/lib/nvpmodel/status"

_TICKS = os.sysconf("SC_CLK_TCK")
_STATE_TICKS = 100
# Of the RAM that is sold, what the kernel leaves (a Pi 4 of 4 GiB says 3.7), and what a bare
# system then takes.
_KERNEL_SHARE, _SYSTEM_KIB = 0.95, 150 * 1024
# What every ARM core of the boards here lists besides the profile's features.
_ARM_FEATURES = ("fp", "asimd", "evtstrm", "cpuid")
_PRESSURE = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
)
_CORES = re.compile(r"_(\d+)CORE")


def standing_texts(board: Board, *, battery: bool) -> dict[str, str]:
    """Return the files that stay as they are."""
    texts = {
        "SIMULATED": NOTICE.format(name=board.profile.summary),
        "proc/sys/kernel/osrelease": "6.12.0-simulated",
        "proc/cpuinfo": _cpuinfo(board),
        "proc/self/cgroup": f"0::{SERVICE}",
        "proc/self/mountinfo": (
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
        ),
        "sys/devices/system/cpu/present": f"0-{board.shape.cores - 1}",
        "sys/devices/system/cpu/online": f"0-{board.shape.cores - 1}",
    }
    if board.shape.compatible:
        texts["proc/device-tree/model"] = f"{board.shape.model} (simulated)\0"
        texts["proc/device-tree/compatible"] = "".join(f"{e}\0" for e in board.shape.compatible)
    if not board.shape.firmware:
        texts["proc/pressure/memory"] = texts["proc/pressure/cpu"] = _PRESSURE
        texts["proc/pressure/io"] = _PRESSURE
    names = (*board.zones, *board.shape.dead_zones)
    texts |= {f"{zone_folder(number)}/type": name for number, name in enumerate(names)}
    for _, first, cluster in clusters(board):
        texts |= _policy(board, first, cluster)
    texts |= dict(_chips(board)) | _modes(board)
    if battery:
        texts |= {f"{BATTERY}/type": "Battery", f"{BATTERY}/present": "1"}
        texts[f"{CHARGER}/type"] = "Mains"
    return texts


def counting_texts(board: Board, state: State, used_bytes: int) -> dict[str, str]:
    """Return /proc/stat, /proc/meminfo and the clocks; `used_bytes` is what the experts hold."""
    lines, totals = [], [0, 0, 0]
    for cpu, busy in enumerate(state.busy_seconds):
        ticks = (round(busy * _TICKS), 0, round(max(0.0, state.seconds - busy) * _TICKS))
        totals = [total + tick for total, tick in zip(totals, ticks, strict=True)]
        lines.append(f"cpu{cpu} {ticks[0]} 0 {ticks[1]} {ticks[2]} 0 0 0 0 0 0")
    texts = {
        "proc/stat": "\n".join([f"cpu  {totals[0]} 0 {totals[1]} {totals[2]} 0 0 0 0 0 0", *lines]),
        "proc/meminfo": _meminfo(board, used_bytes),
    }
    for number, first, cluster in clusters(board):
        folder = CPUFREQ.format(first=first)
        texts[f"{folder}/scaling_cur_freq"] = str(state.khz[number])
        if board.shape.compatible:
            # intel_pstate has no such count.
            texts[f"{folder}/stats/time_in_state"] = "\n".join(
                f"{khz} {round(seconds * _STATE_TICKS)}"
                for khz, seconds in zip(cluster.khz, state.khz_seconds[number], strict=True)
            )
    return texts


def clusters(board: Board) -> Iterator[tuple[int, int, Cluster]]:
    """Yield (number, first CPU, cluster)."""
    first = 0
    for number, cluster in enumerate(board.shape.clusters):
        yield number, first, cluster
        first += cluster.cores


def mode_limits(board: Board, status: str) -> tuple[float | None, float | None]:
    """Return (watts, cores) that the power mode of a Jetson's status file allows."""
    found = re.search(r"\bpmode:(\d+)", status)
    modes = board.profile.power.modes
    number = int(found[1]) if found else -1
    if not 0 <= number < len(modes):
        return None, None
    cores = _CORES.search(modes[number].name)
    return modes[number].watts, float(cores[1]) if cores else None


def _cpuinfo(board: Board) -> str:
    """Return /proc/cpuinfo with the features of the profile."""
    isa = list(dict.fromkeys([*_ARM_FEATURES, *board.profile.facts.isa]))
    blocks = []
    for _, first, cluster in clusters(board):
        for cpu in range(first, first + cluster.cores):
            if board.shape.cpu_model:
                flags = " ".join(board.profile.facts.isa or ["sse4_2"])
                blocks.append(
                    f"processor\t: {cpu}\nmodel name\t: {board.shape.cpu_model}\nflags\t\t: {flags}"
                )
                continue
            implementer = "0x4e" if cluster.part == "0x004" else "0x41"
            blocks.append(
                f"processor\t: {cpu}\nBogoMIPS\t: 108.00\nFeatures\t: {' '.join(isa)}\n"
                f"CPU implementer\t: {implementer}\nCPU architecture: 8\nCPU variant\t: 0x0\n"
                f"CPU part\t: {cluster.part}\nCPU revision\t: 1"
            )
    return "\n\n".join(blocks)


def _meminfo(board: Board, used_bytes: int) -> str:
    """Return the lines that matter; what is used is taken off what is free."""
    total = round(board.shape.ram_gib * _KERNEL_SHARE * 2**20)
    free = max(0, total - _SYSTEM_KIB - used_bytes // 1024)
    return "\n".join(
        f"{name + ':':<16}{kib:>8} kB"
        for name, kib in (
            ("MemTotal", total),
            ("MemFree", free // 2),
            ("MemAvailable", free),
            ("Buffers", 0),
            ("Cached", free - free // 2),
            ("SwapTotal", 0),
            ("SwapFree", 0),
        )
    )


def _policy(board: Board, first: int, cluster: Cluster) -> dict[str, str]:
    """Return a cpufreq policy's standing files, and the one that may be written."""
    folder, cpus = CPUFREQ.format(first=first), range(first, first + cluster.cores)
    listed = " ".join(map(str, cpus))
    texts = {
        f"{folder}/affected_cpus": listed,
        f"{folder}/related_cpus": listed,
        f"{folder}/cpuinfo_min_freq": str(cluster.khz[0]),
        f"{folder}/cpuinfo_max_freq": str(cluster.khz[-1]),
        f"{folder}/scaling_min_freq": str(cluster.khz[0]),
        f"{folder}/scaling_max_freq": str(cluster.khz[-1]),
        f"{folder}/scaling_governor": "schedutil" if board.shape.compatible else "powersave",
    }
    if board.shape.compatible:
        listed = " ".join(map(str, cluster.khz))
        texts[f"{folder}/scaling_available_frequencies"] = listed
    if cluster.capacity:
        texts |= {
            f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity": str(cluster.capacity) for cpu in cpus
        }
    return texts


def _chips(board: Board) -> Iterator[tuple[str, str]]:
    """Yield what the instruments say of themselves."""
    for rail in board.shape.rails if board.shape.kind.startswith("ina") else ():
        folder = ina_folder(board, rail)
        yield f"{folder}/name", board.shape.kind
        if board.shape.kind == "ina3221x":
            yield f"{folder}/rail_name_{rail.channel - 1}", rail.name
            continue
        yield f"{folder}/in{rail.channel}_label", rail.name
        yield f"{folder}/in{rail.channel}_enable", "1"
        yield f"{folder}/shunt{rail.channel}_resistor", "5000"
        yield f"{folder}/in7_label", "Sum of shunt voltages"
    if board.shape.kind == "rapl":
        yield f"{RAPL}/name", "package-0"
        yield f"{RAPL}/enabled", "1"
        yield f"{RAPL}/max_energy_range_uj", str(RAPL_RANGE_MICRO)
        yield f"{RAPL}/constraint_0_name", "long_term"
        yield f"{RAPL}/constraint_0_power_limit_uw", str(200_000_000)


def _modes(board: Board) -> dict[str, str]:
    """Return nvpmodel's files; the board starts in the mode without a limit, or the first."""
    modes = board.profile.power.modes
    if not modes:
        return {}
    free = next((number for number, mode in enumerate(modes) if mode.watts is None), 0)
    lines = [f"< POWER_MODEL ID={number} NAME={mode.name} >" for number, mode in enumerate(modes)]
    return {
        MODES_CONF: "\n".join([*lines, f"< PM_CONFIG DEFAULT={free} >"]),
        MODES_STATUS: f"pmode:{free:04d} fmode:fan_mode_quiet",
    }
