"""The verbs of power: energy, and the live table top."""

import argparse
import contextlib
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.look import Body, rows_of, word
from aiosd.cli.render import WIDTH, Paper, printable, size, span
from aiosd.client import Client

BAR = 30
# A bar is yellow from here on, and red from its end.
_CLOSE = 0.9
_CLIENTS = 10
# Leave the screen as it was: the alternative buffer, the cursor hidden meanwhile.
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\033[H", "\033[K", "\033[J"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_COLUMNS = (18, 9, 10, 7, 7, 6, 9, 8, 6)
_TITLES = ("EXPERT", "STATE", "RAM", "IDLE", "DONE", "QUEUE", "JOULES", "J/REQ", "TOK/J")

# A line in pieces: the text, and how it is painted on a terminal.
Line = tuple[tuple[str, str], ...]


def energy(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print where the joules went."""
    del options
    body = client.energy()
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    if body.get("source") in (None, "none"):
        paper.line("this board has neither a power meter nor a model of its power: calibrate it")
        paper.line("with a meter (aiosctl calibrate); aiosctl status --json says what was tried")
        return Exit.OK
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
            for name, row in _experts(body).items()
        ],
        right="REQUESTS,JOULES,J/REQUEST,CPU s,TOKENS/J",
    )
    clients = _clients(body)
    if clients:
        paper.line()
        paper.table(("CLIENT", "JOULES"), clients, right="JOULES")
    paper.line()
    paper.facts(
        {
            "meter": f"{_number(body.get('meter_joules'))} J, {body['source']} of {body['scope']}",
            "idle": f"{_number(body.get('idle_joules'))} J at {_number(body.get('idle_watts'))} W",
            "others": f"{_number(body.get('other_joules'))} J by everything else on the board",
            "gaps": f"{_number(body.get('gap_seconds'))} s without a reading",
            "since": _moment(body.get("since")),
        }
    )
    return Exit.OK


def top(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Show a live table until Ctrl-C; in a pipe, or with --once, one picture."""

    def bodies() -> tuple[Body, Body, Body]:
        return client.status(), client.ps(), client.energy()

    if paper.as_json:
        paper.document(dict(zip(("status", "ps", "energy"), bodies(), strict=True)))
        return Exit.OK
    if options.once or not paper.terminal:
        for line in picture(*bodies()):
            paper.line(painted(line, paper))
        return Exit.OK
    with _screen(paper):
        while True:
            height = shutil.get_terminal_size((WIDTH, 24)).lines
            lines = fitting(list(picture(*bodies())), height - 1)
            body = "\n".join(painted(line, paper) + _CLEAR_LINE for line in lines)
            paper.picture(f"{_HOME}{body}\n{_CLEAR_REST}")
            _pause(options.interval)


def painted(line: Line, paper: Paper) -> str:
    """Return a line as the paper shows it, at most 80 columns of it."""
    left, pieces = WIDTH, []
    for text, how in line:
        shown = printable(text).replace("\n", " ")
        if len(shown) > left:
            shown = f"{shown[: left - 1]}…" if left else ""
        left -= len(shown)
        pieces.append(paper.paint(shown, how) if how and shown else shown)
    return "".join(pieces).rstrip()


def fitting(lines: list[Line], height: int) -> list[Line]:
    """Return as many lines as the terminal has, and how many are missing."""
    if len(lines) <= height:
        return lines
    missing = len(lines) - height + 1
    return [*lines[: height - 1], ((f"… and {missing} more", "faint"),)]


def picture(status: Body, ps: Body, energy: Body) -> Iterator[Line]:
    """Yield the lines of the table."""
    power = status.get("power")
    power = power if isinstance(power, Mapping) else {}
    title = f"aiosd {word(status, 'version')} on {word(status, 'board')}"
    yield ((title, "bold"), (f", up {span(status.get('uptime_seconds'))}", ""))
    used, cap = status.get("ram_used_bytes"), status.get("ram_cap_bytes")
    yield (("RAM    ", ""), bar(used, cap), (f" {size(used)} of {size(cap)}", ""))
    yield from _watts(power)
    yield from _surroundings(power)
    yield _counts(status)
    if status.get("waiting_for"):
        yield ((f"       {word(status, 'waiting_for')}", "warn"),)
    yield ()
    yield ((_row(_TITLES), "bold"),)
    yield from _rows(ps, _experts(energy))


def bar(value: object, bound: object) -> tuple[str, str]:
    """Return how much of `bound` is used, as a bar of 30 places with its colour."""
    if not isinstance(value, (int, float)) or not isinstance(bound, (int, float)) or bound <= 0:
        return ("[" + " " * BAR + "]", "faint")
    share = value / bound
    if not math.isfinite(share):
        return ("[" + " " * BAR + "]", "faint")
    filled = min(BAR, max(0, round(BAR * share)))
    how = "good" if share < _CLOSE else "warn" if share <= 1 else "bad"
    return ("[" + "#" * filled + "·" * (BAR - filled) + "]", how)


def _watts(power: Body) -> Iterator[Line]:
    """Yield what is known of watts, and of the cap."""
    watts, idle = power.get("watts"), power.get("idle_watts")
    allowance = power.get("allowance")
    allowance = allowance if isinstance(allowance, Mapping) else {}
    cap = allowance.get("cap_watts")
    if not isinstance(watts, (int, float)):
        none = power.get("meter") in (None, "none")
        yield ((f"power  {'no meter and no model' if none else 'no reading'}", "faint"),)
    else:
        beside = f", idle {idle:.2f} W" if isinstance(idle, (int, float)) else ""
        if isinstance(cap, (int, float)):
            yield (("power  ", ""), bar(watts, cap), (f" {watts:.2f} of {cap:.2f} W{beside}", ""))
        else:
            yield ((f"power  {watts:.2f} W{beside}, no cap", ""),)
        origin = f"       {word(power, 'source')} of the {word(power, 'scope')}"
        yield ((origin, "faint"),)
    if power.get("silence"):
        yield ((f"       no reading now: {word(power, 'silence')}", "bad"),)
    why = allowance.get("why")
    steps = [str(each) for each in why] if isinstance(why, list) else []
    share = power.get("clock_share")
    if isinstance(share, (int, float)) and share < 1:
        steps.append(f"clocks at {share:.0%}")
    if steps:
        yield ((f"       {'; '.join(steps)}", "warn"),)


def _surroundings(power: Body) -> Iterator[Line]:
    """Yield heat and battery, if anything is known of them."""
    parts: list[str] = []
    heat = power.get("heat")
    if isinstance(heat, Mapping):
        known = [(c, str(zone)) for zone, c in heat.items() if isinstance(c, (int, float))]
        if known:
            celsius, zone = max(known)
            parts.append(f"{zone} {celsius:.0f} °C")
    battery = power.get("battery")
    if isinstance(battery, Mapping) and isinstance(battery.get("share"), (int, float)):
        parts.append(f"battery {battery['share']:.0%} {word(battery, 'state')}")
    if parts:
        yield ((f"heat   {', '.join(parts)}", ""),)


def _counts(status: Body) -> Line:
    """Return the line of the queue and of what happened so far."""
    counts = status.get("requests")
    counts = counts if isinstance(counts, Mapping) else {}
    parts = [
        f"{word(status, 'queue')} waiting",
        f"{word(counts, 'answered')} answered",
        f"{word(counts, 'failed')} failed",
        f"{word(counts, 'cold_loads')} loads",
        f"{word(status, 'evictions')} evictions",
    ]
    if "parkings" in status:
        parts.append(f"{word(status, 'parkings')} parkings")
    return ((f"queue  {', '.join(parts)}", ""),)


def _rows(ps: Body, experts: Mapping[str, Body]) -> Iterator[Line]:
    """Yield a line for each loaded expert and each host."""
    colours = {"ready": "good", "loading": "warn", "draining": "warn", "failed": "bad"}
    for row in rows_of(ps, "experts"):
        state = word(row, "state")
        joules = experts.get(word(row, "name"), {})
        cells = (
            word(row, "name"),
            state + ("*" if row.get("pinned") else ""),
            size(row.get("ram_bytes")),
            _short(row.get("idle_seconds")),
            word(row, "requests"),
            word(row, "queue"),
            _number(joules.get("joules")),
            _number(_share(joules.get("request_joules"), joules.get("requests"))),
            _number(joules.get("units_per_joule") or None),
        )
        text = _row(cells)
        place = _COLUMNS[0]
        end = place + _COLUMNS[1]
        yield ((text[:place], ""), (text[place:end], colours.get(state, "")), (text[end:], ""))
    for row in rows_of(ps, "hosts"):
        known = (f"host {word(row, 'engine')}", "resident", size(row.get("pss_bytes")))
        yield ((_row((*known, *("" for _ in _COLUMNS[3:]))), "faint"),)


def _row(cells: Iterable[str]) -> str:
    """Return the cells in their columns: the first two to the left, the others to the right."""
    pieces = []
    for place, (cell, width) in enumerate(zip(cells, _COLUMNS, strict=True)):
        fit = cell if len(cell) < width else f"{cell[: width - 2]}…"
        pieces.append(fit.ljust(width) if place < 2 else fit.rjust(width))  # noqa: PLR2004
    return "".join(pieces)


def _experts(energy: Body) -> dict[str, Body]:
    """Return the sums by expert."""
    experts = energy.get("experts")
    if not isinstance(experts, Mapping):
        return {}
    return {str(name): row for name, row in experts.items() if isinstance(row, Mapping)}


def _clients(energy: Body) -> list[tuple[str, str]]:
    """Return the clients that took most, and the rest as one."""
    clients = energy.get("clients")
    if not isinstance(clients, Mapping):
        return []
    known = [(float(j), str(name)) for name, j in clients.items() if isinstance(j, (int, float))]
    known.sort(reverse=True)
    rows = [(name, _number(joules)) for joules, name in known[:_CLIENTS]]
    if known[_CLIENTS:]:
        rest = sum(joules for joules, _ in known[_CLIENTS:])
        rows.append((f"{len(known) - _CLIENTS} more", _number(rest)))
    return rows


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


def _short(seconds: object) -> str:
    """Return a span in its largest unit alone, or a dash."""
    if not isinstance(seconds, (int, float)):
        return "-"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _moment(unix: object) -> str:
    """Return a moment as this machine's clock has it, or nothing."""
    if not isinstance(unix, (int, float)):
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix))


def _number(value: object) -> str:
    """Return a figure with three digits, or a dash."""
    if not isinstance(value, (int, float)):
        return "-"
    if abs(value) >= 1000:  # noqa: PLR2004 - three digits
        return f"{value:.0f}"
    return f"{value:.5f}" if 0 < abs(value) < 0.001 else f"{value:.3g}"  # noqa: PLR2004 - likewise


def _share(total: object, count: object) -> float | None:
    if not isinstance(total, (int, float)) or not isinstance(count, (int, float)) or not count:
        return None
    return total / count
