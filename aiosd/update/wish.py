"""What one run of the updater is for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """Some experts, or those of the settings; only looking; now, whatever the hour and the line."""

    experts: tuple[str, ...] = ()
    only_check: bool = False
    anyway: bool = False
