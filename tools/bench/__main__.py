"""`python -m tools.bench`: every figure that is promised, measured on this machine."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.bench import cold, idle, latency, need, tokens
from tools.bench.figures import Figure, table
from tools.bench.machine import describe, sentence

BENCHES: dict[str, Callable[..., list[Figure]]] = {
    "latency": latency.measure,
    "cold": cold.measure,
    "tokens": tokens.measure,
    "idle": idle.measure,
    "need": need.measure,
}


def main() -> int:
    """Measure what is asked for; the exit status is 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures there too; - prints them after the table"
    )
    parser.add_argument("--only", choices=BENCHES, action="append", help="measure only this")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, ten seconds of idling")
    options = parser.parse_args()
    facts = describe()
    print(sentence(facts))
    figures: list[Figure] = []
    for name in options.only or BENCHES:
        print(f"measuring {name} …", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="aiosd-bench-") as folder:
            figures += BENCHES[name](Path(folder), quick=options.quick)
    print(table(figures))
    if options.json:
        content = {"machine": facts, "figures": [each.plain() for each in figures]}
        text = json.dumps(content, indent=2)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
