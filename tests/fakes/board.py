"""A directory that stands for a board: the files of its kernel, with the values it is given.

Lines are re-typed from published outputs; the source is beside each. Two ways to break a file are
those of a kernel: EIO (a link to /proc/self/mem, whose first page is never mapped) and a file that
is gone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

# jfikar/RPi5-power, README: heavy load, the rails sum up to 10.80 W (name, amperes, volts).
PI_5_HEAVY = (
    ("3V7_WL_SW", "0.00000000", "3.79999600"),
    ("3V3_SYS", "0.06245952", "3.30632200"),
    ("1V8_SYS", "0.16102850", "1.79828900"),
    ("DDR_VDD2", "0.00780744", "1.10292900"),
    ("DDR_VDDQ", "0.00000000", "0.60476130"),
    ("1V1_SYS", "0.17566740", "1.10439400"),
    ("0V8_SW", "0.32791250", "0.80256330"),
    ("VDD_CORE", "10.87674000", "0.89745940"),
    ("3V3_DAC", "0.00036630", "3.30494200"),
    ("3V3_ADC", "0.00042735", "3.30219400"),
    ("0V8_AON", "0.00579975", "0.79736190"),
    ("HDMI", "0.01367520", "5.07056000"),
)
# leukipp/touchkio issue 35: light load, 3.51 W.
PI_5_LIGHT = (
    ("3V7_WL_SW", "0.12199130", "3.60605200"),
    ("3V3_SYS", "0.15224510", "3.31931300"),
    ("1V8_SYS", "0.17273960", "1.79682400"),
    ("DDR_VDD2", "0.11613570", "1.10842400"),
    ("DDR_VDDQ", "0.02941200", "0.60549390"),
    ("1V1_SYS", "0.21763240", "1.10219700"),
    ("0V8_SW", "0.50748360", "0.80146440"),
    ("VDD_CORE", "1.54489000", "0.88725180"),
    ("3V3_DAC", "0.00000000", "3.31501500"),
    ("3V3_ADC", "0.00018315", "3.31684600"),
    ("0V8_AON", "0.00390720", "0.79882700"),
    ("HDMI", "0.01709400", "4.90440000"),
)
# The converter's channels of currents and voltages, in the order above (the same dumps).
_AMPERE_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 7, 17, 18, 16, 22)
_VOLT_CHANNELS = (8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 19, 23)

# rbonghi/jetson_stats and NVIDIA's logs: how an Orin Nano Super names its modes.
NVPMODEL_CONF = """\
< PM_CONFIG DEFAULT=2 >
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
"""
CHIPS = "sys/bus/i2c/drivers/ina3221"
OLD_CHIPS = "sys/bus/i2c/drivers/ina3221x"
POWERCAP = "sys/class/powercap"
SUPPLIES = "sys/class/power_supply"
CPUFREQ = "sys/devices/system/cpu/cpufreq"


def pmic_text(rails: Sequence[tuple[str, str, str]] = PI_5_HEAVY) -> str:
    """The firmware's answer to `pmic_read_adc`."""
    currents = "".join(
        f"{name + '_A':>14} current({number})={amperes}A\n"
        for number, (name, amperes, _) in zip(_AMPERE_CHANNELS, rails, strict=False)
    )
    volts = "".join(
        f"{name + '_V':>14} volt({number})={voltage}V\n"
        for number, (name, _, voltage) in zip(_VOLT_CHANNELS, rails, strict=False)
    )
    rest = "       EXT5V_V volt(24)=5.06788000V\n        BATT_V volt(25)=3.01110800V\n"
    return currents + volts + rest


class FakeBoard:
    """The files of a board under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[str, object]) -> "FakeBoard":
        """Write files; an older one is written over in place, as the kernel does."""
        for name, value in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            path.write_text(str(value))
        return self

    def break_file(self, name: str) -> None:
        """Let a file answer with an I/O error."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to("/proc/self/mem")

    def ina3221(
        self, rails: Sequence[tuple[str, int, int]], *, chip: str = "1-0040", hwmon: str = "hwmon1"
    ) -> "FakeBoard":
        """A chip of JetPack 5 and later: (rail, mV, mA) a channel."""
        folder = f"{CHIPS}/{chip}/hwmon/{hwmon}"
        for number, (name, millivolts, milliamperes) in enumerate(rails, start=1):
            self.write(
                {
                    f"{folder}/in{number}_label": f"{name}\n",
                    f"{folder}/in{number}_enable": "1\n",
                    f"{folder}/in{number}_input": f"{millivolts}\n",
                    f"{folder}/curr{number}_input": f"{milliamperes}\n",
                    f"{folder}/shunt{number}_resistor": "5000\n",
                }
            )
        # Not a fourth rail: the driver's sum of the shunts.
        return self.write(
            {f"{folder}/in7_label": "sum of shunt voltages\n", f"{folder}/in7_input": "7\n"}
        )

    def orin_nano(self) -> "FakeBoard":
        """An Orin module: 5.397 W on VDD_IN."""
        return self.ina3221(
            [("VDD_IN", 5072, 1064), ("VDD_CPU_GPU_CV", 5072, 160), ("VDD_SOC", 5072, 280)]
        )

    def agx_orin(self) -> "FakeBoard":
        """Two chips; of the second only one channel is wired (alumet-dev/alumet issue 212)."""
        self.ina3221(
            [("VDD_GPU_SOC", 20000, 150), ("VDD_CPU_CV", 20000, 50), ("VIN_SYS_5V0", 5000, 600)]
        )
        second = [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 100), ("NC", 0, 0)]
        self.ina3221(second, chip="1-0041", hwmon="hwmon2")
        for number in (1, 3):
            self.break_file(f"{CHIPS}/1-0041/hwmon/hwmon2/in{number}_input")
        return self

    def jetpack_4(self) -> "FakeBoard":
        """A Jetson Nano with NVIDIA's old driver: 0.930 W on POM_5V_IN."""
        rails = [("POM_5V_IN", 5000, 186), ("POM_5V_GPU", 5000, 4), ("POM_5V_CPU", 5000, 40)]
        for number, (name, millivolts, milliamperes) in enumerate(rails):
            folder = f"{OLD_CHIPS}/6-0040/iio:device0"
            self.write(
                {
                    f"{folder}/rail_name_{number}": f"{name}\n",
                    f"{folder}/in_voltage{number}_input": f"{millivolts}\n",
                    f"{folder}/in_current{number}_input": f"{milliamperes}\n",
                    f"{folder}/in_power{number}_input": f"{millivolts * milliamperes // 1000}\n",
                }
            )
        return self

    def firmware(self, answers: Mapping[str, str], *, node: str = "vcio_gencmd") -> "FakeBoard":
        """A Raspberry Pi's firmware that gives these answers."""
        return self.write({f"dev/{node}/{question}": text for question, text in answers.items()})

    def rapl(self, zone: str = "intel-rapl:0", name: str = "package-0", *, count: int = 0) -> None:
        """A zone of powercap; its range is the one of prometheus/procfs' test data."""
        folder = f"{POWERCAP}/{zone}"
        self.write(
            {
                f"{folder}/name": f"{name}\n",
                f"{folder}/energy_uj": f"{count}\n",
                f"{folder}/max_energy_range_uj": "262143328850\n",
                f"{folder}/enabled": "1\n",
            }
        )

    def battery(self, name: str = "BAT0", **facts: object) -> "FakeBoard":
        """A battery; without facts the one of prometheus/procfs' test data."""
        known = {"type": "Battery", "present": 1, "status": "Discharging", "capacity": 98}
        known |= {"power_now": 4830000, "voltage_now": 12229000}
        merged = {key: value for key, value in (known | facts).items() if value is not None}
        return self.write({f"{SUPPLIES}/{name}/{key}": f"{v}\n" for key, v in merged.items()})

    def charger(self, *, online: bool, kind: str = "Mains") -> "FakeBoard":
        """A charger."""
        return self.write({f"{SUPPLIES}/AC/type": kind, f"{SUPPLIES}/AC/online": int(online)})

    def zones(self, *zones: tuple[str, object]) -> "FakeBoard":
        """Thermal zones: (type, text of temp)."""
        for index, (kind, temp) in enumerate(zones):
            folder = f"sys/class/thermal/thermal_zone{index}"
            self.write({f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{temp}\n"})
        return self

    def cpus(self, busy_ticks: Sequence[int]) -> "FakeBoard":
        """CPUs that were busy for so many ticks each, half as user and half in the kernel."""
        lines = "".join(
            f"cpu{number} {ticks // 2} 0 {ticks - ticks // 2} 1000 7 0 0 0 0 0\n"
            for number, ticks in enumerate(busy_ticks)
        )
        total = f"cpu  {sum(busy_ticks)} 0 0 4000 28 0 0 0 0 0\n"
        return self.write({"proc/stat": f"{total}{lines}intr 5 1 2\nctxt 9\n"})

    def policy(
        self,
        first: int,
        cpus: Sequence[int],
        *,
        max_khz: int,
        current_khz: int = 0,
        states: Sequence[tuple[int, int]] = (),
    ) -> "FakeBoard":
        """A cpufreq policy; `states` are (kHz, hundredths of a second)."""
        folder = f"{CPUFREQ}/policy{first}"
        files: dict[str, object] = {
            f"{folder}/related_cpus": " ".join(map(str, cpus)) + "\n",
            f"{folder}/cpuinfo_max_freq": f"{max_khz}\n",
            f"{folder}/scaling_max_freq": f"{max_khz}\n",
            f"{folder}/scaling_cur_freq": f"{current_khz or max_khz}\n",
        }
        if states:
            text = "".join(f"{khz} {ticks}\n" for khz, ticks in states)
            files[f"{folder}/stats/time_in_state"] = text
        return self.write(files)
