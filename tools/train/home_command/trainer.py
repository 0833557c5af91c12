"""Training with checkpoints, resumable between epochs."""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from tools.train.home_command.augmentation import Augmenter
from tools.train.home_command.chance import dice
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.encoding import Sequence, encode, encode_auxiliary
from tools.train.home_command.labels import OTHER, Example
from tools.train.home_command.network import Network
from tools.train.home_command.vocabulary import Vocabulary

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of one training run."""

    epochs: int = 13
    batch_tokens: int = 2048
    rate: float = 2.0e-3
    warmup: int = 200
    weight_decay: float = 0.05
    dropout: float = 0.1
    smoothing: float = 0.02
    intent_weight: float = 2.0
    fixed_weight: float = 0.2
    prompt_weight: float = 0.0
    auxiliary_weight: float = 1.0
    auxiliary_share: float = 0.6
    hwu64_copies: int = 3
    home_sentences: int = 8000
    other_sentences: int = 1500
    merge_drop: float = 0.06
    average: float = 0.998
    threads: int = 1
    seed: int = 7


def epoch_sequences(
    corpus: Corpus, vocabulary: Vocabulary, recipe: Recipe, epoch: int
) -> list[Sequence]:
    """Make the augmented sequences of one epoch."""
    rng = dice(recipe.seed * 1000 + epoch)
    augmenter = Augmenter.over([e for e in corpus.train if e.source != "other"])
    other = [e for e in corpus.train if e.intent == OTHER]
    chosen: list[Example] = rng.sample(other, min(recipe.other_sentences, len(other)))
    for example in corpus.train:
        if example.source == "hwu64":
            chosen += [example] * recipe.hwu64_copies
        elif example.source == "snips":
            chosen.append(example)
    chosen += corpus.home_sentences(recipe.home_sentences, rng)
    changed = (augmenter.change(example, rng) for example in chosen)
    found = [s for e in changed if (s := encode(e, vocabulary, rng, recipe.merge_drop))]
    labels = {label: at for at, label in enumerate(auxiliary_labels(corpus))}
    last = max(1, recipe.epochs - 1)
    share = recipe.auxiliary_share * (1 - epoch / last)
    count = int(len(corpus.auxiliary) * share)
    for text, label in rng.sample(corpus.auxiliary, count):
        found.append(encode_auxiliary(text, labels[label], vocabulary))
    return found


def auxiliary_labels(corpus: Corpus) -> list[str]:
    """Return the labels of the auxiliary task in a fixed order."""
    return sorted({label for _, label in corpus.auxiliary})


def batches(sequences: list[Sequence], budget: int, rng: random.Random) -> Iterator[list[Sequence]]:
    """Group sequences of like length, at most ``budget`` tokens with padding."""
    order = sorted(sequences, key=lambda s: len(s.tokens) + rng.random() * 4)
    groups: list[list[Sequence]] = [[]]
    for item in order:
        widest = max((len(s.tokens) for s in groups[-1]), default=0)
        if groups[-1] and max(widest, len(item.tokens)) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(item)
    rng.shuffle(groups)
    yield from groups


def tensors(group: list[Sequence], recipe: Recipe, size: int) -> tuple[Tensor, Tensor]:
    """Return tokens and the loss weight of every token, right padded."""
    width = max(len(s.tokens) for s in group)
    tokens = torch.zeros(len(group), width, dtype=torch.long)
    weights = torch.zeros(len(group), width)
    for row, item in enumerate(group):
        length = len(item.tokens)
        tokens[row, :length] = torch.tensor(item.tokens)
        weights[row, 1 : item.prompt - 1] = recipe.prompt_weight
        weights[row, item.prompt : length] = 1.0
        if item.tokens[-1] >= size:
            weights[row, item.prompt] = recipe.auxiliary_weight
        else:
            weights[row, item.prompt] = recipe.fixed_weight
            weights[row, item.prompt + 1] = recipe.intent_weight
            weights[row, item.prompt + 2] = recipe.fixed_weight
    return tokens, weights


def loss_of(network: Network, tokens: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Return the weighted mean cross entropy of the next tokens."""
    targets, scale = tokens[:, 1:], weights[:, 1:]
    inputs = tokens[:, :-1].clamp(max=network.size - 1)
    keep = scale > 0
    logits = network(inputs, keep).float()
    losses = functional.cross_entropy(
        logits, targets[keep], reduction="none", label_smoothing=smoothing
    )
    return (losses * scale[keep]).sum() / scale[keep].sum()


@torch.no_grad()
def exact_share(network: Network, items: list[Sequence]) -> tuple[float, float]:
    """Return the shares of right intents and of wholly right greedy outputs."""
    network.eval()
    intents = exact = 0
    order = sorted(items, key=lambda s: len(s.tokens))
    for at in range(0, len(order), 64):
        group = order[at : at + 64]
        tokens, weights = tensors(group, Recipe(), network.size)
        keep = weights[:, 1:] > 0
        guess = tokens[:, 1:].clone()
        guess[keep] = network(tokens[:, :-1], keep)[:, : network.size].argmax(-1)
        right = (guess == tokens[:, 1:]) | ~keep
        exact += int(right.all(1).sum())
        intents += sum(bool(right[row, s.prompt]) for row, s in enumerate(group))
    network.train()
    return intents / len(items), exact / len(items)


class Trainer:
    """Runs the recipe; the averaged weights are what is exported."""

    def __init__(
        self, network: Network, corpus: Corpus, vocabulary: Vocabulary, recipe: Recipe, out: Path
    ) -> None:
        self.network, self.corpus, self.vocabulary = network, corpus, vocabulary
        self.recipe, self.checkpoint = recipe, out / "checkpoint.pt"
        decayed = [p for p in network.parameters() if p.ndim == 2]
        plain = [p for p in network.parameters() if p.ndim != 2]
        groups = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True)
        self.average = {k: v.clone() for k, v in network.state_dict().items()}
        self.step = self.epoch = 0

    def run(self) -> None:
        """Train from the last checkpoint, if any, to the end."""
        torch.set_num_threads(self.recipe.threads)
        self._resume()
        dev = {
            source: [s for e in self.corpus.dev if e.source == source
                     if (s := encode(e, self.vocabulary))]
            for source in ("hwu64", "snips", "ha", "other")
        }  # fmt: skip
        while self.epoch < self.recipe.epochs:
            began = time.monotonic()
            mean, count = self._epoch()
            self.epoch += 1
            self._save()
            figures = self._dev(dev)
            LOG.info(
                "epoch %d loss %.4f tokens %d seconds %.0f dev %s",
                self.epoch, mean, count, time.monotonic() - began, json.dumps(figures),
            )  # fmt: skip

    def _epoch(self) -> tuple[float, int]:
        recipe = self.recipe
        torch.manual_seed(recipe.seed + self.epoch)
        sequences = epoch_sequences(self.corpus, self.vocabulary, recipe, self.epoch)
        groups = list(batches(sequences, recipe.batch_tokens, dice(self.epoch)))
        total, tokens_seen = 0.0, 0
        began = time.monotonic()
        for at, group in enumerate(groups):
            done = (self.epoch + at / len(groups)) / recipe.epochs
            scale = min(1.0, (self.step + 1) / recipe.warmup)
            scale *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
            for part in self.optimizer.param_groups:
                part["lr"] = recipe.rate * scale
            tokens, weights = tensors(group, recipe, self.network.size)
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(self.network, tokens, weights, recipe.smoothing)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self._blend()
            self.step += 1
            total += float(loss.detach())
            tokens_seen += tokens.numel()
            if at % 100 == 99:
                speed = tokens_seen / (time.monotonic() - began)
                LOG.info("  step %d/%d loss %.4f %.0f tokens/s", at + 1, len(groups),
                         total / (at + 1), speed)  # fmt: skip
        return total / len(groups), tokens_seen

    def _blend(self) -> None:
        keep = min(self.recipe.average, (self.step + 1) / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def _dev(self, dev: dict[str, list[Sequence]]) -> dict[str, list[float]]:
        current = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        figures = {k: [round(x, 4) for x in exact_share(self.network, v)] for k, v in dev.items()}
        self.network.load_state_dict(current)
        return figures

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "epoch": self.epoch,
            "recipe": asdict(self.recipe),
        }  # fmt: skip
        partial = self.checkpoint.with_suffix(".tmp")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.epoch = state["average"], state["step"], state["epoch"]
