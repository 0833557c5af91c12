"""Runs on the board itself, as root: goes through the units and says what held, a line a check.

Standard library only; started by a unit of its own, whose console is all that is seen from outside.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

BIN = Path("/opt/aiosd/bin")
GROUPS = Path("/sys/fs/cgroup/system.slice/aiosd.service")
SERVICE = "aiosd.service"
SOCKETS = ("aiosd.socket", "aiosd-admin.socket", "aiosd-events.socket")
# How long an emulated processor may take for what a board does in a moment.
PATIENCE_SECONDS = 300.0

QUESTIONS = (
    ("assistant-intent", "how do i change the oil in my car", "oil_change_how"),
    ("sms-spam", "URGENT! You have won a 1 week FREE membership, txt WIN to 81010", "spam"),
    ("home-command", "set an alarm for 8 am tomorrow", "alarm"),
)


def main() -> None:
    """Do all checks, say the verdict, and switch the board off."""
    failed = 0
    for name, check in CHECKS.items():
        started = time.monotonic()
        try:
            found, held = check(), True
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and the next comes
            found, held = f"{type(error).__name__}: {error}", False
            failed += 1
        word = "ok   " if held else "FAIL "
        print(f"{word} {name} ({time.monotonic() - started:.0f} s): {found}", flush=True)
    if failed:
        print(run("journalctl", "--no-pager", "-u", SERVICE, "-n", "60"))
    print("board: checks failed" if failed else "board: all checks held", flush=True)
    subprocess.run(["systemctl", "poweroff"], check=False)


def run(*command: str, status: int = 0) -> str:
    """Return what a command prints; it must end with this status."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {said[-600:]}")
    return said


def aiosctl(*words: str, status: int = 0) -> str:
    """Run the operator's command."""
    return run(str(BIN / "aiosctl"), *words, status=status)


def table(*words: str) -> dict[str, object]:
    """Return what the operator's command prints as JSON."""
    found = json.loads(aiosctl("--json", *words))
    require(isinstance(found, dict), found)
    return dict(found)


def require(held: bool, what: object) -> None:  # noqa: FBT001 - an assertion that stays with -O
    """Fail with what was found."""
    if not held:
        raise RuntimeError(str(what))


def until(held: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not held():
        require(time.monotonic() < deadline, f"waited in vain for {what}")
        time.sleep(0.5)


def shown(key: str) -> str:
    """Return what systemd says of the unit."""
    return run("systemctl", "show", "--property", key, "--value", SERVICE)


def machine() -> str:
    """Tell what this is."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text(encoding="ascii").split()
    require("memory" in controllers, controllers)
    version = run("systemctl", "--version").split("\n", 1)[0]
    name = os.uname()
    return f"{name.machine}, Linux {name.release}, {version}, control groups version 2"


def unit() -> str:
    """Install users and folders, start the sockets and the service."""
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/aiosd.conf")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", *SOCKETS)
    run("systemctl", "start", SERVICE)
    require(shown("ActiveState") == "active", shown("ActiveState"))
    return shown("StatusText")


def security() -> str:
    """Ask systemd how open the unit is."""
    said = run("systemd-analyze", "--no-pager", "security", SERVICE)
    return said.rsplit("\n", 1)[-1].replace("→ ", "")


def mechanism() -> str:
    """See that the kernel holds the cap."""
    said = str(table("status")["enforced_by"])
    require(said.startswith("memory.max per worker (cgroup v2"), said)
    return said


def answers() -> str:
    """Ask one expert of each engine, and a picture's."""
    said = []
    for expert, text, expected in QUESTIONS:
        found = aiosctl("run", "--expert", expert, text, "--deadline", "250")
        require(expected in found, found)
        said.append(f"{expert}: {found.splitlines()[0]}")
    found = aiosctl("run", "--expert", "digits", "--image", "/root/seven.png", "--deadline", "250")
    require("7" in found.splitlines()[0], found)
    return "; ".join(said)


def workers() -> list[dict[str, object]]:
    """Return the workers that there are."""
    experts = table("ps")["experts"]
    require(isinstance(experts, list) and bool(experts), experts)
    return [dict(each) for each in experts if each["pid"]]  # type: ignore[attr-defined]


def walls() -> str:
    """See that every worker is shut in, by what it says itself and by what the kernel says."""
    found = workers()
    for each in found:
        shut = each["confinement"]
        require(isinstance(shut, dict) and shut["landlock_abi"] and not shut["gaps"], shut)
        status = Path(f"/proc/{each['pid']}/status").read_text(encoding="utf-8")
        require("Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, status)
    return f"{len(found)} workers: system calls filtered, Landlock, no gaps"


def limits() -> str:
    """See that the kernel has each worker's limit."""
    said = []
    for each in workers():
        found = list(GROUPS.glob(f"aiosd.*/{each['name']}.*/memory.max"))
        require(len(found) == 1, found)
        limit = found[0].read_text(encoding="ascii").strip()
        require(limit == str(each["limit_bytes"]), (each["name"], limit, each["limit_bytes"]))
        said.append(f"{each['name']} {limit} bytes")
    return ", ".join(said)


def greedy() -> str:
    """Have one take far too much: it alone ends."""
    aiosctl("install", "/root/echo")
    aiosctl("run", "--expert", "echo", "hello", "--deadline", "250")
    said = aiosctl("run", "--expert", "echo", "!alloc 500", "--deadline", "250", status=1)
    require("limit" in said or "MiB" in said, said)
    found = aiosctl("run", "--expert", QUESTIONS[0][0], QUESTIONS[0][1], "--deadline", "250")
    require(QUESTIONS[0][2] in found, found)
    return said


def killed() -> str:
    """Kill the daemon: systemd starts it again, and nobody is told that the sockets are gone."""
    before = shown("MainPID")
    run("systemctl", "kill", "--signal=KILL", "--kill-who=main", SERVICE)
    found = aiosctl("run", "--expert", "sms-spam", "call me later please", "--deadline", "250")
    require("ham" in found, found)
    require(shown("MainPID") != before, before)
    return f"{shown('NRestarts')} restart, then: {found.splitlines()[0]}"


def hung() -> str:
    """Stop the daemon's process: the watchdog ends it, and systemd starts another."""
    before = int(shown("NRestarts"))
    os.kill(int(shown("MainPID")), 19)
    until(lambda: int(shown("NRestarts")) > before, "the watchdog")
    until(lambda: shown("ActiveState") == "active", "the next daemon")
    return f"{shown('NRestarts')} restarts"


def reload() -> str:
    """Reload: systemd is told when it is over."""
    run("systemctl", "reload", SERVICE)
    return shown("StatusText")


def stopped() -> str:
    """Stop: nothing of it is left."""
    run("systemctl", "stop", *SOCKETS, SERVICE)
    require(shown("ActiveState") == "inactive", shown("ActiveState"))
    require(not GROUPS.exists(), GROUPS)
    return "no process and no control group is left"


CHECKS: dict[str, Callable[[], str]] = {
    "machine": machine,
    "service under systemd": unit,
    "how open it is": security,
    "who holds the RAM cap": mechanism,
    "answers of both engines": answers,
    "workers' walls": walls,
    "workers' limits": limits,
    "one takes too much": greedy,
    "killed": killed,
    "hung": hung,
    "reload": reload,
    "stop": stopped,
}

if __name__ == "__main__":
    main()
