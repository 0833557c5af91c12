"""What is known of a board's energy when the daemon stops, as it is kept in the state folder."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AtLeastZero = Annotated[float, Meta(ge=0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: frozen, and an unknown key makes it another release's."""


class FitRecord(_Table, frozen=True, kw_only=True):
    """The sums of an expert's fit (`policy/energy/energy_fit.py`), and the package they are of.

    c is CPU seconds, u units, y joules; `square` and `weight` are of the residuals.
    """

    package: str
    cc: AtLeastZero
    cu: AtLeastZero
    uu: AtLeastZero
    cy: float
    uy: float
    square: AtLeastZero
    weight: AtLeastZero
    cpu: AtLeastZero
    units: AtLeastZero
    count: Annotated[int, Meta(ge=0)]


class IdleRecord(_Table, frozen=True, kw_only=True):
    """The idle of one power mode, and one standard deviation of it."""

    watts: AtLeastZero
    sigma: AtLeastZero


class ExpertRecord(_Table, frozen=True, kw_only=True):
    """The sums of one expert."""

    request_joules: float
    resident_joules: float
    requests: Annotated[int, Meta(ge=0)]
    cpu_seconds: AtLeastZero
    units: AtLeastZero


class EnergyRecord(_Table, frozen=True, kw_only=True):
    """The whole file.

    `board` and `meter` say what it was measured on and with: it is of no use with another. `since`
    is when the sums were begun, in Unix seconds.
    """

    version: Literal[1] = 1
    board: str
    meter: str
    since: float
    meter_joules: float
    idle_joules: float
    other_joules: float
    gap_seconds: AtLeastZero
    idle: dict[str, IdleRecord]
    fits: dict[str, FitRecord]
    experts: dict[str, ExpertRecord]
    clients: dict[str, float]
