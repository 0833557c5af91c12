"""The run of a slot filler: a tagger that reads both ways teaches a language model.

Both students begin with the same release and learn the same sentences in the same order; for the
first `shared` epochs they are one. Then one goes on with labels alone, and one with its teacher's
shares mixed in. Both are judged in llama.cpp, under the grammar, on the sentences that no training
has seen.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tools.distill.curves import draw
from tools.distill.device import Name, device
from tools.distill.progress import Progress
from tools.distill.proof import Proof
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.slots.beside import Beside, Tell
from tools.distill.slots.growing import widened
from tools.distill.slots.judging import ALONE, Judge, Told
from tools.distill.slots.learning import Lesson, Pace, SlotLearner, SlotNames, exact
from tools.distill.slots.reading import Reading, read, read_steps
from tools.distill.slots.sentences import Mixture, Sentences
from tools.distill.slots.student import CONTEXT, Reader, grown_from, new_one, vocabulary_of
from tools.distill.slots.tagger import Shares, Tagger, TaggerLearner, answer_of, asked
from tools.distill.slots.unlabelled import Taught, ask
from tools.distill.spec import SlotLm
from tools.distill.teachers.spec import SlotTagger
from tools.distill.teachers.transformer import Encoder, folder_of
from tools.distill.training import Checkpoint, learn
from tools.train.home_command import grammar
from tools.train.home_command.artifact import About, copy_tokenizer, tensors_of, write_file
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.engine import Answer
from tools.train.home_command.evaluation import answered, gold_of
from tools.train.home_command.labels import Example
from tools.train.home_command.network import Shape
from tools.train.home_command.vocabulary import Vocabulary

SPLIT_SEED = 7
"""The held-out sentences are those of the first release, whatever a recipe's seed."""
SHARED, WATCHED, ANSWERS = "the shared epochs", "the watch part", "the answers"
ABOUT = "Sentences for a home board to intent and slots as JSON"
MORE = 1000
"""How far from a part's number that is of which labelled sentences stand for taught texts."""
MERGE_DROP = 0.05
"""The share of words that are cut into smaller pieces than need be."""


class Watched(NamedTuple):
    """The share of the watch part that is right, and what is kept of the start for it."""

    share: float
    kept: float


def press_slots(
    recipe: Recipe, book: RunBook, words: Path, assets: Path, on: Name = "cpu"
) -> Proof:
    """Carry out a recipe of a slot filler; the student of labels alone beside the rest.

    Raises:
        DistillError: the student of labels alone was ended, or the model is too large.
    """
    if not isinstance(recipe.student, SlotLm) or not isinstance(recipe.teacher, SlotTagger):
        raise TypeError("a slot filler learns from a tagger")
    torch.set_num_threads(1)
    run = _Run(recipe, recipe.student, recipe.teacher, book, assets, on)
    folders = {"distilled": book.package, ALONE: book.folder / ALONE}
    with Beside(run.alone, book.folder / f"{ALONE}.log") as beside:
        _ = run.taught if run.spec.texts else run.teacher
        beside.wait(SHARED)
        watched = {"distilled": run.student("distilled", folders["distilled"])}
        answers = {"distilled": run.answers(folders["distilled"])}
        watched[ALONE] = beside.wait(WATCHED)
        answers[ALONE] = beside.wait(ANSWERS)
    for name, (share, kept) in watched.items():
        found = {"exact on the watch part": share, "kept of the start": kept}
        book.stage(name, lambda found=found: found)
    draw(book)
    judge = Judge(recipe, run.spec, book, words, run.corpus.test)
    return judge.prove(run.told(), answers)


@dataclass(frozen=True)
class _Run:
    """What the stages of one run share."""

    recipe: Recipe
    spec: SlotLm
    asks: SlotTagger
    book: RunBook
    assets: Path
    on: Name

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.read(self.assets, SPLIT_SEED)

    @cached_property
    def sentences(self) -> Sentences:
        own = self.spec
        mixture = Mixture(
            own.hwu64, own.snips, own.home, own.other, own.phrases, own.clinc150, own.requests
        )
        return Sentences(self.corpus, mixture, self.recipe.seed + 4)

    @cached_property
    def teacher(self) -> Tagger:
        """Fit the teacher, or take it from its checkpoint."""
        asks, seed = self.asks, self.recipe.seed
        folder = folder_of(asks.path, self.assets)
        Encoder(folder, asks.sha256)  # looks at the digest
        torch.manual_seed(seed)
        net = Tagger(folder, asks.layers).to(device(self.on))
        mixture = Mixture(
            asks.hwu64, asks.snips, asks.home, asks.other, asks.phrases, requests=asks.requests
        )
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
        requests = self.sentences.each_request() if self.spec.requests else []
        found = ask(
            self.teacher,
            (self.corpus, requests),
            self.recipe.seed + 20,
            progress.show,
            self.spec.texts * (self.recipe.training.epochs - self.spec.shared),
        )
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

    def alone(self, tell: Tell) -> None:
        """Do what needs no teacher: the shared epochs, the student of labels alone, its answers."""
        self._shared()
        tell(SHARED, self.spec.shared)
        folder = self.book.folder / ALONE
        tell(WATCHED, self.student(ALONE, folder))
        tell(ANSWERS, self.answers(folder))

    def answers(self, folder: Path) -> list[Answer]:
        """Return what a student's file says of the held-out sentences, in llama.cpp."""
        model = folder / f"{self.recipe.name}.gguf"
        golds = [gold_of(each) for each in self.corpus.test]
        return answered(model, folder / "grammar.gbnf", golds, 1)

    def told(self) -> list[Told]:
        """Return what the teacher says of the held-out sentences."""
        texts = [each.text for each in self.corpus.test]
        return [answer_of(*each) for each in zip(asked(self.teacher, texts), texts, strict=True)]

    @property
    def _pace(self) -> Pace:
        training = self.recipe.training
        return Pace(training.rate, training.epochs, training.batch, fall=training.fall)

    def _begun(self) -> Reader:
        own, seed = self.spec, self.recipe.seed
        if own.width:
            shape = Shape(own.width, own.layers, own.heads, own.feed_forward, CONTEXT)
            return new_one(self.start, shape, seed).to(device(self.on))
        begun = grown_from(self.start, tuple(own.new_layers), seed)
        grown = begun if own.times == (1, 1) else widened(begun, own.times, seed)
        return grown.to(device(self.on))

    def _shared(self) -> SlotLearner:
        """Return the student as it is after the epochs that both have."""
        learner = SlotLearner(self._begun(), self._plain, self._pace, self.recipe.seed)
        self._learn("shared", learner, self.spec.shared)
        return learner

    def student(self, name: str, folder: Path) -> Watched:
        """Train one student (or take its last checkpoint), from the shared one on; write it."""
        net = self._begun()
        given = self._alone if name == ALONE else self._taught
        learner = SlotLearner(net, given, self._pace, self.recipe.seed)
        learner.restore(self._shared().state())
        file = self.book.checkpoints / f"{name}.checkpoint"
        epochs = (self.spec.shared, self.recipe.training.epochs)
        learn_from(learner, epochs, file, self.book, name)
        watched = self._keep_best(net, learner.average)
        net.cpu()
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
        return watched

    def _keep_best(self, net: Reader, learned: Mapping[str, Tensor]) -> Watched:
        """Put into the net the blend with its start that has most of the watch part right."""
        begun, found = self._begun(), []
        for kept in sorted(set(self.spec.kept)):
            net.load_state_dict(blended(begun, learned, kept))
            found.append((sum(exact(net, self.watched)) / len(self.watched), kept))
        share, kept = max(found)
        net.load_state_dict(blended(begun, learned, kept))
        return Watched(round(share, 4), kept)

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
