"""The parts that a simulated board is put together from, and a board: a shape and its profile."""

from dataclasses import dataclass, field

from aiosd.domain.board import BoardProfile
from aiosd.domain.power import Scope


@dataclass(frozen=True)
class Cluster:
    """CPUs with one clock: how many, their clocks in kHz, ARM's part number, capacity, watts.

    `capacity` is the kernel's (0: the file is missing); `weight` is the assumed power of one of its
    cores at full clock beside the board's largest.
    """

    cores: int
    khz: tuple[int, ...]
    part: str
    capacity: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class Rail:
    """A rail: the assumed share of the metered idle and of what load adds, and where it is read.

    `chip` is the INA3221's address and `channel` its 1 to 3; both are unused on other instruments.
    """

    name: str
    idle_share: float
    load_share: float
    volts: float = 5.0
    chip: str = "0040"
    channel: int = 1


@dataclass(frozen=True)
class Shape:
    """A board as the simulator builds it.

    `watts` (idle, load) stand in where the profile has none, in the profile's `watts_scope`.
    `load_celsius` is where full load would settle in 25 °C air without any throttling, and
    `heat_seconds` the time constant to get there. `module_share` is the module's part of the
    board's watts; `package` leads from the board's watts to the processor package's (scale,
    offset). `zones` are the thermal zones of this kernel, the die first (empty: the profile's);
    `dead_zones` read -256 °C. `kind` chooses the instrument: rpi-pmic, ina3221, ina3221x, rapl or
    none.
    `firmware` makes it a Raspberry Pi with the stock system: the firmware answers questions, and
    there is neither pressure nor a memory cgroup. `soft_khz` is the lowest clock that heat leaves
    between the soft and the hard limit (0: no such floor).
    """

    profile: str
    model: str
    compatible: tuple[str, ...]
    clusters: tuple[Cluster, ...]
    ram_gib: float
    load_celsius: float
    heat_seconds: float = 180.0
    watts: tuple[float, float] | None = None
    kind: str = "none"
    bus: str = "1"
    rails: tuple[Rail, ...] = ()
    module_share: float = 1.0
    package: tuple[float, float] | None = None
    zones: tuple[str, ...] = ()
    dead_zones: tuple[str, ...] = ()
    firmware: bool = False
    soft_khz: int = 0
    cpu_model: str = ""

    @property
    def cores(self) -> int:
        """How many CPUs it has."""
        return sum(cluster.cores for cluster in self.clusters)


@dataclass(frozen=True)
class Board:
    """A shape and its profile, with the figures that the two agree on."""

    shape: Shape
    profile: BoardProfile
    soft_celsius: float = field(init=False)
    hard_celsius: float = field(init=False)

    def __post_init__(self) -> None:
        """Take the lowest limits of the profile's zones; 95 and 105 °C are assumed without any."""
        zones = self.profile.heat.zones
        soft = [zone.soft_celsius for zone in zones if zone.soft_celsius is not None]
        hard = [zone.hard_celsius for zone in zones if zone.hard_celsius is not None]
        object.__setattr__(self, "soft_celsius", min(soft, default=95.0))
        object.__setattr__(self, "hard_celsius", min(hard, default=105.0))

    @property
    def idle_load_watts(self) -> tuple[float, float]:
        """Idle and load watts in the profile's `watts_scope`: published, or else assumed."""
        power = self.profile.power
        if power.idle_watts is not None and power.load_watts is not None:
            return power.idle_watts, power.load_watts
        if self.shape.watts is None:
            raise ValueError(f"{self.shape.profile}: neither profile nor shape has watts")
        return self.shape.watts

    @property
    def watts_assumed(self) -> bool:
        """Whether the watts are an assumption of the simulator, not the profile's figures."""
        return self.profile.power.idle_watts is None

    @property
    def zones(self) -> tuple[str, ...]:
        """The thermal zones that read something."""
        return self.shape.zones or tuple(zone.type for zone in self.profile.heat.zones)

    def convert(self, watts: float) -> dict[Scope, float]:
        """Return the watts of each scope, from watts in the profile's `watts_scope`."""
        shape, native = self.shape, self.profile.power.watts_scope
        board = watts / shape.module_share if native is Scope.MODULE else watts
        scopes = {Scope.BOARD: board}
        if shape.module_share < 1 or native is Scope.MODULE:
            scopes[Scope.MODULE] = board * shape.module_share
        if shape.package:
            scopes[Scope.PACKAGE] = max(0.0, shape.package[0] * board + shape.package[1])
        if self.profile.power.scope is Scope.RAILS:
            scopes[Scope.RAILS] = scopes.get(Scope.MODULE, board) * _LISTED_RAILS
        return scopes


# Of an AGX Orin's module, what its listed rails carry; the rest is converters' loss.
_LISTED_RAILS = 0.9
