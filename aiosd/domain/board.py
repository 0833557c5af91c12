"""What a board is: the machine as it was found, and the profile its owner or we wrote for it."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Watts = Annotated[float, Meta(gt=0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a board profile: frozen, and an unknown key is an error."""


class RamShare(_Table, frozen=True, kw_only=True):
    """How much of the board's RAM experts may have when the settings do not say.

    The smaller of `share` of all RAM and of what is left when `reserve_bytes` are kept for the
    system; both are taken of MemTotal, never of what a board is sold with.
    """

    share: Annotated[float, Meta(gt=0.0, le=0.95)] = 0.6
    reserve_bytes: Annotated[int, Meta(ge=0)] = 268_435_456


class BoardFacts(_Table, frozen=True, kw_only=True):
    """What is known of a board and shown to its owner; no decision is taken from it yet.

    `thermal_zones` are types as /sys/class/thermal has them, never indices, which change.
    `meter` names the instrument that measures power and `rails` what it measures; `total_rails`
    are those whose sum is the whole of `rails_scope` (empty: no total is known). `watts_scope`
    says of what the two figures are. An unknown figure is absent.
    """

    cores: Annotated[int, Meta(ge=1)] | None = None
    isa: list[str] = msgspec.field(default_factory=list)
    thermal_zones: list[str] = msgspec.field(default_factory=list)
    meter: str = "none"
    rails: list[str] = msgspec.field(default_factory=list)
    total_rails: list[str] = msgspec.field(default_factory=list)
    rails_scope: Literal["", "board", "module", "package"] = ""
    watts_scope: Literal["board", "module"] = "board"
    idle_watts: Watts | None = None
    load_watts: Watts | None = None


class BoardProfile(_Table, frozen=True, kw_only=True):
    """The whole of one file of `board-profiles/`.

    `compatible` holds exact entries of a device tree's list, boards before their SoC; `cpu_models`
    exact "model name"s of /proc/cpuinfo for machines without a device tree. `hosts` says whether
    an engine host per engine stays resident (fast loads) or each worker is a fresh interpreter
    (least RAM). `threads` is the most an expert gets.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    summary: str
    compatible: list[str] = msgspec.field(default_factory=list)
    cpu_models: list[str] = msgspec.field(default_factory=list)
    hosts: bool = True
    threads: Annotated[int, Meta(ge=1, le=64)] = 4
    ram: RamShare = RamShare()
    facts: BoardFacts = BoardFacts()


@dataclass(frozen=True)
class Machine:
    """This machine as its kernel and interpreter describe it.

    `cores` are those this process may run on. `isa` holds the kernel's names of CPU features that
    every core has. `word_bits` is the interpreter's, which may be less than the kernel's.
    """

    ram_bytes: int
    cores: int
    isa: frozenset[str]
    architecture: str
    kernel: str
    cpu_model: str
    board_model: str
    word_bits: int

    def lacks(self, isa: list[str]) -> list[str]:
        """Return the CPU features of `isa` that this machine has not, in their order."""
        return [feature for feature in isa if feature not in self.isa]
