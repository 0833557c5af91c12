"""The run of a slot filler: a tagger that reads both ways teaches a language model.

Both students begin with the same release and learn the same sentences in the same order; for the
first `shared` epochs they are one. Then one goes on with labels alone, and one with its teacher's
shares mixed in. Both are judged in llama.cpp, under the grammar, on the sentences that no training
has seen.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import gguf
import numpy as np
import torch
from torch import Tensor

from tools.distill import packing, report
from tools.distill.curves import draw
from tools.distill.engine import measure
from tools.distill.fault import DistillError
from tools.distill.progress import Progress
from tools.distill.proof import Contender, Proof, Right, by_slice, gain
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.slots.learning import Lesson, Pace, SlotLearner, SlotNames, exact
from tools.distill.slots.reading import Reading, read, read_steps
from tools.distill.slots.sentences import Mixture, Sentences
from tools.distill.slots.student import CONTEXT, Reader, grown_from, vocabulary_of
from tools.distill.slots.tagger import Shares, Tagger, TaggerLearner, answer_of, asked
from tools.distill.slots.unlabelled import Taught, ask
from tools.distill.spec import SlotLm
from tools.distill.teachers.spec import SlotTagger
from tools.distill.teachers.transformer import Encoder, folder_of
from tools.distill.training import Checkpoint, learn
from tools.train import card
from tools.train.home_command import grammar
from tools.train.home_command.artifact import About, copy_tokenizer, tensors_of, write_file
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.engine import Answer
from tools.train.home_command.evaluation import answered, gold_of
from tools.train.home_command.figures import Gold, failure_class, summary
from tools.train.home_command.labels import Example
from tools.train.home_command.vocabulary import Vocabulary

SPLIT_SEED = 7
"""The held-out sentences are those of the first release, whatever a recipe's seed."""
BUNDLED = Path("experts")
ABOUT = "Sentences for a home board to intent and slots as JSON"
MORE = 1000
"""How far from a part's number that is of which labelled sentences stand for taught texts."""
MERGE_DROP = 0.05
"""The share of words that are cut into smaller pieces than need be."""
SAMPLE = "turn the kitchen lights to 40 percent"
GROUPS = {
    "hwu64": "HWU64",
    "snips": "SNIPS",
    "ha-names": "Home Assistant, seen templates, unseen names",
    "ha-template": "Home Assistant, unseen templates and names",
    "other": "other (CLINC150, BANKING77)",
}


def press_slots(recipe: Recipe, book: RunBook, words: Path, assets: Path) -> Proof:
    """Carry out a recipe of a slot filler."""
    if not isinstance(recipe.student, SlotLm) or not isinstance(recipe.teacher, SlotTagger):
        raise TypeError("a slot filler learns from a tagger")
    torch.set_num_threads(1)
    run = _Run(recipe, recipe.student, recipe.teacher, book, assets)
    folders = {}
    for name in ("distilled", "labels-alone"):
        folders[name] = book.package if name == "distilled" else book.folder / name
        run.student(name, folders[name])
    draw(book)
    return run.prove(folders, words)


@dataclass(frozen=True)
class _Run:
    """What the stages of one run share."""

    recipe: Recipe
    spec: SlotLm
    asks: SlotTagger
    book: RunBook
    assets: Path

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.read(self.assets, SPLIT_SEED)

    @cached_property
    def sentences(self) -> Sentences:
        own = self.spec
        mixture = Mixture(own.hwu64, own.snips, own.home, own.other, own.phrases, own.clinc150)
        return Sentences(self.corpus, mixture, self.recipe.seed + 4)

    @cached_property
    def teacher(self) -> Tagger:
        """Fit the teacher, or take it from its checkpoint."""
        asks, seed = self.asks, self.recipe.seed
        folder = folder_of(asks.path, self.assets)
        Encoder(folder, asks.sha256)  # looks at the digest
        torch.manual_seed(seed)
        net = Tagger(folder, asks.layers)
        mixture = Mixture(asks.hwu64, asks.snips, asks.home, asks.other, asks.phrases)
        sentences = Sentences(self.corpus, mixture, seed + 10)
        learner = TaggerLearner(net, sentences.epoch, (asks.rate, asks.epochs, asks.batch), seed)
        self._learn("teacher", learner, asks.epochs)
        return net

    @cached_property
    def taught(self) -> Taught:
        """Ask the teacher about the texts without labels, or take its answers as they are kept."""
        kept = Checkpoint(self.book.checkpoints / "answers.checkpoint")
        state = kept.read()
        if state is not None:
            return Taught.of(state[1])
        progress = Progress("the teacher is asked")
        found = ask(self.teacher, self.corpus, self.recipe.seed + 20, progress.show)
        progress.end()
        kept.write(1, found.state())
        return found

    def _learn(self, name: str, learner: SlotLearner | TaggerLearner, epochs: int) -> None:
        learn(
            learner,
            epochs,
            Checkpoint(self.book.checkpoints / f"{name}.checkpoint"),
            lambda epoch, figures: self.book.add_point(name, epoch, figures),
            Progress(name),
        )

    @cached_property
    def start(self) -> Path:
        return Path(self.spec.start)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return vocabulary_of(self.start)

    def student(self, name: str, folder: Path) -> None:
        """Train one student (or take its last checkpoint), from the shared one on; write it."""
        training, seed = self.recipe.training, self.recipe.seed
        net = grown_from(self.start, tuple(self.spec.new_layers), seed)
        pace = Pace(training.rate, training.epochs, training.batch, fall=training.fall)
        shared = SlotLearner(net, self._plain, pace, seed)
        self._learn("shared", shared, self.spec.shared)
        given = self._taught if name == "distilled" else self._alone
        learner = SlotLearner(net, given, pace, seed)
        learner.restore(shared.state())
        file = self.book.checkpoints / f"{name}.checkpoint"
        learn_from(learner, (self.spec.shared, training.epochs), file, self.book, name)
        begun = grown_from(self.start, tuple(self.spec.new_layers), seed)
        net.load_state_dict(blended(begun, learner.average, self.spec.kept))
        share = sum(exact(net, self.watched)) / len(self.watched)
        self.book.stage(name, lambda: {"exact on the watch part": round(share, 4)})
        folder.mkdir(parents=True, exist_ok=True)
        about = About(self.recipe.name, ABOUT, "CC-BY-4.0", CONTEXT, causal=False)
        write_file(
            folder / f"{self.recipe.name}.gguf",
            about,
            (net.shape, tensors_of(net.table, net.blocks, net.final_norm)),
            self.spec.quantization,
            lambda writer: copy_tokenizer(writer, self.start),
        )
        (folder / "grammar.gbnf").write_text(grammar.text(self.vocabulary), encoding="utf-8")

    @cached_property
    def watched(self) -> list[Reading]:
        """The watch part of the corpora: to choose by, never to learn from."""
        return [found for each in self.corpus.dev if (found := read(each, self.vocabulary))]

    def _plain(self, number: int) -> tuple[Sequence[Reading], Lesson | None]:
        return [reading for _, reading in self._read(number)], None

    def _alone(self, number: int) -> tuple[Sequence[Reading], Lesson | None]:
        """Return more labelled sentences in place of the teacher's texts."""
        more = self._read(number + MORE)[: self.spec.texts]
        return [reading for _, reading in (*self._read(number), *more)], None

    def _taught(self, number: int) -> tuple[Sequence[Reading], Lesson | None]:
        if self.spec.texts:
            return self._beside(number)
        rows = self._read(number)
        progress = Progress(f"the teacher is asked, epoch {number}")
        shares = asked(self.teacher, [each.text for each, _ in rows], progress.show)
        progress.end()
        readings: list[Reading] = [reading for _, reading in rows]
        told: list[Shares | None] = list(shares)
        if "step-by-step" in self.recipe.method.names:
            steps = [self._steps(each, one) for (each, _), one in zip(rows, shares, strict=True)]
            readings += [one for one in steps if one is not None]
            told += [None] * (len(readings) - len(told))
        names = SlotNames.of(self.vocabulary)
        return readings, Lesson(told, self.recipe.method.mixing, names)

    def _beside(self, number: int) -> tuple[Sequence[Reading], Lesson | None]:
        """Return labelled sentences, of which no teacher is asked, and texts it has answered."""
        readings = [reading for _, reading in self._read(number)]
        told: list[Shares | None] = [None] * len(readings)
        chance = random.Random(number)  # noqa: S311 - no secret
        for example, shares in self.taught.part(number, self.spec.texts):
            reading = read(example, self.vocabulary, chance, MERGE_DROP)
            if reading is not None:
                readings.append(reading)
                told.append(shares)
        names = SlotNames.of(self.vocabulary)
        return readings, Lesson(told, self.recipe.method.mixing, names)

    def _steps(self, example: Example, shares: Shares) -> Reading | None:
        """Return the teacher's own steps to its answer."""
        intent, spans = answer_of(shares, example.text)
        told = replace(example, intent=intent, spans=spans)
        return read_steps(told, self.vocabulary, self.recipe.method.steps_weight)

    def _read(self, number: int) -> list[tuple[Example, Reading]]:
        """Return an epoch's sentences: the same for both students."""
        chance = random.Random(number)  # noqa: S311 - no secret
        pairs = (
            (each, read(each, self.vocabulary, chance, MERGE_DROP))
            for each in self.sentences.epoch(number)
        )
        return [(each, reading) for each, reading in pairs if reading is not None]

    def prove(self, folders: dict[str, Path], words: Path) -> Proof:
        """Judge teacher and students on the held-out sentences; write the cards."""
        test = self.corpus.test
        golds = [gold_of(each) for each in test]
        told = [answer_of(each, one.text) for each, one in zip(
            asked(self.teacher, [each.text for each in test]), test, strict=True)]  # fmt: skip
        right = {"teacher": np.array([
            intent == one.intent and spans == one.spans
            for (intent, spans), one in zip(told, test, strict=True)
        ])}  # fmt: skip
        intents = {"teacher": float(np.mean([
            intent == one.intent for (intent, _), one in zip(told, test, strict=True)
        ]))}  # fmt: skip
        valid = {}
        for name, folder in folders.items():
            answers = answered(
                folder / f"{self.recipe.name}.gguf", folder / "grammar.gbnf", golds, 1
            )
            right[name] = np.array([
                not failure_class(gold, answer) for gold, answer in zip(golds, answers, strict=True)
            ])  # fmt: skip
            intents[name] = float(np.mean([
                gold.intent == answer.intent for gold, answer in zip(golds, answers, strict=True)
            ]))  # fmt: skip
            valid[name] = float(np.mean([answer.valid for answer in answers]))
            self.book.write(f"{name}.answers.json", _plain_figures(golds, answers))
        measured = self._package(folders["distilled"], words, [])
        proof = self._proof(golds, right, (intents, valid), measured)
        self._package(folders["distilled"], words, report.figures(proof))
        self._write_card(folders["distilled"], proof)
        return proof

    def _package(
        self, folder: Path, words: Path, figures: Sequence[card.Measured]
    ) -> dict[str, float | str]:
        """Write the manifest; without figures, measure the package in a daemon of its own."""
        bundled = BUNDLED / self.recipe.name
        packing.write_package(
            folder,
            words / self.recipe.package.words,
            {
                "figures": card.figure_tables(figures),
                "release": str(self.recipe.package.release),
                "architecture": _architecture(self.spec, folder / f"{self.recipe.name}.gguf"),
            },
            [*bundled.glob("*.tsv")],
        )
        return {} if figures else measure(folder, SAMPLE)

    def _proof(
        self,
        golds: Sequence[Gold],
        right: dict[str, Right],
        others: tuple[dict[str, float], dict[str, float]],
        measured: dict[str, float | str],
    ) -> Proof:
        intents, valid = others
        contenders = {
            name: Contender(
                name,
                int(rows.sum()),
                len(rows),
                {"intent accuracy": intents[name]}
                | ({"valid JSON": valid[name]} if name in valid else {}),
            )
            for name, rows in right.items()
        }
        if float(measured["bytes"]) > self.recipe.package.max_bytes:
            raise DistillError(
                f"the model has {measured['bytes']} bytes, the recipe allows "
                f"{self.recipe.package.max_bytes}"
            )
        commands = np.array([gold.group != "other" for gold in golds])
        over = gain(right["distilled"][commands], right["labels-alone"][commands])
        without = (
            f"Without `other`: {100 * over.value:+.2f} points over labels alone "
            f"({100 * over.low:+.2f} to {100 * over.high:+.2f}), n = {int(commands.sum())}."
        )
        began = (
            f"Both students began with the weights of {self.start.name}, sha256 "
            f"{_digest(self.start)}, and shared the first {self.spec.shared} epochs."
        )
        return Proof(
            self.recipe.name,
            self.recipe.task,
            f"{len(golds)} sentences held out: {', '.join(GROUPS.values())}",
            "exact match",
            contenders["teacher"],
            contenders["distilled"],
            contenders["labels-alone"],
            gain(right["distilled"], right["labels-alone"]),
            gain(right["distilled"], right["teacher"]),
            by_slice(
                [GROUPS[gold.group] for gold in golds],
                right["teacher"],
                right["distilled"],
                right["labels-alone"],
            ),
            measured,
            [without, began],
        )

    def _write_card(self, folder: Path, proof: Proof) -> None:
        how = report.how(self.recipe, f"{self.asks.path}, fitted to the labels", "")
        text = f"# {self.recipe.name}\n\n{report.markdown(proof)}\n\n{how}\n"
        (folder / "README.md").write_text(text, encoding="utf-8")
        self.book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
        print(report.markdown(proof))


@torch.no_grad()
def blended(start: Reader, learned: Mapping[str, Tensor], kept: float) -> dict[str, Tensor]:
    """Return weights of which `kept` is the start's and the rest what was learned."""
    own = start.state_dict()
    return {name: value.lerp(own[name], kept) for name, value in learned.items()}


def learn_from(
    learner: SlotLearner, epochs: tuple[int, int], file: Path, book: RunBook, name: str
) -> None:
    """Learn from the first to the last epoch, or on from the checkpoint if there is one."""
    first, last = epochs
    checkpoint = Checkpoint(file)
    kept = checkpoint.read()
    if kept is not None:
        first, state = kept
        learner.restore(state)
    progress = Progress(name)
    for number in range(first, last):

        def show(share: float, number: int = number) -> None:
            progress.show((number + share) / last)

        book.add_point(name, number, learner.epoch(number, show))
        checkpoint.write(number + 1, learner.state())
    progress.end()


def _plain_figures(golds: Sequence[Gold], answers: Sequence[Answer]) -> str:
    return json.dumps(summary(golds, answers), indent=1, ensure_ascii=False) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _architecture(spec: SlotLm, model: Path) -> str:
    weights = sum(int(np.prod(each.shape)) for each in gguf.GGUFReader(model).tensors)
    return f"llama, prompt read both ways, {weights / 1e6:.2f} M weights, {spec.quantization}"
