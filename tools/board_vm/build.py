"""Puts an arm64 Debian together on another machine: Debian's packages, and wheels for aarch64."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.environment import LLAMA, LLAMA_FLAGS

ROOT = Path(__file__).resolve().parents[2]
DISK, KERNEL, INITRD = "disk.img", "vmlinuz", "initrd.gz"
DISK_BYTES = 3 * 2**30
SUITE = "bookworm"
PACKAGES = "systemd systemd-sysv udev dbus kmod python3 python3-venv procps libgomp1 busybox-static"
# To reach the disk; in this order.
MODULES = (
    "virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 mbcache jbd2 "
    "crc32c_generic libcrc32c ext4"
)
EXTRAS = "litert,llama,image,update"
HOST_PROGRAMS = {
    "debootstrap": "debootstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu gcc-aarch64-linux-gnu",
}
REGISTERED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for each in {modules}; do insmod /mods/$each.ko; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 20 ]; do sleep 1; tries=$((tries + 1)); done
mount -t ext4 /dev/vda /root || exec sh
umount /proc /sys
exec switch_root /root /lib/systemd/systemd
"""
CHECK_UNIT = """[Unit]
After=dbus.service sockets.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /root/on_board.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyAMA0
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""
INSTALL = f"""set -e
python3 -m venv /opt/aiosd
/opt/aiosd/bin/pip install -q --no-index --find-links /root/wheels --no-compile 'aiosd[{EXTRAS}]'
rm -r /root/wheels
"""


class NeedError(Exception):
    """Something that this needs is not here; the text says how to get it."""


def need(programs: Mapping[str, str]) -> None:
    """See that programs are there, each with the Debian package that has it.

    Raises:
        NeedError: one is not.
    """
    missing = [package for name, package in programs.items() if shutil.which(name) is None]
    if missing:
        raise NeedError("missing; on Debian: sudo apt install " + " ".join(missing))


def build(folder: Path) -> None:
    """Make the board's disk, kernel and first file system in `folder`.

    Raises:
        NeedError: a program or a right is missing.
        CalledProcessError: a step failed; what it said was shown.
    """
    need(HOST_PROGRAMS)
    if os.geteuid() != 0:
        raise NeedError("a system of another architecture is put together as root: use sudo")
    if not REGISTERED.exists():
        raise NeedError(
            "the kernel does not start programs for arm64: systemctl restart systemd-binfmt, or "
            "mount binfmt_misc and register /usr/lib/binfmt.d/qemu-aarch64.conf"
        )
    system = folder / "system"
    if not (system / "root" / "done").exists():
        _step("a Debian for arm64 (some minutes)")
        _make_system(system)
    _step("its kernel")
    _take_kernel(system, folder)
    _step("wheels (llama-cpp-python is compiled: some minutes)")
    _gather_wheels(folder / "wheels")
    shutil.copytree(folder / "wheels", system / "root" / "wheels", dirs_exist_ok=True)
    _step("aiosd, as systemd/README.md says")
    shutil.rmtree(system / "opt" / "aiosd", ignore_errors=True)
    _in(system, "/bin/sh", "-c", INSTALL)
    _furnish(system)
    _step("the disk")
    disk = folder / DISK
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(system), str(disk))


def _make_system(system: Path) -> None:
    """Unpack Debian's packages, and let their own programs set them up."""
    shutil.rmtree(system, ignore_errors=True)
    system.mkdir(parents=True)
    include = ",".join(PACKAGES.split())
    options = ["--arch=arm64", "--variant=minbase", f"--include={include}"]
    _run("debootstrap", *options, "--foreign", SUITE, str(system))
    _in(system, "/debootstrap/debootstrap", "--second-stage")
    (system / "root" / "done").touch()


def _take_kernel(system: Path, folder: Path) -> None:
    """Take Debian's kernel, and make a first file system that finds the disk with its modules."""
    if not list((system / "root").glob("linux-image-*.deb")):
        show = _in(system, "/usr/bin/apt-cache", "depends", "linux-image-arm64", capture=True)
        name = next(word for word in show.split() if word.startswith("linux-image-6"))
        _in(system, "/bin/sh", "-c", f"cd /root && apt-get download -q {name}")
    package = next((system / "root").glob("linux-image-*.deb"))
    whole = folder / "kernel"
    shutil.rmtree(whole, ignore_errors=True)
    _run("dpkg-deb", "-x", str(package), str(whole))
    shutil.copy(next((whole / "boot").glob("vmlinuz-*")), folder / KERNEL)
    first = folder / "first"
    shutil.rmtree(first, ignore_errors=True)
    for name in ("bin", "mods", "proc", "sys", "dev", "root"):
        (first / name).mkdir(parents=True)
    shutil.copy(system / "bin" / "busybox", first / "bin" / "busybox")
    for name in MODULES.split():
        shutil.copy(next(whole.rglob(f"{name}.ko")), first / "mods")
    (first / "init").write_text(INIT.format(modules=MODULES), encoding="utf-8")
    (first / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(first)) for path in sorted(first.rglob("*")))
    made = subprocess.run(
        ["cpio", "-o", "-H", "newc"],
        cwd=first,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    (folder / INITRD).write_bytes(gzip.compress(made.stdout))


def _gather_wheels(folder: Path) -> None:
    """Fetch wheels for aarch64; compile what has none, for any ARMv8.0."""
    folder.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip"]
    for old in folder.glob("aiosd-*.whl"):
        old.unlink()
    _run(*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT))
    if not list(folder.glob("llama_cpp_python-*.whl")):
        prefix = "aarch64-linux-gnu-"
        cross = {"CC": f"{prefix}gcc", "CXX": f"{prefix}g++"}
        flags = (
            f"{LLAMA_FLAGS} -DGGML_NATIVE=OFF -DCMAKE_SYSTEM_NAME=Linux "
            "-DCMAKE_SYSTEM_PROCESSOR=aarch64 "
            f"-DCMAKE_C_COMPILER={prefix}gcc -DCMAKE_CXX_COMPILER={prefix}g++"
        )
        environment = {**os.environ, **cross, "CMAKE_ARGS": flags}
        options = ["--no-deps", "--no-cache-dir", "-w", str(folder)]
        _run(*pip, "wheel", *options, LLAMA, environment=environment)
        made = next(folder.glob("llama_cpp_python-*.whl"))
        # pip names a wheel for the machine that made it.
        made.rename(made.with_name("-".join([*made.name.split("-")[:4], "linux_aarch64.whl"])))
    _run(*pip, "wheel", "-q", "--no-deps", "-w", str(folder), "sdnotify")
    platforms = [
        word
        for tag in ("2014", "_2_17", "_2_27", "_2_28")
        for word in ("--platform", f"manylinux{tag}_aarch64")
    ]
    version = ["--python-version", "3.11", "--implementation", "cp"]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    kinds = [*platforms, "--platform", "linux_aarch64", *version, *abis, "--only-binary=:all:"]
    aiosd = next(folder.glob("aiosd-*.whl"))
    _run(
        *pip, "download", "-q", "-d", str(folder), "--find-links", str(folder), *kinds,
        f"{aiosd}[{EXTRAS}]",
    )  # fmt: skip


def _furnish(system: Path) -> None:
    """Put units, users and folders in their places, and what checks them."""
    units = system / "etc" / "systemd" / "system"
    for path in (ROOT / "systemd").iterdir():
        if path.suffix in {".service", ".socket", ".timer"}:
            shutil.copy(path, units)
    for name in ("sysusers.d", "tmpfiles.d"):
        (system / "etc" / name).mkdir(exist_ok=True)
        shutil.copy(ROOT / "systemd" / name / "aiosd.conf", system / "etc" / name)
    (units / "board-check.service").write_text(CHECK_UNIT, encoding="utf-8")
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    wanted = units / "multi-user.target.wants" / "board-check.service"
    wanted.unlink(missing_ok=True)
    wanted.symlink_to("../board-check.service")
    # The console is the checks' alone.
    console = units / "serial-getty@ttyAMA0.service"
    console.unlink(missing_ok=True)
    console.symlink_to("/dev/null")
    shutil.copy(Path(__file__).with_name("on_board.py"), system / "root")
    shutil.copy(ROOT / "docs" / "examples" / "inputs" / "seven.png", system / "root")
    shutil.copytree(ROOT / "experts" / "echo", system / "root" / "echo", dirs_exist_ok=True)
    (system / "etc" / "aiosd").mkdir(exist_ok=True)


def _step(what: str) -> None:
    print(f"· {what}", flush=True)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


def _in(system: Path, *command: str, capture: bool = False) -> str:
    """Run something of the other system, by the emulator of user programs."""
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"}
    words: Sequence[str] = ["chroot", str(system), *command]
    done = subprocess.run(
        words, check=True, env=path, text=True,
        stdout=subprocess.PIPE if capture else None,
    )  # fmt: skip
    return done.stdout or ""
