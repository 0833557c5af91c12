"""What the SIMULATED board's instruments show of the truth: their steps, gain, noise and gaps.

Pure: a state in, the texts of files out, by their path below the board's root.

ASSUMED: every reading has noise of `NOISE` (one standard deviation), and this copy of an INA3221
reads `GAIN` too much; the firmware's converters fluctuate by `PMIC_NOISE`.
"""

import random
from collections.abc import Iterator

from aiosd.domain.power import Scope
from tools.boardsim.model import State
from tools.boardsim.shape import Board, Rail

NOISE, GAIN, PMIC_NOISE = 0.003, 1.01, 0.03
# INA3221 (TI SBOS576): 8 mV a step of the bus, 40 µV of a 5 mΩ shunt. Together 40 mW at 5 V.
_VOLT_STEP, _AMPERE_STEP, _SHUNT_MICROOHM = 0.008, 0.008, 5000
_PMIC_STEP = 61.05e-6
# RAPL counts in units of 2^-14 J, and begins again here (prometheus/procfs, a real machine's).
_RAPL_STEP_MICRO = 1e6 / 2**14
RAPL_RANGE_MICRO = 262_143_328_850
_SUPPLY_VOLTS, _SAGGING_VOLTS = 5.1, 4.5
_CELL_EMPTY, _CELL_FULL = 3.4, 4.2

INA = "sys/bus/i2c/drivers/ina3221/{bus}-{chip}/hwmon/hwmon{number}"
OLD_INA = "sys/bus/i2c/drivers/ina3221x/{bus}-{chip}/iio:device0"
RAPL = "sys/class/powercap/intel-rapl:0"
MAILBOX = "dev/vcio_gencmd"
BATTERY, CHARGER = "sys/class/power_supply/BAT0", "sys/class/power_supply/AC"


class Instruments:
    """All instruments of one board; `seed` makes their noise repeatable, `noise` scales it.

    `count_from` is where the RAPL counter stands at the start, in µJ.
    """

    def __init__(self, board: Board, *, seed: int = 1, count_from: int = 0) -> None:
        """Take the board."""
        self._board = board
        self._random = random.Random(seed)  # noqa: S311 - noise, no secret
        self._count_from = count_from
        self.noise = 1.0

    def texts(self, state: State) -> dict[str, str]:
        """Return each file that changes, with its text now."""
        texts = dict(self._zones(state))
        kind = self._board.shape.kind
        if kind in {"ina3221", "ina3221x"}:
            for rail in self._board.shape.rails:
                texts |= self._ina(rail, state)
        elif kind == "rpi-pmic":
            texts[f"{MAILBOX}/pmic_read_adc"] = self._pmic(state)
        elif kind == "rapl":
            micro = state.joules[Scope.PACKAGE] * 1e6 + self._count_from
            count = int(micro // _RAPL_STEP_MICRO * _RAPL_STEP_MICRO) % RAPL_RANGE_MICRO
            texts[f"{RAPL}/energy_uj"] = str(count)
        if self._board.shape.firmware:
            texts[f"{MAILBOX}/get_throttled"] = throttled_text(self._board, state)
        return texts | dict(self._battery(state))

    def _noisy(self, value: float, share: float = NOISE) -> float:
        """Return a value with noise."""
        return value * (1 + self._random.gauss(0, share * self.noise))

    def _metered(self, state: State) -> float:
        """Return the watts of what the instrument covers, the whole board's without its own."""
        scope = self._board.profile.power.scope
        return state.watts.get(scope, state.watts[Scope.BOARD])

    def _split(self, total: float, load_share: float, rail: Rail) -> float:
        """Return a rail's part of the metered watts."""
        return total * ((1 - load_share) * rail.idle_share + load_share * rail.load_share)

    def _ina(self, rail: Rail, state: State) -> dict[str, str]:
        """Return the files of one channel."""
        watts = self._split(self._metered(state), state.load_share, rail)
        # The supply sags a little, so that the voltage moves as well.
        volts = rail.volts * (1 - 0.002 * watts / rail.volts)
        amperes = self._noisy(GAIN * watts / volts)
        shown = round(round(volts / _VOLT_STEP) * _VOLT_STEP * 1000)
        milliamperes = round(round(max(0.0, amperes) / _AMPERE_STEP) * _AMPERE_STEP * 1000)
        place = ina_folder(self._board, rail)
        if self._board.shape.kind == "ina3221x":
            number = rail.channel - 1
            return {
                f"{place}/in_voltage{number}_input": str(shown),
                f"{place}/in_current{number}_input": str(milliamperes),
                f"{place}/in_power{number}_input": str(shown * milliamperes // 1000),
            }
        return {
            f"{place}/in{rail.channel}_input": str(shown),
            f"{place}/curr{rail.channel}_input": str(milliamperes),
        }

    def _pmic(self, state: State) -> str:
        """Return the firmware's table; what hangs on 5 V is not in it."""
        correction = self._board.profile.power.correction
        hidden = self._hidden_watts(state)
        board = state.watts[Scope.BOARD] - hidden
        total = board
        if correction:
            total = max(0.1, (board - correction.offset_watts) / correction.scale)
        amperes, volts = [], []
        for number, rail in enumerate(self._board.shape.rails):
            share = self._split(1.0, state.load_share, rail)
            current = self._noisy(total * share / rail.volts, PMIC_NOISE)
            current = round(max(0.0, current) / _PMIC_STEP) * _PMIC_STEP
            amperes.append(f"{rail.name + '_A':>12} current({number})={current:.8f}A")
            volts.append(f"{rail.name + '_V':>12} volt({number + 8})={rail.volts:.8f}V")
        supply = _SAGGING_VOLTS if state.under_voltage else _SUPPLY_VOLTS
        volts.append(f"{'EXT5V_V':>12} volt(24)={self._noisy(supply, 0.001):.8f}V")
        volts.append(f"{'BATT_V':>12} volt(25)={self._noisy(3.0, 0.001):.8f}V")
        return "\n".join([*amperes, *volts])

    def _hidden_watts(self, state: State) -> float:
        """Return what the power chip does not supply."""
        return state.peripheral_watts

    def _zones(self, state: State) -> Iterator[tuple[str, str]]:
        """Yield the thermal zones: the first is the die, the others somewhat cooler."""
        shape = self._board.shape
        for number in range(len(self._board.zones)):
            spread = min(number, 4) * 0.15 * (state.celsius - state.board_celsius)
            celsius = state.celsius - spread + self._random.gauss(0, 0.05 * self.noise)
            yield f"{zone_folder(number)}/temp", str(round(celsius * 1000 / 50) * 50)
        for number in range(len(shape.dead_zones)):
            yield f"{zone_folder(len(self._board.zones) + number)}/temp", "-256000"

    def _battery(self, state: State) -> Iterator[tuple[str, str]]:
        """Yield the battery and its charger, if there is one."""
        share = state.battery
        if share is None:
            return
        status = "Charging" if state.charger else "Discharging"
        if state.charger and share >= 1:
            status = "Full"
        volts = _CELL_EMPTY + (_CELL_FULL - _CELL_EMPTY) * share
        # Gauges average; a board's swings are not seen in full.
        watts = abs(self._noisy(state.battery_watts))
        yield f"{BATTERY}/status", status
        yield f"{BATTERY}/capacity", str(round(share * 100))
        yield f"{BATTERY}/voltage_now", str(round(volts * 1e6))
        yield f"{BATTERY}/power_now", str(round(watts * 1e3) * 1000)
        yield f"{CHARGER}/online", str(int(state.charger))


def ina_folder(board: Board, rail: Rail) -> str:
    """Return where a rail's INA3221 is; its hwmon number means nothing, as on a real board."""
    pattern = OLD_INA if board.shape.kind == "ina3221x" else INA
    number = 1 if rail.chip == "0040" else 2
    return pattern.format(bus=board.shape.bus, chip=rail.chip, number=number)


def zone_folder(number: int) -> str:
    """Return where a thermal zone is."""
    return f"sys/class/thermal/thermal_zone{number}"


def throttled_text(board: Board, state: State) -> str:
    """Return the firmware's bits (raspberrypi/utils, vcgencmd.1).

    Heat below 80 °C sets the soft limit's bit, above it those of the capped and throttled clock.
    """
    hot = state.throttled and board.soft_celsius >= 80
    soft = state.throttled and not hot
    had_hot = state.had_throttled and board.soft_celsius >= 80
    now = (state.under_voltage, hot or state.under_voltage, hot, soft)
    past = (
        state.had_under_voltage,
        had_hot or state.had_under_voltage,
        had_hot,
        state.had_throttled and not had_hot,
    )
    if not board.profile.power.under_voltage_detector:
        now, past = (False, hot, hot, soft), (False, had_hot, had_hot, past[3])
    bits = sum(bit << place for place, bit in enumerate(now))
    bits |= sum(bit << place + 16 for place, bit in enumerate(past))
    return f"throttled={bits:#x}"
