"""The run of a language model: a larger one writes texts, a smaller one learns how it would go on.

Both students learn the same texts that the teacher wrote (sequence-level, Kim and Rush 2016); one
also learns at every token how likely the teacher held the others (Hinton et al. 2015). They are
judged in llama.cpp, on texts of other seeds: how often the likeliest next token is the teacher's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.distill import packing, report
from tools.distill.curves import draw
from tools.distill.device import Name, device
from tools.distill.engine import measure
from tools.distill.logit_cache import LogitCache
from tools.distill.on_policy import OnPolicy, refine
from tools.distill.progress import Progress
from tools.distill.proof import Contender, Gain, Proof, Slice, difference, mcnemar
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.spec import CausalLm
from tools.distill.students.causal import CausalLearner, CausalNet, Texts, write_gguf
from tools.distill.table import key_of
from tools.distill.teachers.spec import Gguf
from tools.distill.teachers.writer import Writer
from tools.distill.top_k import compress
from tools.distill.training import Checkpoint, learn

HELD_SEED = 1_000_000
HELD = 60
PARTS = ("beginning", "middle", "end")


@dataclass(frozen=True, eq=False)
class Read:
    """What a model says of the held-out texts: by text, its likeliest tokens and the loss."""

    best: list[NDArray[np.int64]]
    loss: list[NDArray[np.float64]]


def press_language(
    recipe: Recipe, book: RunBook, words: Path, assets: Path, cache: Path, on: Name = "cpu"
) -> Proof:
    """Carry out a recipe of a language model."""
    spec, asked = recipe.student, recipe.teacher
    if not isinstance(spec, CausalLm) or not isinstance(asked, Gguf):
        raise TypeError("a language model learns from a GGUF file")
    torch.set_num_threads(1)
    teacher = Writer(assets / asked.path, asked.sha256, spec.context)
    tokens = written(book, teacher, spec, recipe.seed)
    answers = LogitCache(
        cache / recipe.name / f"{key_of(teacher.fingerprint).hex()}.logits",
        teacher.fingerprint,
        recipe.method.top_k,
    )
    with answers:
        texts = Texts(tokens, _answered(teacher, tokens, answers, recipe.method.top_k))
    folders = {}
    for name in ("distilled", "labels-alone"):
        taught = name == "distilled"
        folders[name] = folder = book.package if taught else book.folder / name
        folder.mkdir(exist_ok=True)
        net = CausalNet(spec, teacher.vocabulary, recipe.seed).to(device(on))
        learn(
            CausalLearner(net, texts, (recipe.training, recipe.method), recipe.seed, taught=taught),
            recipe.training.epochs,
            Checkpoint(book.checkpoints / f"{name}.checkpoint"),
            lambda epoch, figures, name=name: book.add_point(name, epoch, figures),
            Progress(name),
        )
        net.cpu()
        if taught and "on-policy" in recipe.method.names:
            how = OnPolicy(recipe.method.on_policy_steps, rate=recipe.training.rate / 4)
            refine(net, teacher.path, tokens, how, recipe.seed)
        model = folder / f"{recipe.name}.gguf"
        write_gguf(net, teacher.path, model, spec.quantization, recipe.name)
        _manifest(folder, words / recipe.package.words, spec, {})
    draw(book)
    held = [teacher.write(spec.length, HELD_SEED + at) for at in range(HELD)]
    reads = {"teacher": _read(teacher, held)}
    for name, folder in folders.items():
        reads[name] = _read(Writer(folder / f"{recipe.name}.gguf", "", spec.context), held)
    proof = _proof(recipe, reads, folders["distilled"])
    _write_card(recipe, book, words, proof, len(tokens))
    return proof


def written(book: RunBook, teacher: Writer, spec: CausalLm, seed: int) -> list[list[int]]:
    """Return the texts that the teacher wrote; each is written once, whatever ends the run."""
    path = book.folder / "texts.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    found: list[list[int]] = [json.loads(line) for line in lines]
    progress = Progress("the teacher writes")
    with path.open("a", encoding="utf-8") as file:
        while len(found) < spec.texts:
            found.append(teacher.write(spec.length, seed * 100_000 + len(found)))
            file.write(json.dumps(found[-1]) + "\n")
            progress.show(len(found) / spec.texts)
    progress.end()
    return found


def _answered(
    teacher: Writer, tokens: list[list[int]], cache: LogitCache, k: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
    """Return the k likeliest next tokens at each place of each text, by the cache."""
    places, values = [], []
    progress = Progress("the teacher reads")
    for at, text in enumerate(tokens):
        key = key_of(json.dumps(text))
        answer = cache.get(key)
        if answer is None:
            answer = compress(teacher.logits(text), k)
            cache.put(key, answer)
        places.append(answer.places.astype(np.int64))
        values.append(answer.values.astype(np.float32))
        progress.show((at + 1) / len(tokens))
    progress.end()
    return places, values


def _read(model: Writer, held: list[list[int]]) -> Read:
    best, loss = [], []
    for text in held:
        logits = model.logits(text)[:-1].astype(np.float64)
        top = logits.max(axis=1)
        whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        best.append(logits.argmax(axis=1))
        loss.append(whole - logits[np.arange(len(logits)), text[1:]])
    return Read(best, loss)


def _proof(recipe: Recipe, reads: dict[str, Read], folder: Path) -> Proof:
    teacher = reads["teacher"]
    agree = {
        name: [one == other for one, other in zip(read.best, teacher.best, strict=True)]
        for name, read in reads.items()
    }
    contenders = {
        name: Contender(
            name,
            int(sum(each.sum() for each in agree[name])),
            sum(len(each) for each in agree[name]),
            {"perplexity": float(np.exp(np.concatenate(read.loss).mean()))},
        )
        for name, read in reads.items()
    }
    slices = []
    for at, part in enumerate(PARTS):
        shares = [
            float(np.concatenate([np.array_split(each, 3)[at] for each in agree[name]]).mean())
            for name in ("teacher", "distilled", "labels-alone")
        ]
        count = sum(len(np.array_split(each, 3)[at]) for each in agree["teacher"])
        slices.append(Slice(f"{part} of a text", count, *shares))
    return Proof(
        recipe.name,
        recipe.task,
        f"{HELD} texts that the teacher wrote from other seeds; intervals are over texts",
        "likeliest next token is the teacher's",
        contenders["teacher"],
        contenders["distilled"],
        contenders["labels-alone"],
        _gain(agree["distilled"], agree["labels-alone"], recipe.seed),
        _gain(agree["distilled"], agree["teacher"], recipe.seed),
        slices,
        measure(folder, "Once upon a time"),
        ["The interval of a share above counts tokens as if they were independent; they are not."],
    )


def _gain(first: list[NDArray[np.bool_]], second: list[NDArray[np.bool_]], seed: int) -> Gain:
    """Return the difference of the mean share by text; won and lost are texts."""
    one, other = (np.array([each.mean() for each in rows]) for rows in (first, second))
    value, low, high = difference(one, other, seed)
    won, lost = int((one > other).sum()), int((one < other).sum())
    return Gain(value, low, high, won, lost, mcnemar(won, lost))


def _manifest(folder: Path, template: Path, spec: CausalLm, values: dict[str, str]) -> None:
    architecture = (
        f"llama, {spec.layers} layers, width {spec.width}, {spec.heads} heads, feed-forward "
        f"{spec.feed_forward}, {spec.quantization}"
    )
    packing.write_package(
        folder,
        template,
        {"architecture": architecture, "figures": "", "ram_bytes": "0", **values},
    )


def _write_card(recipe: Recipe, book: RunBook, words: Path, proof: Proof, count: int) -> None:
    from tools.train import card  # noqa: PLC0415 - beside its use

    spec = recipe.student
    assert isinstance(spec, CausalLm)  # noqa: S101 - seen before
    ram = str(int(float(proof.engine.get("ram_bytes", 0))))
    values = {"figures": card.figure_tables(report.figures(proof)), "ram_bytes": ram}
    _manifest(book.package, words / recipe.package.words, spec, values)
    text = report.markdown(proof)
    how = report.how(recipe, "a GGUF file", f"{count} texts of the teacher's own.")
    (book.package / "README.md").write_text(f"# {recipe.name}\n\n{text}\n\n{how}\n", "utf-8")
    book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
    print(text)
