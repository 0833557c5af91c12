"""What a worker may not do, as far as the kernel could be made to hold it."""

import msgspec


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """The walls around one worker; a wall the kernel lacks is False or 0 and named in `gaps`.

    `no_network`: no new socket and no connection. `no_exec`: no other program. `no_write`: no file
    of the system can be opened for writing. `read_limited`: only the package, the interpreter and
    the libraries can be read. `no_signals`: no other process can be signalled. `landlock_abi` is
    the kernel's version of Landlock, 0 without; `seccomp` says whether the filter is in force.
    """

    no_new_privileges: bool = False
    core_dumps: bool = True
    open_files: int = 0
    nice: int = 0
    oom_score_adj: int = 0
    landlock_abi: int = 0
    seccomp: bool = False
    read_limited: bool = False
    no_write: bool = False
    no_network: bool = False
    no_exec: bool = False
    no_signals: bool = False
    gaps: tuple[str, ...] = ()
