"""Starts the board in QEMU, shows what it says, and tells whether all checks held."""

import subprocess
import sys
import threading
from pathlib import Path

from tools.board_vm.build import DISK, INITRD, KERNEL, NeedError, need

# What on_board.py says last.
FINE, WRONG = "board: all checks held", "board: checks failed"

# The processor of a Raspberry Pi 4.
MACHINE = ("-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1536")
QUIET = ("-nographic", "-nic", "none", "-no-reboot")
LINE = "console=ttyAMA0 panic=1 quiet systemd.show_status=0"


def boot(folder: Path, seconds: float) -> int:
    """Return 0 if all checks held, 1 if one did not, 2 if the board never came so far.

    Raises:
        NeedError: the emulator is missing, or the board was never built.
    """
    need({"qemu-system-aarch64": "qemu-system-arm"})
    disk = folder / DISK
    if not disk.exists():
        raise NeedError(f"{disk} is not there: first python -m tools.board_vm build {folder}")
    drive = ["-drive", f"file={disk},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d"]
    start = ["-kernel", str(folder / KERNEL), "-initrd", str(folder / INITRD), "-append", LINE]
    said = ""
    with subprocess.Popen(
        ["qemu-system-aarch64", *MACHINE, *QUIET, *start, *drive],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as machine:
        limit = threading.Timer(seconds, machine.kill)
        limit.start()
        for line in machine.stdout or ():
            sys.stdout.write(line.replace("\r", ""))
            sys.stdout.flush()
            said = next((word for word in (FINE, WRONG) if word in line), said)
        limit.cancel()
    if not said:
        print(f"board: no verdict within {seconds / 60:.0f} minutes", file=sys.stderr)
        return 2
    return 0 if said == FINE else 1
