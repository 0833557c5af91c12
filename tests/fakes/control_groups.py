"""A control group tree of plain files, as a simulated board has it: nothing there acts."""

import os
from pathlib import Path

SERVICE = "system.slice/aiosd.service"
V2_MOUNT = "35 31 0:32 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """\
33 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""


class FakeTree:
    """The tree below `root`, with the daemon's own group in it."""

    def __init__(self, root: Path, *, version: int = 2, controllers: str = "cpu memory") -> None:
        self.root = root
        self.top = root / "sys/fs/cgroup"
        self.put("SIMULATED", "a test's\n")
        if version == 1:
            self.put("proc/self/mountinfo", V1_MOUNTS)
            self.put("proc/self/cgroup", f"4:memory:/{SERVICE}\n1:cpu:/{SERVICE}\n")
            self.memory, self.cpu = self.top / "memory" / SERVICE, self.top / "cpu" / SERVICE
        else:
            self.put("proc/self/mountinfo", V2_MOUNT)
            self.put("proc/self/cgroup", f"0::/{SERVICE}\n")
            self.put("sys/fs/cgroup/cgroup.controllers", f"{controllers}\n")
            self.memory = self.cpu = self.top / SERVICE
            self.put(f"sys/fs/cgroup/{SERVICE}/cgroup.controllers", f"{controllers}\n")
            self.put(f"sys/fs/cgroup/{SERVICE}/cgroup.subtree_control", "")
        self.memory.mkdir(parents=True, exist_ok=True)
        self.cpu.mkdir(parents=True, exist_ok=True)

    @property
    def ours(self) -> str:
        """The name of the folder that a daemon in this process makes."""
        return f"aiosd.{os.getpid()}"

    def put(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def workers(self) -> list[Path]:
        """Return the groups of workers, where their memory is counted."""
        folder = self.memory / self.ours
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []
