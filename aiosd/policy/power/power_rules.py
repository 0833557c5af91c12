"""What an owner and the board's profile may set of the power policy."""

from dataclasses import dataclass, field

from aiosd.domain.board import BatteryRules, BoardProfile, HeatRules
from aiosd.domain.power import Scope


@dataclass(frozen=True)
class PowerRules:
    """The bounds of the policy; watts are of the meter's scope, times in seconds.

    `cap_watts` is the owner's cap, `bucket_joules` what requests may take in any
    `bucket_seconds`; None is no bound. `reserve_share` of the battery is kept until
    `battery_seconds` after the charger was unplugged. `battery_joules` is what a full battery
    holds, learnt where it is None. `idle_watts` and `load_watts` are the profile's, for as long as
    nothing better is known. `lasting` says whether a battery is made to last that long at all.
    """

    cap_watts: float | None = None
    bucket_joules: float | None = None
    bucket_seconds: float = 3600.0
    window_seconds: float = 5.0
    threads: int = 4
    idle_watts: float | None = None
    load_watts: float | None = None
    heat: HeatRules = field(default_factory=HeatRules)
    battery: BatteryRules = field(default_factory=BatteryRules)
    reserve_share: float = 0.2
    battery_seconds: float = 86400.0
    battery_joules: float | None = None
    lasting: bool = True
    heat_hysteresis_celsius: float = 3.0
    share_hysteresis: float = 0.03
    under_voltage_factor: float = 0.6
    throttled_factor: float = 0.8
    supply_hold_seconds: float = 30.0
    patience_seconds: float = 30.0

    @classmethod
    def of(
        cls, profile: BoardProfile, cap_watts: float | None = None, scope: Scope | None = None
    ) -> "PowerRules":
        """Return the rules of a board's profile, with the owner's cap.

        `scope` is the meter's: figures of the profile that are of another scope are none.
        """
        power = profile.power
        alike = scope is None or scope is power.watts_scope
        return cls(
            cap_watts=cap_watts,
            window_seconds=power.window_seconds,
            threads=profile.threads,
            idle_watts=power.idle_watts if alike else None,
            load_watts=power.load_watts if alike else None,
            heat=profile.heat,
            battery=profile.battery,
        )
