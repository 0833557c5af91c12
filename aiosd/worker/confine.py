"""The walls around a worker, built by itself: some before its model is loaded, the rest after.

Call `confine_at_start` first of all, while the process has one thread, and `confine_after_load`
when the engine has read its model and before the first request. A wall that the kernel lacks is
reported, never fatal: stock Raspberry Pi OS has no Landlock before Linux 5.13, and a board must
still serve. Nothing here can be undone by the worker.
"""

import contextlib
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from aiosd.domain.confinement import Confinement
from aiosd.worker import landlock, seccomp
from aiosd.worker.libc import prctl

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

_OOM_FILE = Path("/proc/self/oom_score_adj")
# Libraries, what finds them, and what the engines read of the machine. /proc of other processes
# stays shut: Landlock lets nobody trace the outside. /etc is not here: settings may hold keys.
_SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys")
_READ_DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero")
_WRITE_DEVICES = ("/dev/null",)
_SIGNAL_ABI = 6


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exit now if it is dead already.

    `parent` is the pid of the process that started this one, read there before it was started.
    The kernel watches the parent's *thread* that started it: start workers from a thread that
    lives as long as the process.

    Raises:
        OSError: the kernel refuses.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def open_entrances(entrances: Iterable[str]) -> list[int]:
    """Return descriptors of the files by which a process enters control groups."""
    handles: list[int] = []
    for each in entrances:
        with contextlib.suppress(OSError):
            handles.append(os.open(each, os.O_WRONLY | os.O_CLOEXEC))
    return handles


def enter_groups(handles: Iterable[int]) -> None:
    """Move this process into control groups; what it has taken so far stays where it is counted.

    The daemon looks whether it is there, and says so if not. The walls may go up meanwhile: the
    files are open already.
    """
    for handle in handles:
        with contextlib.suppress(OSError):
            os.write(handle, str(os.getpid()).encode())
        os.close(handle)


def confine_at_start(
    read: Sequence[Path],
    *,
    devices: Sequence[Path] = (),
    open_files: int = 256,
    nice: int = 5,
    oom_score_adj: int = 500,
) -> Confinement:
    """Lower this process and fence its files; `read` is what it needs: the package, above all.

    The interpreter, its modules and the system's libraries stay readable. `devices` are nodes an
    engine may read, write and control (a GPU's). `nice` is added to the present value, and
    `oom_score_adj` is never lowered: with it the kernel ends a worker rather than the daemon.
    """
    gaps: list[str] = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _lower_open_files(open_files)
    score = _raise_oom_score(oom_score_adj, gaps)
    present_nice = _be_nice(nice, gaps)
    privileges = _try("no_new_privileges", gaps, lambda: prctl(_PR_SET_NO_NEW_PRIVS, 1))
    abi = _fence(read, devices, gaps) if privileges else 0
    return Confinement(
        no_new_privileges=privileges,
        core_dumps=False,
        open_files=limit,
        nice=present_nice,
        oom_score_adj=score,
        landlock_abi=abi,
        read_limited=abi > 0,
        no_write=abi > 0,
        no_exec=abi > 0,
        no_signals=abi >= _SIGNAL_ABI,
        gaps=tuple(gaps),
    )


def confine_after_load(so_far: Confinement, *, deny_writes: bool = True) -> Confinement:
    """Filter the system calls of every thread of this process; return the walls that now stand.

    The pipe to the daemon and all files that are open go on working, and threads may be started.
    Pass `deny_writes=False` for an engine that opens device nodes after its model is loaded.
    """
    gaps = list(so_far.gaps)
    architecture = seccomp.ARCHITECTURES.get(platform.machine())
    if architecture is None or not so_far.no_new_privileges:
        why = "privileges kept" if architecture else f"not written for {platform.machine()}"
        gaps.append(f"seccomp: {why}")
        return msgspec.structs.replace(so_far, gaps=tuple(gaps))
    program = seccomp.write_filter(architecture, os.getpid(), deny_writes=deny_writes)
    done = _try("seccomp", gaps, lambda: seccomp.install(program, architecture))
    return msgspec.structs.replace(
        so_far,
        seccomp=done,
        no_network=done,
        no_exec=done or so_far.no_exec,
        no_signals=done or so_far.no_signals,
        no_write=(done and deny_writes) or so_far.no_write,
        gaps=tuple(gaps),
    )


def _try(what: str, gaps: list[str], build: Callable[[], None]) -> bool:
    """Build one wall; note what the kernel lacks, and say whether the wall stands."""
    try:
        build()
    except OSError as error:
        gaps.append(f"{what}: {error.strerror}")
        return False
    return True


def _lower_open_files(wanted: int) -> int:
    """Lower the limit of open files to `wanted`, never raise it; return the limit in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def _raise_oom_score(wanted: int, gaps: list[str]) -> int:
    """Raise this process's OOM score to `wanted` if it is lower; return the score in force."""
    try:
        present = int(_OOM_FILE.read_bytes())
    except (OSError, ValueError) as error:
        gaps.append(f"oom_score_adj: {error}")
        return 0
    if present >= wanted:
        return present
    done = _try("oom_score_adj", gaps, lambda: _write(_OOM_FILE, str(wanted)))
    return wanted if done else present


def _write(path: Path, text: str) -> None:
    """Write a kernel file.

    Raises:
        OSError: the kernel refuses.
    """
    path.write_bytes(text.encode())


def _be_nice(more: int, gaps: list[str]) -> int:
    """Add to this process's nice value; return the value in force."""
    try:
        return os.nice(more)
    except OSError as error:
        gaps.append(f"nice: {error.strerror}")
        return os.getpriority(os.PRIO_PROCESS, 0)


def _fence(read: Sequence[Path], devices: Sequence[Path], gaps: list[str]) -> int:
    """Put up Landlock around what this process may see; return its version, 0 if it is not up."""
    abi = 0
    with contextlib.suppress(OSError):
        abi = landlock.version()
    if not abi:
        gaps.append("landlock: this kernel has none, or it is switched off")
        return 0
    readable: tuple[str | Path, ...] = (*read, *_ALWAYS_READ)
    writable: tuple[str | Path, ...] = (*_WRITE_DEVICES, *devices)
    done = _try("landlock", gaps, lambda: landlock.fence(abi, read=readable, write=writable))
    return abi if done else 0


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that exist and lie below none of the others, links followed; never all."""
    real = {os.path.realpath(path) for path in paths if Path(path or ".").exists()} - {os.sep}
    return tuple(
        path for path in sorted(real) if not any(str(each) in real for each in Path(path).parents)
    )


# Where the interpreter finds itself and its modules is here too: some of them load late. Found out
# at import, so that a host pays once for all the workers it forks.
_PACKAGE = str(Path(__file__).parents[1])
_ALWAYS_READ = outermost(
    (*_SYSTEM_PATHS, *_READ_DEVICES, sys.prefix, sys.base_prefix, *sys.path, _PACKAGE)
)
