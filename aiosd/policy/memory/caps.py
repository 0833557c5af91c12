"""How much RAM all experts together may have, and why."""

from dataclasses import dataclass

from aiosd.domain.board import BoardProfile, Machine
from aiosd.domain.reading import CgroupLimits

# What the daemon itself may take (its tested budget is 50 MB), of a limit that covers both.
DAEMON_BYTES = 50_000_000


@dataclass(frozen=True)
class RamCap:
    """The cap in bytes, and one sentence on where it comes from."""

    cap_bytes: int
    reason: str


def ram_cap(
    profile: BoardProfile, machine: Machine, cgroup: CgroupLimits, setting: int | None = None
) -> RamCap:
    """Decide the RAM cap of all experts together.

    The owner's `setting` (bytes) goes before the profile's rule. Neither is given more than the
    machine has, nor more than the tightest cgroup limit leaves beside the daemon: a larger cap
    would end in the kernel killing a worker instead of the daemon refusing it. Never negative.
    """
    wanted = _setting(setting) if setting is not None else _rule(profile, machine)
    bounds = [RamCap(machine.ram_bytes, f"all RAM of this machine ({_mb(machine.ram_bytes)})")]
    tightest = cgroup.tightest
    if tightest is not None:
        bounds.append(
            RamCap(
                max(0, tightest.limit_bytes - DAEMON_BYTES),
                f"the cgroup limit {tightest.path} ({_mb(tightest.limit_bytes)}) "
                f"less {_mb(DAEMON_BYTES)} for the daemon",
            )
        )
    bound = min(bounds, key=lambda each: each.cap_bytes)
    if wanted.cap_bytes <= bound.cap_bytes:
        return wanted
    return RamCap(bound.cap_bytes, f"{bound.reason}, which is less than {wanted.reason}")


def _setting(setting: int) -> RamCap:
    """Return the owner's cap."""
    return RamCap(max(0, setting), f"the setting ({_mb(max(0, setting))})")


def _rule(profile: BoardProfile, machine: Machine) -> RamCap:
    """Return what the profile allows on a machine of that size: the smaller of its two rules."""
    by_share = int(machine.ram_bytes * profile.ram.share)
    by_reserve = max(0, machine.ram_bytes - profile.ram.reserve_bytes)
    if by_share <= by_reserve:
        return RamCap(
            by_share,
            f"profile {profile.name}: {profile.ram.share:.0%} of {_mb(machine.ram_bytes)}",
        )
    return RamCap(
        by_reserve,
        f"profile {profile.name}: {_mb(machine.ram_bytes)} "
        f"less {_mb(profile.ram.reserve_bytes)} for the system",
    )


def _mb(count: int) -> str:
    """Write bytes as whole megabytes (10^6)."""
    return f"{count // 1_000_000} MB"
