"""What `aiosctl doctor` looks at around the daemon: engines, settings, sockets, packages."""

import grp
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from aiosd.cli.check import Check, fail, ok, warn
from aiosd.cli.look import Body, rows_of, word
from aiosd.cli.render import size, span
from aiosd.cli.uplink_checks import uplink_checks
from aiosd.client import Client
from aiosd.client.address import Address
from aiosd.client.patience import Patience
from aiosd.domain.errors import AiosdError
from aiosd.store.catalogue import scan
from aiosd.store.layout import Layout

# Engines are imported elsewhere: they are large, and a broken one must not take aiosctl along.
_OPEN = (
    "import sys; from aiosd.engines.engine import open_engine; "
    "from aiosd.domain.errors import PackageError\n"
    "try: print(open_engine(sys.argv[1]).version())\n"
    "except PackageError as error: sys.exit(str(error))"
)
ENGINE_SECONDS = 60
CHECK_SECONDS = 30
BAD_SETTINGS = 78
PATIENCE = Patience(silence=10.0, restart=3.0)


def daemon_checks(layout: Layout, address: Address) -> Iterator[Check]:
    """Yield every check around the daemon."""
    yield from engine_checks()
    for path, who in ((address.api, "asking"), (address.admin, "operating")):
        yield socket_check(path, who)
    try:
        with Client(address.folder, patience=PATIENCE) as client:
            status, listed = client.status(), client.list()
            operator = os.access(address.admin, os.R_OK | os.W_OK)
            uplink = list(uplink_checks(client.uplink if operator else None))
    except AiosdError as error:
        yield settings_check(layout.settings)
        yield from absent_checks(layout, error)
        return
    yield settings_check(Path(str(status.get("config_path") or layout.settings)))
    yield from present_checks(status, listed)
    yield from uplink


def engine_checks() -> Iterator[Check]:
    """Check that each engine can be imported; one that cannot only costs its own experts."""
    names = sorted({point.name for point in entry_points(group="aiosd.engines")})
    if not names:
        yield fail("engines", "none is registered", "install the package: pip install aiosd")
    for name in names:
        yield engine_check(name)


def engine_check(name: str) -> Check:
    """Import one engine in a process of its own."""
    label = f"engine {name}"
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter and code, a name from metadata
            [sys.executable, "-c", _OPEN, name],
            capture_output=True,
            text=True,
            timeout=ENGINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return warn(label, f"did not start within {ENGINE_SECONDS} s", "is the board overloaded?")
    if done.returncode == 0:
        return ok(label, done.stdout.strip())
    said = done.stderr.strip().splitlines()
    found, _, step = (said[-1] if said else "").partition("; ")
    if done.returncode < 0:
        found = f"crashed with signal {-done.returncode}: its library does not fit this processor"
    return warn(
        label, found or f"exit status {done.returncode}", step or f"pip install 'aiosd[{name}]'"
    )


def settings_check(path: Path) -> Check:
    """Let the daemon check the settings file that it uses."""
    command = [sys.executable, "-m", "aiosd.daemon", "--check"]
    if path.exists():
        command += ["--config", str(path)]
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter and module
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return warn("settings", f"no verdict within {CHECK_SECONDS} s", "run: aiosd --check")
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    first = " ".join(lines[0].split()) if lines else ""
    if done.returncode == 0:
        return ok("settings", first.removeprefix("settings ") or "fine")
    if done.returncode == BAD_SETTINGS:
        return fail(
            "settings", first.removeprefix("aiosd: "), "correct that line, then: aiosd --check"
        )
    last = lines[-1] if lines else f"exit status {done.returncode}"
    return fail("settings", last, "run: aiosd --check")


def socket_check(path: Path, who: str) -> Check:
    """Check that a socket exists and that this user may open it."""
    label = path.name
    try:
        found = path.stat()
    except FileNotFoundError:
        return fail(label, f"{path} does not exist", "start the daemon: systemctl start aiosd")
    except PermissionError:
        return fail(label, f"{path.parent} may not be entered", "join its group, then log in again")
    group = _group(found.st_gid)
    text = f"{path}, mode {found.st_mode & 0o777:04o}, group {group}"
    if os.access(path, os.R_OK | os.W_OK):
        return ok(label, text)
    step = f"for {who}: usermod -aG {group} {_user()}, then log in again"
    # An ordinary user need not be an operator.
    return (warn if who == "operating" else fail)(label, f"{text}: not open to {_user()}", step)


def absent_checks(layout: Layout, error: AiosdError) -> Iterator[Check]:
    """Say why no daemon answers, and look for packages without it."""
    found, _, step = error.message.rpartition("; ")
    yield fail("daemon", found or error.message, step)
    catalogue = scan(layout.experts)
    yield ok("experts", f"{len(catalogue.experts)} installed")
    for refused in catalogue.refused:
        yield warn("refused", f"{refused.path}: {refused.reason}", "correct or remove it")


def present_checks(status: Body, listed: Body) -> Iterator[Check]:
    """Check how the daemon stands, and which packages it refused."""
    yield ok(
        "daemon", f"version {word(status, 'version')}, up {span(status.get('uptime_seconds'))}"
    )
    yield ok(
        "ram cap",
        f"{size(status.get('ram_cap_bytes'))}: {word(status, 'ram_cap_reason')}; "
        f"{size(status.get('ram_used_bytes'))} used; kept by {word(status, 'enforced_by')}",
    )
    yield power_check(status)
    yield from memory_checks(status)
    experts = rows_of(listed, "experts")
    if experts:
        yield ok("experts", f"{len(experts)} installed")
    else:
        yield warn("experts", "none is installed", "aiosctl install DIR")
    for row in rows_of(listed, "refused"):
        yield warn("refused", f"{word(row, 'path')}: {word(row, 'reason')}", "correct or remove it")
    for row in experts:
        if row.get("state") == "failed":
            name = word(row, "name")
            yield warn(f"expert {name}", "failed to load", f"aiosctl load {name} says why")


def power_check(status: Body) -> Check:
    """Check where figures of power come from, and whether the instrument speaks."""
    told = status.get("power")
    power: Body = told if isinstance(told, Mapping) else {}
    source, found = word(power, "source"), f"{word(power, 'meter')}, {word(power, 'source')}"
    if power.get("silence"):
        return warn("power", f"{found}: {word(power, 'silence')}", "journalctl -u aiosd says more")
    if source in {"-", "none"}:
        return warn(
            "power",
            "no meter and no model: no joules, and no watt cap can be held",
            "with a power meter at the plug: aiosctl calibrate",
        )
    if source == "default_model":
        return warn(
            "power",
            f"{found}: published figures of this kind of board, off by up to a third",
            "with a power meter at the plug: aiosctl calibrate",
        )
    return ok("power", f"{found} of the {word(power, 'scope')}")


def memory_checks(status: Body) -> Iterator[Check]:
    """Check whether the kernel helps the daemon with memory, and whether there is enough."""
    problems = status.get("cgroup_problems")
    if isinstance(problems, list) and problems:
        yield warn(
            "control groups",
            "; ".join(map(str, problems)),
            "aiosd's own books hold the caps; the unit has Delegate=memory cpu for more",
        )
    found = f"{size(status.get('memory_available_bytes'))} available, watched by "
    found += word(status, "memory_watched_by")
    if status.get("memory_short"):
        yield warn("memory", f"short: {found}", "idle experts leave; stop other programs")
    elif status.get("memory_watched_by"):
        yield ok("memory", found)


def _group(number: int) -> str:
    """Return a group's name, or its number."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user() -> str:
    """Return the name of who runs this, for a command to copy."""
    return os.getenv("USER") or str(os.getuid())
