"""The verbs of power: energy, and the live table top."""

import argparse
import contextlib
import time
from collections.abc import Iterator, Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.look import Body, rows_of, word
from aiosd.cli.render import Paper, printable, size, span
from aiosd.client import Client

BAR = 30
# Leave the screen as it was: the alternative buffer, the cursor hidden meanwhile.
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\033[H", "\033[K", "\033[J"


def energy(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print where the joules went."""
    del options
    body = client.energy()
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    if body.get("source") in (None, "none"):
        paper.line("this board has neither a power meter nor a model of its power;")
        paper.line("see: aiosctl status --json (power.passed_over says what was tried)")
        return Exit.OK
    experts = body.get("experts")
    rows = list(experts.items()) if isinstance(experts, Mapping) else []
    paper.table(
        ("EXPERT", "REQUESTS", "JOULES", "J/REQUEST", "CPU s", "TOKENS/J"),
        [
            (
                name,
                word(row, "requests"),
                _number(row.get("joules")),
                _number(_share(row.get("request_joules"), row.get("requests"))),
                _number(row.get("cpu_seconds")),
                _number(row.get("units_per_joule") or None),
            )
            for name, row in rows
        ],
        right="REQUESTS,JOULES,J/REQUEST,CPU s,TOKENS/J",
    )
    paper.line()
    paper.facts(
        {
            "meter": f"{_number(body.get('meter_joules'))} J, {body['source']} of {body['scope']}",
            "idle": f"{_number(body.get('idle_joules'))} J at {_number(body.get('idle_watts'))} W",
            "others": f"{_number(body.get('other_joules'))} J by everything else on the board",
            "gaps": f"{_number(body.get('gap_seconds'))} s without a reading",
        }
    )
    return Exit.OK


def top(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Show a live table until Ctrl-C; in a pipe, or with --once, one picture."""
    if paper.as_json:
        paper.document({"status": client.status(), "ps": client.ps()})
        return Exit.OK
    if options.once or not paper.terminal:
        for line in picture(client.status(), client.ps()):
            paper.line(line)
        return Exit.OK
    with _screen(paper):
        while True:
            lines = picture(client.status(), client.ps())
            body = "\n".join(printable(line) + _CLEAR_LINE for line in lines)
            paper.picture(f"{_HOME}{body}\n{_CLEAR_REST}")
            _pause(options.interval)


def picture(status: Body, ps: Body) -> Iterator[str]:
    """Yield the lines of the table, each at most 80 columns wide."""
    power = status.get("power")
    power = power if isinstance(power, Mapping) else {}
    counts = status.get("requests")
    counts = counts if isinstance(counts, Mapping) else {}
    yield (
        f"aiosd {word(status, 'version')} on {word(status, 'board')}, "
        f"up {span(status.get('uptime_seconds'))}"
    )
    used, cap = status.get("ram_used_bytes"), status.get("ram_cap_bytes")
    yield f"RAM    {bar(used, cap)} {size(used)} of {size(cap)}"
    yield f"power  {_watts(power)}"
    yield (
        f"queue  {word(status, 'queue')} waiting, {word(counts, 'answered')} answered, "
        f"{word(counts, 'failed')} failed, {word(status, 'evictions')} evictions, "
        f"{word(status, 'parkings')} parkings"
    )
    if status.get("waiting_for"):
        yield f"       {word(status, 'waiting_for')}"[:80]
    yield ""
    yield f"{'EXPERT':<22}{'STATE':<10}{'RAM':>10}{'IDLE':>9}{'DONE':>9}{'QUEUE':>7}"
    for row in rows_of(ps, "experts"):
        state = word(row, "state") + ("*" if row.get("pinned") else "")
        yield (
            f"{word(row, 'name')[:21]:<22}{state:<10}{size(row.get('ram_bytes')):>10}"
            f"{span(row.get('idle_seconds')):>9}{word(row, 'requests'):>9}{word(row, 'queue'):>7}"
        )
    for row in rows_of(ps, "hosts"):
        name = f"host {word(row, 'engine')}"
        yield f"{name:<22}{'resident':<10}{size(row.get('pss_bytes')):>10}"


def bar(value: object, bound: object) -> str:
    """Return how much of `bound` is used, as a bar of 30 places."""
    if not isinstance(value, (int, float)) or not isinstance(bound, (int, float)) or bound <= 0:
        return "[" + " " * BAR + "]"
    filled = min(BAR, round(BAR * value / bound))
    return "[" + "#" * filled + "·" * (BAR - filled) + "]"


def _watts(power: Body) -> str:
    """Return what is known of watts, heat and battery in one line."""
    parts: list[str] = []
    watts = power.get("watts")
    if isinstance(watts, (int, float)):
        idle = power.get("idle_watts")
        beside = f", idle {idle:.2f} W" if isinstance(idle, (int, float)) else ""
        parts.append(f"{watts:.2f} W{beside} ({word(power, 'source')})")
    else:
        parts.append("no reading" if power.get("meter") not in (None, "none") else "no meter")
    heat = power.get("heat")
    if isinstance(heat, Mapping) and heat:
        zone, celsius = next(iter(heat.items()))
        parts.append(f"{zone} {celsius:.0f} °C")
    battery = power.get("battery")
    if isinstance(battery, Mapping) and isinstance(battery.get("share"), (int, float)):
        parts.append(f"battery {battery['share']:.0%} {word(battery, 'state')}")
    return ", ".join(parts)


@contextlib.contextmanager
def _screen(paper: Paper) -> Iterator[None]:
    """Use the terminal's other screen for a while."""
    paper.picture(_ENTER)
    try:
        yield
    finally:
        paper.picture(_LEAVE)


def _pause(seconds: float) -> None:
    """Wait between two pictures."""
    time.sleep(seconds)  # noqa: TID251 - a live table waits for the eye


def _number(value: object) -> str:
    """Return a figure with three digits, or a dash."""
    if not isinstance(value, (int, float)):
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def _share(total: object, count: object) -> float | None:
    if not isinstance(total, (int, float)) or not isinstance(count, (int, float)) or not count:
        return None
    return total / count
