"""The folder of a SIMULATED board: built once, then kept in step with the model's state.

Below it, `simulator/` is the experimenter's: what is written to `faults` (names, by lines),
`charger` (0 or 1), `air` (°C), `peripherals` (watts on 5 V), `busy` (cores busy beside the
watched processes) and `taken` (MiB that other programs hold) counts from the next step on.
"""

import contextlib
from collections.abc import Collection
from pathlib import Path

from aiosd.domain.power import Scope
from tools.boardsim.cell import Cell
from tools.boardsim.cgroups import Cgroups
from tools.boardsim.faults import Content, Fault, count_from, parse_faults, spoil
from tools.boardsim.furniture import (
    CPUFREQ,
    MODES_STATUS,
    clusters,
    counting_texts,
    mode_limits,
    standing_texts,
)
from tools.boardsim.instruments import BATTERY, RAPL, Instruments
from tools.boardsim.model import Limits, State, Surroundings
from tools.boardsim.shape import Board

CONTROLS = "simulator"
_NOISY = 20.0


class BoardTree:
    """The files of a board below `root`, which is made if it is not there.

    `seed` makes the instruments' noise repeatable. `faults` may be set between two `show`s.
    """

    def __init__(
        self,
        root: Path,
        board: Board,
        state: State,
        *,
        faults: Collection[Fault] = (),
        seed: int = 1,
    ) -> None:
        """Build the folder.

        Raises:
            ValueError: it is not empty and no folder of the simulator.
        """
        if root.is_dir() and any(root.iterdir()) and not (root / "SIMULATED").exists():
            raise ValueError(f"{root} is not empty, and no simulated board; name another folder")
        self.root, self.board, self.faults = root, board, frozenset(faults)
        self._instruments = Instruments(board, seed=seed, count_from=count_from(faults))
        self._standing = standing_texts(board, battery=state.battery is not None)
        self._cells: dict[str, Cell] = {}
        self._frozen: dict[str, str] = {}
        self.cgroups = Cgroups(root, memory=not board.shape.firmware)
        controls = {
            "faults": " ".join(self.faults),
            "charger": "0",
            "air": "25",
            "peripherals": "0",
            "busy": "0",
            "taken": "0",
        }
        (root / CONTROLS).mkdir(exist_ok=True)
        for name, text in controls.items():
            (root / CONTROLS / name).write_text(f"{text}\n")
        self.show(state)

    def show(self, state: State, used_bytes: int = 0) -> None:
        """Write what the board's files say in this state; `used_bytes` are held by experts."""
        self._instruments.noise = _NOISY if Fault.NOISE in self.faults else 1.0
        texts = self._standing | self._instruments.texts(state)
        texts |= counting_texts(self.board, state, used_bytes)
        self._freeze(texts)
        for path, content in spoil(self.board, texts, self.faults).items():
            self._show(path, content)

    def limits(self) -> Limits:
        """Return what was written to the files that limit the board.

        `scaling_max_freq`, the power mode of a Jetson and RAPL's long-term limit; a text that is
        no number keeps the limit away.
        """
        khz = {}
        for number, first, _ in clusters(self.board):
            written = self._number(f"{CPUFREQ.format(first=first)}/scaling_max_freq")
            if written is not None:
                khz[number] = int(written)
        watts, cores = mode_limits(self.board, self._text(MODES_STATUS))
        scoped = (self.board.profile.power.watts_scope, watts) if watts is not None else None
        micro = self._number(f"{RAPL}/constraint_0_power_limit_uw")
        if micro is not None:
            scoped = (Scope.PACKAGE, micro / 1e6)
        return Limits(khz, scoped, cores)

    def around(self) -> Surroundings:
        """Return the surroundings and take the faults that `simulator/` asks for.

        Raises:
            ValueError: `simulator/faults` names one that there is not.
        """
        self.faults = parse_faults(self._text(f"{CONTROLS}/faults"))
        air = self._number(f"{CONTROLS}/air")
        return Surroundings(
            air_celsius=25.0 if air is None else air,
            under_voltage=Fault.UNDER_VOLTAGE in self.faults,
            charger=self._number(f"{CONTROLS}/charger") == 1,
            peripheral_watts=self._number(f"{CONTROLS}/peripherals") or 0.0,
        )

    @property
    def extra_busy(self) -> float:
        """The cores that are busy beside the watched processes."""
        return self._number(f"{CONTROLS}/busy") or 0.0

    @property
    def taken_bytes(self) -> int:
        """The memory that other programs hold beside the watched processes."""
        return int((self._number(f"{CONTROLS}/taken") or 0.0) * 2**20)

    def set(self, name: str, value: str) -> None:
        """Write one of the files of `simulator/`."""
        (self.root / CONTROLS / name).write_text(f"{value}\n")

    def close(self) -> None:
        """Close the files; the folder stays."""
        for cell in self._cells.values():
            cell.close()

    def _show(self, path: str, content: Content) -> None:
        """Write one file."""
        if path not in self._cells:
            self._cells[path] = Cell(self.root / path)
        self._cells[path].show(content)

    def _freeze(self, texts: dict[str, str]) -> None:
        """Hold the battery's files where they were when the gauge got stuck."""
        if Fault.STUCK_BATTERY not in self.faults:
            self._frozen = {}
            return
        if not self._frozen:
            self._frozen = {path: text for path, text in texts.items() if path.startswith(BATTERY)}
            if self._frozen:
                self._frozen[f"{BATTERY}/status"] = "Discharging"
        texts |= self._frozen

    def _text(self, path: str) -> str:
        """Return a small file, empty if there is none."""
        with contextlib.suppress(OSError):
            return (self.root / path).read_text(encoding="ascii", errors="replace")
        return ""

    def _number(self, path: str) -> float | None:
        """Return a file's number, None if it has none."""
        with contextlib.suppress(ValueError):
            return float(self._text(path).strip("\0 \n"))
        return None
