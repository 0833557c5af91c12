"""`make eval`: how well, and how fast, texts find their expert; the targets stand beside."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.eval import adversarial, bundled, escalation, plots, speed, text
from tools.eval.figures import Row
from tools.eval.sets import read_clinc, read_dev

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"


def parts(
    assets: Path, outcomes: Path | None, drawn: Path | None
) -> dict[str, Callable[[], Iterator[Row]]]:
    """Return the parts of the evaluation by name."""
    return {
        "dev": lambda: text.development(read_dev(assets)),
        "ten": lambda: text.ten_experts(read_clinc(assets), list(text.SIZES)),
        "intents": lambda: text.many_intents(read_clinc(assets)),
        "bundled": lambda: bundled.run(read_clinc(assets)),
        "escalation": lambda: escalation.run(
            read_dev(assets), outcomes, lambda curves: plots.draw(curves, drawn)
        ),
        "weak": lambda: text.weak_spots(read_dev(assets)),
        "attacks": lambda: adversarial.suite(read_clinc(assets)),
        "speed": lambda: speed.decisions(read_clinc(assets)),
        "many": lambda: speed.many_packages(read_clinc(assets)),
    }


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        help="dev, ten, intents, bundled, escalation, weak, attacks, speed, many (default: all)",
    )
    parser.add_argument(
        "--outcomes", type=Path, help="RouteLLM's outcomes: mmlu/*.csv, gsm8k/*.csv"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw curves into DIR, as PNG")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    if not options.assets.is_dir():
        raise SystemExit(f"{options.assets}: no such folder; the data are no part of the project")
    known = parts(options.assets, options.outcomes, options.plots)
    rows: list[Row] = []
    for name in options.parts or known:
        started = time.monotonic()
        print(f"── {name}")
        for row in known[name]():
            print(row.line(), flush=True)
            rows.append(row)
        print(f"   {time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1))


if __name__ == "__main__":
    main()
