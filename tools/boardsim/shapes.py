"""What a simulated board is made of: facts of its profile, and our assumptions for the rest.

ASSUMED here, never measured by us: how hot a board gets and how fast, clocks between the lowest and
the highest, how a board's watts are split over its rails, and watts where no profile has any. Each
is one field below; `docs/boardsim.md` lists them with what they rest on.
"""

from pathlib import Path

from aiosd.boards.profiles import read_profiles
from tools.boardsim.shape import Board, Cluster, Rail, Shape

PROFILES = Path(__file__).resolve().parents[2] / "board-profiles"

ALIASES = {
    "zero2w": "raspberry-pi-zero-2-w",
    "rpi-zero-2-w": "raspberry-pi-zero-2-w",
    "rpi3": "raspberry-pi-3",
    "rpi4": "raspberry-pi-4",
    "rpi5": "raspberry-pi-5",
    "nano": "jetson-nano",
    "xavier-nx": "jetson-xavier-nx",
    "orin-nano": "jetson-orin-nano",
    "orin-nx": "jetson-orin-nx",
    "agx-orin": "jetson-agx-orin",
    "rock5b": "rk3588",
    "beagleplay": "am625",
    "coral": "imx8mq",
    "imx8mp": "imx8m-plus",
    "n100": "x86-n100",
}


def find_board(name: str, profiles: Path = PROFILES) -> Board:
    """Return the board of a profile's name or one of `ALIASES`.

    Raises:
        ValueError: there is no such board (with those that there are).
        ConfigError: its profile is wrong.
    """
    wanted = ALIASES.get(name, name)
    found = read_profiles([profiles])
    if wanted not in SHAPES or wanted not in found:
        known = ", ".join(sorted(SHAPES))
        raise ValueError(
            f"no board {name!r}; there are {known}, and for short {', '.join(ALIASES)}"
        )
    return Board(SHAPES[wanted], found[wanted])


def _steps(low: int, high: int, count: int) -> tuple[int, ...]:
    """Return evenly spread clocks in kHz; the ends in MHz."""
    return tuple(round((low + (high - low) * i / (count - 1)) * 1000) for i in range(count))


_ORIN_ZONES = ("cpu-thermal", "gpu-thermal", "soc0-thermal", "soc1-thermal", "soc2-thermal")
_ORIN_DEAD = ("cv0-thermal", "cv1-thermal", "cv2-thermal")
_ORIN_RAILS = (
    Rail("VDD_IN", 1.0, 1.0, channel=1),
    Rail("VDD_CPU_GPU_CV", 0.15, 0.80, channel=2),
    Rail("VDD_SOC", 0.35, 0.10, channel=3),
)
# Shares of idle as in a published dump of 12 rails (leukipp/touchkio issue 35); load goes to the
# cores, as a second dump under load shows (jfikar/RPi5-power).
_PMIC_RAILS = (
    Rail("3V7_WL_SW", 0.125, 0.0, 3.6),
    Rail("3V3_SYS", 0.144, 0.0, 3.31),
    Rail("1V8_SYS", 0.088, 0.0, 1.797),
    Rail("DDR_VDD2", 0.037, 0.01, 1.106),
    Rail("DDR_VDDQ", 0.005, 0.0, 0.605),
    Rail("1V1_SYS", 0.068, 0.0, 1.103),
    Rail("0V8_SW", 0.116, 0.02, 0.802),
    Rail("VDD_CORE", 0.390, 0.97, 0.89),
    Rail("3V3_DAC", 0.0001, 0.0, 3.31),
    Rail("3V3_ADC", 0.0003, 0.0, 3.31),
    Rail("0V8_AON", 0.0009, 0.0, 0.798),
    Rail("HDMI", 0.0247, 0.0, 4.95),
)


SHAPES = {
    shape.profile: shape
    for shape in (
        Shape(
            "raspberry-pi-zero-2-w",
            "Raspberry Pi Zero 2 W Rev 1.0",
            ("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
            (Cluster(4, _steps(600, 1000, 5), "0xd03"),),
            0.5,
            78.0,
            firmware=True,
            heat_seconds=120.0,
        ),
        Shape(
            "raspberry-pi-3",
            "Raspberry Pi 3 Model B Plus Rev 1.3",
            ("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
            (Cluster(4, _steps(600, 1400, 9), "0xd03"),),
            1.0,
            82.0,
            firmware=True,
            soft_khz=1_200_000,
        ),
        Shape(
            "raspberry-pi-4",
            "Raspberry Pi 4 Model B Rev 1.2",
            ("raspberrypi,4-model-b", "brcm,bcm2711"),
            (Cluster(4, _steps(600, 1800, 13), "0xd08"),),
            4.0,
            86.0,
            firmware=True,
        ),
        Shape(
            "raspberry-pi-5",
            "Raspberry Pi 5 Model B Rev 1.0",
            ("raspberrypi,5-model-b", "brcm,bcm2712"),
            (Cluster(4, _steps(1500, 2400, 10), "0xd0b"),),
            8.0,
            95.0,
            firmware=True,
            kind="rpi-pmic",
            rails=_PMIC_RAILS,
        ),
        Shape(
            "jetson-nano",
            "NVIDIA Jetson Nano Developer Kit",
            ("nvidia,p3450-0000", "nvidia,tegra210"),
            (Cluster(4, _steps(102, 1479, 14), "0xd07"),),
            4.0,
            68.0,
            kind="ina3221x",
            bus="6",
            rails=(
                Rail("POM_5V_IN", 1.0, 1.0, channel=1),
                Rail("POM_5V_GPU", 0.04, 0.0, channel=2),
                Rail("POM_5V_CPU", 0.2, 0.85, channel=3),
            ),
            module_share=0.84,
            zones=("CPU-therm", "GPU-therm", "PLL-therm", "AO-therm"),
        ),
        Shape(
            "jetson-xavier-nx",
            "NVIDIA Jetson Xavier NX Developer Kit",
            ("nvidia,p3509-0000+p3668-0000", "nvidia,p3668-0000", "nvidia,tegra194"),
            tuple(Cluster(2, _steps(115, 1907, 16), "0x004") for _ in range(3)),
            8.0,
            68.0,
            watts=(3.5, 15.0),
            kind="ina3221",
            bus="7",
            rails=_ORIN_RAILS,
            module_share=0.84,
            zones=("CPU-therm", "GPU-therm", "AUX-therm", "AO-therm"),
        ),
        Shape(
            "jetson-orin-nano",
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            (
                "nvidia,p3768-0000+p3767-0005-super",
                "nvidia,p3767-0005",
                "nvidia,tegra234",
            ),
            (
                Cluster(4, _steps(115, 1728, 15), "0xd42"),
                Cluster(2, _steps(115, 1728, 15), "0xd42"),
            ),
            8.0,
            72.0,
            kind="ina3221",
            rails=_ORIN_RAILS,
            module_share=0.84,
            zones=(*_ORIN_ZONES, "tj-thermal"),
            dead_zones=_ORIN_DEAD,
        ),
        Shape(
            "jetson-orin-nx",
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
            ("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
            tuple(Cluster(4, _steps(115, 1984, 17), "0xd42") for _ in range(2)),
            16.0,
            72.0,
            watts=(4.0, 29.0),
            kind="ina3221",
            rails=_ORIN_RAILS,
            module_share=0.84,
            zones=(*_ORIN_ZONES, "tj-thermal"),
            dead_zones=_ORIN_DEAD,
        ),
        Shape(
            "jetson-agx-orin",
            "NVIDIA Jetson AGX Orin Developer Kit",
            (
                "nvidia,p3737-0000+p3701-0005",
                "nvidia,p3701-0005",
                "nvidia,tegra234",
                "nvidia,tegra23x",
            ),
            tuple(Cluster(4, _steps(115, 2202, 18), "0xd42") for _ in range(3)),
            64.0,
            70.0,
            heat_seconds=300.0,
            watts=(9.0, 40.0),
            kind="ina3221",
            rails=(
                Rail("VDD_GPU_SOC", 0.35, 0.05, 19.0, channel=1),
                Rail("VDD_CPU_CV", 0.10, 0.80, 19.0, channel=2),
                Rail("VIN_SYS_5V0", 0.40, 0.05, 5.0, channel=3),
                Rail("VDDQ_VDD2_1V8AO", 0.15, 0.10, 5.0, "0041", 2),
            ),
            module_share=0.84,
            zones=(*_ORIN_ZONES, "tj-thermal"),
            dead_zones=_ORIN_DEAD,
        ),
        Shape(
            "rk3566",
            "Radxa ZERO 3W",
            ("radxa,zero-3w", "rockchip,rk3566"),
            (Cluster(4, (408_000, 600_000, 816_000, 1_104_000, 1_416_000, 1_800_000), "0xd05"),),
            2.0,
            78.0,
        ),
        Shape(
            "rk3588",
            "Radxa ROCK 5B",
            ("radxa,rock-5b", "rockchip,rk3588"),
            (
                Cluster(4, _steps(408, 1800, 8), "0xd05", 530, 0.25),
                Cluster(2, _steps(408, 2400, 11), "0xd0b", 1024),
                Cluster(2, _steps(408, 2400, 11), "0xd0b", 1024),
            ),
            8.0,
            82.0,
        ),
        Shape(
            "am625",
            "BeagleBoard.org BeaglePlay",
            ("beagle,am625-beagleplay", "ti,am625"),
            (Cluster(4, (200_000, 400_000, 600_000, 800_000, 1_000_000, 1_250_000), "0xd03"),),
            2.0,
            70.0,
            watts=(1.5, 3.0),
        ),
        Shape(
            "imx8mq",
            "Google i.MX8MQ Phanbell",
            ("google,imx8mq-phanbell", "fsl,imx8mq"),
            (Cluster(4, (1_000_000, 1_500_000), "0xd03"),),
            1.0,
            75.0,
            watts=(2.6, 4.5),
        ),
        Shape(
            "imx8m-plus",
            "NXP i.MX8MPlus EVK board",
            ("fsl,imx8mp-evk", "fsl,imx8mp"),
            (Cluster(4, (1_200_000, 1_600_000, 1_800_000), "0xd03"),),
            6.0,
            72.0,
            watts=(4.4, 6.0),
        ),
        Shape(
            "x86-n100",
            "",
            (),
            tuple(Cluster(1, _steps(700, 3400, 28), "") for _ in range(4)),
            8.0,
            80.0,
            kind="rapl",
            package=(0.85, -5.0),
            cpu_model="Intel(R) N100",
        ),
        Shape(
            "generic",
            "",
            (),
            tuple(Cluster(1, _steps(800, 2400, 17), "") for _ in range(4)),
            4.0,
            75.0,
            watts=(6.0, 20.0),
            kind="rapl",
            package=(0.85, -3.0),
            zones=("x86_pkg_temp", "acpitz"),
            cpu_model="Simulated generic x86-64 processor",
        ),
    )
}
