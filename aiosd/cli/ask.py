"""`aiosctl run`: one question on the command line."""

import argparse
import json
import sys
from pathlib import Path
from typing import cast

import msgspec

from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.render import Paper, milliseconds, plain, size
from aiosd.cli.series import read_series
from aiosd.client import Client
from aiosd.client.question import Ask
from aiosd.domain.errors import InvalidError
from aiosd.domain.request import Outcome, Priority, Privacy

# Options of `run` that are passed on under the same name; None means "not given".
PASSED = (
    "task",
    "deadline_seconds",
    "keep_alive_seconds",
    "top_k",
    "priority",
    "privacy",
    "max_joules",
    "max_cost",
    "max_tokens",
    "temperature",
    "token_top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "seed",
    "stop",
    "timeout_seconds",
    "period_seconds",
)
INPUTS = ("text", "chat", "image", "audio", "series", "data")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    parser.add_argument("name", nargs="?", metavar="EXPERT", help="the expert that shall answer")
    parser.add_argument("words", nargs="?", metavar="TEXT", help="the text, instead of --text")
    who = parser.add_argument_group("who answers (without any of these the daemon chooses)")
    who.add_argument("--expert", metavar="NAME", help="the same as EXPERT")
    who.add_argument("--task", help="a task such as text.classify; the daemon picks the expert")
    what = parser.add_argument_group(
        "input, exactly one (- reads stdin, @FILE reads a file, @@ begins a text with one @)"
    )
    what.add_argument("--text", metavar="T|@FILE|-", help="a text")
    what.add_argument("--chat", metavar="J|@FILE|-", help='turns: [{"role": …, "content": …}, …]')
    what.add_argument("--image", metavar="FILE|-", help="an image file: PNG, JPEG, BMP, GIF, WebP")
    what.add_argument("--audio", metavar="FILE|-", help="a WAV file (PCM)")
    what.add_argument(
        "--series", metavar="FILE|-", help="numbers as CSV or JSON, one sample a line"
    )
    what.add_argument("--data", metavar="J|@FILE|-", help="any JSON value")
    what.add_argument(
        "--period", dest="period_seconds", type=float, metavar="S", help="seconds between samples"
    )
    _add_options(parser.add_argument_group("options"))
    _add_sampling(parser.add_argument_group("sampling, for experts that generate text"))


def _add_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="print the text as it comes (default: when stdout is a terminal)",
    )
    group.add_argument(
        "--deadline",
        dest="deadline_seconds",
        type=float,
        metavar="S",
        help="give up after S seconds",
    )
    group.add_argument(
        "--keep-alive",
        dest="keep_alive_seconds",
        type=float,
        metavar="S",
        help="keep the expert loaded for S seconds after this (-1: until evicted)",
    )
    group.add_argument("--top-k", type=int, metavar="N", help="how many labels to return")
    group.add_argument("--priority", choices=list(Priority), help="how urgent it is")
    group.add_argument("--privacy", choices=list(Privacy), help="where the request may go")
    group.add_argument("--max-joules", type=float, metavar="J", help="the energy it may cost")
    group.add_argument("--max-cost", type=float, metavar="C", help="the money it may cost")
    group.add_argument(
        "--timeout",
        dest="timeout_seconds",
        type=float,
        metavar="S",
        help="the longest silence to bear before giving up (default: 120)",
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="show who answered, why, timings"
    )


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is always the likeliest")
    group.add_argument(
        "--token-top-k", type=int, metavar="N", help="pick among the N likeliest tokens"
    )
    group.add_argument("--top-p", type=float, metavar="P", help="pick among this much probability")
    group.add_argument("--min-p", type=float, metavar="P", help="drop tokens below P of the best")
    group.add_argument("--repeat-penalty", type=float, metavar="R", help="over 1 repeats less")
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    group.add_argument(
        "--stop", action="append", metavar="TEXT", help="end before this (repeatable)"
    )
    group.add_argument(
        "--json-schema", metavar="J|@FILE", help="the answer must fit this JSON schema"
    )
    group.add_argument("--grammar", metavar="G|@FILE", help="the answer must fit this GBNF grammar")


def run(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Ask, print the answer, and (with -v) what it cost."""
    ask = _ask(options)
    stream = options.stream if options.stream is not None else paper.terminal and not paper.as_json
    if not stream:
        outcome = client.run(**ask)
        if paper.as_json:
            paper.document(msgspec.to_builtins(outcome))
        else:
            show_output(paper, outcome.output)
    else:
        outcome = _stream(client, ask, paper)
    if options.verbose and not paper.as_json:
        print(explain(outcome), file=sys.stderr)
    return Exit.OK


def _stream(client: Client, ask: Ask, paper: Paper) -> Outcome:
    """Print the pieces as they come; what is no text is printed at the end."""
    last = ""
    with client.stream(**ask) as stream:
        for number, piece in enumerate(stream):
            if paper.as_json:
                paper.document({"n": number, "text": piece})
            else:
                paper.piece(piece)
            last = piece or last
        outcome = stream.outcome
    if paper.as_json:
        paper.document({"outcome": msgspec.to_builtins(outcome)})
    elif not last:
        show_output(paper, outcome.output)
    elif not last.endswith("\n"):
        paper.line()
    return outcome


def show_output(paper: Paper, output: dict[str, object]) -> None:
    """Print an answer: a text as it is, lists of labels as tables, the rest as names and values."""
    text = output.get("text")
    if isinstance(text, str) and (text or len(output) == 1) and "label" not in output:
        paper.piece(text if text.endswith("\n") else f"{text}\n")
        return
    tables = {name: value for name, value in output.items() if _is_table(value)}
    paper.facts({name: value for name, value in output.items() if name not in tables})
    for name, value in tables.items():
        rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
        titles = list(rows[0])
        paper.line()
        paper.line(f"{name}:")
        paper.table(titles, [[plain(row.get(title, "-")) for title in titles] for row in rows])


def _is_table(value: object) -> bool:
    """Tell whether this is a list of maps that all have something in them."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and row for row in value)
    )


def explain(outcome: Outcome) -> str:
    """Return who answered, why, and what it cost, in two lines."""
    usage = outcome.usage
    parts = [
        f"queue {milliseconds(usage.queue_ms)}",
        f"load {milliseconds(usage.load_ms)}{' (cold)' if outcome.cold else ''}",
        f"run {milliseconds(usage.run_ms)}",
        f"engine {milliseconds(usage.engine_ms)}",
    ]
    if usage.first_token_ms is not None:
        parts.append(f"first token {milliseconds(usage.first_token_ms)}")
    if usage.tokens_out is not None:
        parts.append(f"tokens {usage.tokens_in or 0} in, {usage.tokens_out} out")
    if usage.ram_bytes is not None:
        parts.append(f"RAM {size(usage.ram_bytes)}")
    if usage.joules is not None:
        parts.append(f"{usage.joules:.3g} J ({usage.joules_source})")
    decision = outcome.decision
    number = "" if isinstance(decision, msgspec.UnsetType) else f", decision {decision.id}"
    who = f"{outcome.expert} release {outcome.release}: {outcome.why}{number}"
    return f"[{who}]\n[{' · '.join(parts)}]"


def _ask(options: argparse.Namespace) -> Ask:
    """Return what the client library is to ask.

    Raises:
        UsageError: the arguments exclude each other, or none is an input.
        InvalidError: a text that should be JSON is none.
        OSError: a file cannot be read.
    """
    given = [name for name in INPUTS if getattr(options, name) is not None]
    if (options.expert or options.task) and options.words is None and not given:
        # The expert is settled, so the one word that is there is the text.
        options.name, options.words = None, options.name
    if options.name and options.expert:
        raise UsageError("give the expert once: EXPERT or --expert")
    if options.words is not None:
        if options.text is not None:
            raise UsageError("give the text once: TEXT or --text")
        options.text = options.words
    given = [name for name in INPUTS if getattr(options, name) is not None]
    if len(given) != 1:
        names = ", ".join(f"--{name}" for name in INPUTS)
        hint = (
            '; to ask without naming an expert: --text "..."' if options.name and not given else ""
        )
        raise UsageError(f"give exactly one input: TEXT after EXPERT, or one of {names}{hint}")
    ask: dict[str, object] = {
        name: getattr(options, name) for name in PASSED if getattr(options, name) is not None
    }
    if options.verbose and not (options.expert or options.name):
        ask["explain"] = True
    ask |= {"expert": options.expert or options.name} | _input(given[0], getattr(options, given[0]))
    if options.json_schema is not None:
        ask["json_schema"] = _json(read_text(options.json_schema), "--json-schema")
    if options.grammar is not None:
        ask["grammar"] = read_text(options.grammar)
    return cast("Ask", ask)  # built by name; the library checks it


def _input(name: str, value: str) -> dict[str, object]:
    """Return the input as the client library's keyword."""
    match name:
        case "text":
            return {"text": read_text(value)}
        case "chat":
            return {"chat": _json(read_text(value), "--chat")}
        case "data":
            return {"json": _json(read_text(value), "--data")}
        case "series":
            source = sys.stdin.read() if value == "-" else Path(value).read_text(encoding="utf-8")
            table = read_series(source)
            if table.left_out:
                print(f"aiosctl: left out: {', '.join(table.left_out)}", file=sys.stderr)
            return {"series": table.rows}
        case _:
            return {name: sys.stdin.buffer.read() if value == "-" else Path(value)}


def read_text(value: str) -> str:
    """Return the text, or what is in the file after @, or stdin for `-`.

    Raises:
        InvalidError: the file is not UTF-8.
        OSError: the file cannot be read.
    """
    try:
        if value == "-":
            return sys.stdin.read()
        if value.startswith("@@"):
            return value[1:]
        return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    except UnicodeDecodeError as error:
        raise InvalidError(f"{value} is not UTF-8: {error}", field="input.text") from error


def _json(text: str, what: str) -> object:
    """Return the JSON value in `text`."""
    try:
        value: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidError(f"{what} is no JSON: {error}", field="input") from error
    return value
