"""Rebuild the ``home-command`` expert from its sources, or evaluate a model file."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_EPOCHS = 13


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; ``build`` is what runs without a subcommand."""
    parser = argparse.ArgumentParser(prog="tools.train.home_command", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="train, export and evaluate (the default)")
    build.add_argument("--assets", type=Path, required=True, help="folder with text/hwu64 ...")
    build.add_argument("--out", type=Path, required=True)
    build.add_argument("--epochs", type=int, default=DEFAULT_EPOCHS)
    build.add_argument("--threads", type=int, default=1)
    build.add_argument("--quantization", choices=("Q8_0", "F16", "F32"), default="Q8_0")
    check = commands.add_parser("evaluate", help="figures of a model file over a JSONL")
    check.add_argument("--model", type=Path, required=True)
    check.add_argument("--grammar", type=Path)
    check.add_argument(
        "--quote", default="value", help='the rule of the grammar that quotes; "": none'
    )
    check.add_argument("--beams", type=int, default=3, help="how many answers are followed at once")
    check.add_argument("--data", type=Path, required=True, help="text, intent, slots per line")
    check.add_argument("--threads", type=int, default=2)
    check.add_argument("--limit", type=int, default=0, help="take every n-th to have so many")
    check.add_argument("--out", type=Path, help="write the figures here, not to stdout")
    given = list(argv)
    if given and given[0] not in ("build", "evaluate", "-h", "--help"):
        given.insert(0, "build")
    return parser.parse_args(given)


def build(options: argparse.Namespace) -> None:
    """Train into a folder and write the package's files and figures there."""
    # The libraries for training are not needed to evaluate.
    from tools.train.home_command import artifact, grammar  # noqa: PLC0415
    from tools.train.home_command.corpus import Corpus  # noqa: PLC0415
    from tools.train.home_command.evaluation import evaluate, gold_of, write_golds  # noqa: PLC0415
    from tools.train.home_command.network import Shape  # noqa: PLC0415
    from tools.train.home_command.pipeline import train  # noqa: PLC0415
    from tools.train.home_command.trainer import Recipe  # noqa: PLC0415

    recipe = Recipe(epochs=options.epochs, threads=options.threads)
    network, vocabulary = train(options.assets, options.out, recipe, Shape())
    model = options.out / "home-command.gguf"
    size = artifact.write(network, vocabulary, model, options.quantization)
    logging.getLogger(__name__).info("wrote %s, %d bytes", model, size)
    rules = options.out / "grammar.gbnf"
    rules.write_text(grammar.text(vocabulary), encoding="utf-8")
    corpus = Corpus.read(options.assets, recipe.seed)
    golds = [gold_of(example) for example in corpus.test]
    write_golds(golds, options.out / "held-out.jsonl")
    figures = evaluate(model, rules, golds)
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def check(options: argparse.Namespace) -> None:
    """Evaluate a model file."""
    from tools.train.home_command.engine import Decoding  # noqa: PLC0415
    from tools.train.home_command.evaluation import evaluate, read_golds  # noqa: PLC0415

    decoding = Decoding(options.quote, options.beams)
    golds = read_golds(options.data)
    if options.limit and options.limit < len(golds):
        golds = golds[:: len(golds) // options.limit][: options.limit]
    report = json.dumps(
        evaluate(options.model, options.grammar, golds, options.threads, decoding),
        indent=1,
        ensure_ascii=False,
    )
    if options.out:
        options.out.write_text(report + "\n", encoding="utf-8")
    else:
        sys.stdout.write(report + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = arguments(sys.argv[1:] if argv is None else argv)
    if options.command == "build":
        build(options)
    else:
        check(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
