"""The verbs of the router: explain, feedback, decisions."""

import argparse
from collections.abc import Mapping

from aiosd.cli.ask import read_text
from aiosd.cli.failure import Exit
from aiosd.cli.look import rows_of, word
from aiosd.cli.render import Paper, milliseconds, plain, size
from aiosd.client import Client

Body = Mapping[str, object]

# More than so many removed experts are counted and not listed, unless asked for.
SHOWN = 12


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    parser.add_argument("text", metavar="TEXT|@FILE|-", help="the text to be routed")
    parser.add_argument("--task", help="as for run: only experts for this task")
    parser.add_argument("--all", action="store_true", help="list every expert that was removed")


def add_feedback(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `feedback`."""
    parser.add_argument("id", type=int, metavar="ID", help="the decision, as `run -v` shows it")
    parser.add_argument("verdict", choices=("good", "bad"), help="what the answer was")


def add_decisions(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `decisions`."""
    parser.add_argument("--last", type=int, default=20, metavar="N", help="how many (20)")


def explain(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print each step of a decision, without asking anybody."""
    body = client.explain(read_text(options.text), options.task)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    decision = body.get("decision")
    if isinstance(decision, Mapping):
        show_decision(decision, paper, shown=None if options.all else SHOWN)
    return Exit.OK if _field(body, "winner") else Exit.NO_ROUTE


def _field(body: Body, name: str) -> object:
    decision = body.get("decision")
    return decision.get(name) if isinstance(decision, Mapping) else None


def feedback(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Say whether an answer was good."""
    body = client.feedback(options.id, good=options.verdict == "good")
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    part = f" ({word(body, 'part')})" if body.get("part") else ""
    paper.line(f"{word(body, 'expert')}{part}: answers well with {_share(body.get('ok'))} now")
    return Exit.OK


def decisions(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print the last decisions."""
    body = client.decisions(options.last)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    rows = rows_of(body, "decisions")
    paper.table(
        ("ID", "EXPERT", "CHANCE", "TOOK", "JUDGED", "WHY"),
        [_decision_row(row) for row in rows],
        right="ID,CHANCE,TOOK",
    )
    tallies = rows_of(body, "success")
    if tallies:
        paper.line()
        paper.table(
            ("EXPERT", "PART", "GOOD", "BAD", "OK"),
            [
                (
                    word(row, "expert"),
                    word(row, "part"),
                    word(row, "good"),
                    word(row, "bad"),
                    _share(row.get("ok")),
                )
                for row in tallies
            ],
            right="GOOD,BAD,OK",
        )
    return Exit.OK


def show_decision(decision: Body, paper: Paper, shown: int | None = SHOWN) -> None:
    """Print a record step by step: removed, heard, gates, weighed, won."""
    removed = rows_of(decision, "removed")
    others = decision.get("others")
    far = f", and {others} that the text is far from" if others else ""
    paper.line(f"1. removed: {len(removed)}{far}")
    for row in removed[:shown]:
        paper.line(f"   {word(row, 'expert')}: {_reason(row)}")
    if shown is not None and len(removed) > shown:
        paper.line(f"   … and {len(removed) - shown} more (--all)")
    _show_heard(decision, paper)
    survivors = rows_of(decision, "survivors")
    if survivors:
        paper.line("3. weighed:")
        paper.table(
            ("EXPERT", "PART", "CHANCE", "OK", "LOADED", "NEEDS", "P95", "JOULES", "WORTH"),
            [_survivor_row(row) for row in survivors],
            right="CHANCE,OK,NEEDS,P95,JOULES,WORTH",
        )
    winner = decision.get("winner")
    paper.line(f"4. {winner}: {word(decision, 'why')}" if winner else f"4. {word(decision, 'why')}")
    micros = decision.get("micros")
    if isinstance(micros, (int, float)):
        paper.line(f"   decided in {micros:.0f} µs")
    _show_actual(decision, paper)


def _show_heard(decision: Body, paper: Paper) -> None:
    """Print what the text is taken to be meant for, and by what."""
    gates = rows_of(decision, "gates")
    if gates:
        paper.line(f"2. the text, by head {word(decision, 'head')}:")
        for row in rows_of(decision, "nearest"):
            part = f" ({word(row, 'part')})" if row.get("part") else ""
            paper.line(f"   {word(row, 'expert')}{part}: {_share(row.get('probability'))}")
        for row in gates:
            verdict = "passed" if row.get("passed") else "not passed"
            paper.line(
                f"   gate {word(row, 'name')}: {_number(row.get('value'))} "
                f"against {_number(row.get('threshold'))}, {verdict}"
            )
        grams = [
            f"{word(row, 'gram')!r} {_number(row.get('weight'))}"
            for row in rows_of(decision, "grams")
        ]
        if grams:
            paper.line(f"   n-grams: {', '.join(grams)}")
    else:
        paper.line("2. the text was not heard: there was nothing for it to decide")


def _reason(row: Body) -> str:
    """Say why an expert was removed, with its numbers."""
    found, limit = row.get("found"), row.get("limit")
    if row.get("reason") == "text":
        return f"the text is for it with {_share(found)}"
    allowed = f", {_number(limit)} allowed" if limit is not None else ""
    return f"{word(row, 'reason')} {_number(found)}{allowed}"


def _show_actual(decision: Body, paper: Paper) -> None:
    """Print what became of it, if anything did."""
    actual = decision.get("actual")
    if isinstance(actual, Mapping):
        joules = f", {_number(actual.get('joules'))} J" if actual.get("joules") is not None else ""
        paper.line(f"   took {_seconds(actual.get('seconds'))}{joules}")


def _survivor_row(row: Body) -> tuple[str, ...]:
    return (
        word(row, "expert"),
        word(row, "part"),
        _share(row.get("probability")),
        _share(row.get("ok")),
        "yes" if row.get("ready") else "no",
        size(row.get("need_bytes", 0)),
        _seconds(row.get("seconds")),
        _number(row.get("joules")),
        _number(row.get("utility")),
    )


def _decision_row(row: Body) -> tuple[str, ...]:
    actual = row.get("actual")
    took = actual.get("seconds") if isinstance(actual, Mapping) else None
    ok = actual.get("ok") if isinstance(actual, Mapping) else None
    near = rows_of(row, "nearest")
    chance = near[0].get("probability") if near else None
    judged = "-" if ok is None else "good" if ok else "bad"
    return (
        word(row, "id"),
        word(row, "winner"),
        _share(chance),
        _seconds(took),
        judged,
        word(row, "why"),
    )


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, (int, float)) else "-"


def _seconds(value: object) -> str:
    return milliseconds(value * 1e3) if isinstance(value, (int, float)) else "-"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else plain(value)
