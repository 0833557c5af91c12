"""How often a package's text is wrong, by how near another token came: its `[check]`, measured.

Run `python -m tools.train.margins --assets DIR --package experts/home-command`. The least margin is
chosen on the sentences that watched the training (`dev`), as the lowest that leaves at most 4 % of
what passes wrong; its error is measured on the held-out ones (`test`), where names are unknown and
half as much again is wrong. An answer is right if intent and slots are.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Check, Manifest
from aiosd.domain.prepared import TextEnd
from aiosd.domain.request import Sampling
from aiosd.engines.llama import LlamaEngine
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.toml import decode_toml
from tools.train import card
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.evaluation import gold_of
from tools.train.home_command.figures import Gold

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# As the training of home-command has it (`Recipe.seed`).
SEED = 7
MOST_WRONG = 0.04
LEAST = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98]


class Writer:
    """A package that writes JSON, run as the board runs it, with its margins told."""

    def __init__(self, folder: Path) -> None:
        """Load the package in `folder`."""
        path = folder / "expert.toml"
        own = decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))
        asked = Check(kind="token_margin", passed=1, wrong=0, data="none yet")
        manifest = msgspec.structs.replace(own, check=asked)
        if manifest.model is None:
            raise ValueError(f"{path} names no model")
        self._pipeline = Pipeline(manifest, folder)
        self._engine = LlamaEngine()
        self._engine.load({"model": folder / manifest.model.path}, manifest.engine, threads=1)

    def ask(self, text: str) -> tuple[object, float]:
        """Return what was written, and its margin."""
        prepared = self._pipeline.prepare(TextInput(text=text), Sampling())
        *_, last = self._engine.run(prepared, cancelled=lambda: False)
        if not isinstance(last, TextEnd) or last.margin is None:
            raise TypeError("the package's model writes no text")
        return self._pipeline.finish(prepared, last)["value"], last.margin


def measured(writer: Writer, golds: Sequence[Gold]) -> tuple[Floats, Flags]:
    """Return the margin of each answer, and whether it is right."""
    margins, right = [], []
    for gold in golds:
        value, margin = writer.ask(gold.text)
        margins.append(margin)
        right.append(value == {"intent": gold.intent, "slots": gold.slots})
    return np.array(margins), np.array(right)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=Path("experts/home-command"))
    parser.add_argument("--limit", type=int, default=0, help="take every n-th to have so many")
    options = parser.parse_args(arguments)
    corpus, writer = Corpus.read(options.assets, SEED), Writer(options.package)
    parts = {"dev": corpus.dev, "test": corpus.test}
    found = {}
    for name, part in parts.items():
        step = max(1, len(part) // options.limit) if options.limit else 1
        found[name] = measured(writer, [gold_of(example) for example in part[::step]])
        show(name, *found[name])
    margins, right = found["dev"]
    few = [least for least in LEAST if wrong_of(margins, right, least) <= MOST_WRONG]
    chosen = min(few, default=1.0)
    margins, right = found["test"]
    sure = margins >= chosen
    wrong = int((sure & ~right).sum())
    print(f'kind = "token_margin", least = {chosen}, passed = {sure.sum()}, wrong = {wrong}')


def wrong_of(margins: Floats, right: Flags, least: float) -> float:
    """Return which share of what passes is wrong; 1 of nothing."""
    sure = margins >= least
    return float((~right[sure]).mean()) if sure.any() else 1.0


def show(name: str, margins: Floats, right: Flags) -> None:
    """Print what passes, and what of that is wrong."""
    print(card.share("right", int(right.sum()), len(right), name).line())
    for least in LEAST:
        sure = margins >= least
        wrong = int((sure & ~right).sum())
        print(card.share(f"passes {least}", int(sure.sum()), len(sure), name).line())
        print(card.share("  wrong of those", wrong, int(sure.sum()), name).line())


if __name__ == "__main__":
    main()
