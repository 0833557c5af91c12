"""A local transformer whose upper layers learn the labels: a teacher that knows this task.

The lower layers stay as they are, so that what they give for a row is worked out once. Rows of one
length are read together, without padding. A checkpoint is written after every epoch.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tools.distill.progress import Progress
from tools.distill.table import NONE, Input, Table, key_of
from tools.distill.teachers.fitted import fit_digest
from tools.distill.teachers.spec import Transformer
from tools.distill.teachers.transformer import LONGEST, Encoder
from tools.distill.training import Checkpoint, learn

BATCH = 32
HEAD_RATE, DECAY, WARM_UP, CLIP = 1e-3, 0.01, 0.1, 1.0
# Rows of no label in every batch, and what they weigh (outlier exposure, Hendrycks et al. 2019).
FOREIGN, FOREIGN_WEIGHT = 2, 0.3
# The size of the logits that the head begins with.
SHARP = 20.0
ROWS_AT_ONCE = 64


class Upper(nn.Module):
    """The upper layers, the mean over tokens and a linear head."""

    def __init__(self, layers: nn.ModuleList, width: int, classes: int) -> None:
        """Take the layers, the width of their states and the number of labels."""
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(width, classes)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits of rows of one length: (n, tokens, width) → (n, classes)."""
        mean = passed(self.layers, states).mean(1)
        logits: torch.Tensor = self.head(functional.dropout(mean, 0.1, self.training))
        return logits

    def begin(self, states: Sequence[torch.Tensor], labels: NDArray[np.int64]) -> None:
        """Set the head to the nearest of the labels' means, so that little is left to learn."""
        lengths = np.array([len(each) for each in states])
        means = torch.zeros(len(states), self.head.in_features)
        with torch.no_grad():
            for length in np.unique(lengths):
                rows = np.flatnonzero(lengths == length)
                means[rows] = passed(self.layers, torch.stack([states[row] for row in rows])).mean(
                    1
                )
            for label in range(self.head.out_features):
                mine = np.flatnonzero(labels == label)
                self.head.weight[label] = means[mine].mean(0) if len(mine) else 0.0
            size = self.head.weight.square().sum(1)
            sharp = SHARP / float(size.mean())
            self.head.bias.copy_(-0.5 * sharp * size)
            self.head.weight.mul_(sharp)


def passed(layers: Sequence[nn.Module] | nn.ModuleList, states: torch.Tensor) -> torch.Tensor:
    """Return states after these layers; older layers return a tuple."""
    for layer in layers:
        given = layer(states, None)
        states = given[0] if isinstance(given, tuple) else given
    return states


class Tuning:
    """The upper layers learning, in epochs; every epoch's chance is of its number and the seed."""

    def __init__(
        self, net: Upper, states: Sequence[torch.Tensor], table: Table, spec: Transformer, seed: int
    ) -> None:
        """Take the net, the lower layers' states of each row (tokens, width), and the labels."""
        self._net, self._states, self._spec, self._seed = net, states, spec, seed
        self._labels = torch.from_numpy(table.labels)
        self._known = np.flatnonzero(table.labels > NONE)
        self._foreign = np.flatnonzero(table.labels == NONE)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": net.layers.parameters(), "most": spec.rate},
                {"params": net.head.parameters(), "most": HEAD_RATE},
            ],
            lr=spec.rate,
            weight_decay=DECAY,
        )

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from every row once, those of one length together."""
        torch.manual_seed(self._seed * 10_000 + number)
        chance = np.random.default_rng([self._seed, number])
        lengths = np.array([len(self._states[row]) for row in self._known])
        batches = list(batches_of(self._known, lengths, chance))
        self._net.train()
        total = 0.0
        for at, rows in enumerate(batches):
            self._set_rate((number + at / len(batches)) / self._spec.epochs)
            loss = functional.cross_entropy(
                self._net(self._together(rows)),
                self._labels[rows],
                label_smoothing=self._spec.smoothing,
            )
            if len(self._foreign):
                for row in chance.choice(self._foreign, FOREIGN):
                    given = functional.log_softmax(self._net(self._states[row][None]), dim=1)
                    loss = loss - FOREIGN_WEIGHT / FOREIGN * given.mean()
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._net.parameters(), CLIP)
            self._optimizer.step()
            total += float(loss.detach())
            tick((at + 1) / len(batches))
        self._net.eval()
        return {"loss": total / len(batches)}

    def _together(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.stack([self._states[row] for row in rows])

    def _set_rate(self, done: float) -> None:
        """Rise for a tenth, then fall in a line."""
        share = min(done / WARM_UP + 1e-2, 1.0) * max(1e-2, min(1.0, (1 - done) / (1 - WARM_UP)))
        for group in self._optimizer.param_groups:
            group["lr"] = group["most"] * share

    def state(self) -> bytes:
        """Return net and optimizer."""
        file = io.BytesIO()
        torch.save([self._net.state_dict(), self._optimizer.state_dict()], file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, optimizer = torch.load(io.BytesIO(state), weights_only=True)
        self._net.load_state_dict(net)
        self._net.eval()
        self._optimizer.load_state_dict(optimizer)


def batches_of(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], chance: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in batches of one length each, in the order of chance."""
    found = []
    for length in np.unique(lengths):
        mine = chance.permutation(rows[lengths == length])
        found += np.array_split(mine, max(1, round(len(mine) / BATCH)))
    for at in chance.permutation(len(found)):
        yield found[at]


class TunedTeacher:
    """The encoder with its upper layers and a head that learned the labels."""

    batch = 512

    def __init__(
        self,
        spec: Transformer,
        encoder: Encoder,
        table: Table,
        classes: int,
        place: tuple[Path, int],
    ) -> None:
        """Take the rows, and the folder of its checkpoint with the seed.

        It learns when it is first asked.
        """
        self._spec, self._encoder, self._classes = spec, encoder, classes
        self._table = table.where(table.labels >= NONE)
        self._folder, self._seed = place
        self.fingerprint = (
            f"{fit_digest('tuned transformer', spec, self._table)} on {encoder.digest[:16]} "
            f"seed {self._seed}"
        )

    @cached_property
    def _model(self) -> tuple[Any, nn.ModuleList, Upper]:
        """Learn, or go on from the checkpoint; return the embeddings, lower and upper layers."""
        words, model = self._encoder.parts
        torch.manual_seed(self._seed)
        model.requires_grad_(requires_grad=False)
        layers = model.encoder.layer
        count = min(self._spec.layers, len(layers))
        lower, upper = layers[: len(layers) - count], layers[len(layers) - count :]
        upper.requires_grad_(requires_grad=True)
        net = Upper(upper, int(model.config.hidden_size), self._classes)
        del words
        name = key_of(self.fingerprint).hex()
        self._folder.mkdir(parents=True, exist_ok=True)
        checkpoint = Checkpoint(self._folder / f"{name}.checkpoint")
        kept = checkpoint.read()
        is_over = kept is not None and kept[0] >= self._spec.epochs
        texts = [] if is_over else [str(each) for each in self._table.inputs]
        states = self._lower(texts, lower)
        if kept is None:
            known = np.flatnonzero(self._table.labels > NONE)
            net.begin([states[row] for row in known], self._table.labels[known])
        tuning = Tuning(net, states, self._table, self._spec, self._seed)
        learn(
            tuning,
            self._spec.epochs,
            checkpoint,
            lambda epoch, figures: print(f"teacher, epoch {epoch}: loss {figures['loss']:.4f}"),
            Progress("teacher learns"),
        )
        return model, lower, net.eval()

    def _lower(
        self, texts: Sequence[str], layers: Sequence[nn.Module] | nn.ModuleList
    ) -> list[torch.Tensor]:
        """Return what the embeddings and these layers give for each text: (tokens, width)."""
        words, model = self._encoder.parts
        if not texts:
            return []
        tokens = words(list(texts), truncation=True, max_length=LONGEST)["input_ids"]
        found: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        lengths = np.array([len(each) for each in tokens])
        with torch.no_grad():
            for length in np.unique(lengths):
                mine = np.flatnonzero(lengths == length)
                for start in range(0, len(mine), ROWS_AT_ONCE):
                    rows = mine[start : start + ROWS_AT_ONCE]
                    ids = torch.tensor([tokens[row] for row in rows])
                    for row, one in zip(
                        rows, passed(layers, model.embeddings(input_ids=ids)), strict=True
                    ):
                        found[row] = one
        return found

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        _, lower, upper = self._model
        states = self._lower([str(each) for each in inputs], lower)
        found = np.zeros((len(inputs), self._classes), np.float32)
        lengths = np.array([len(each) for each in states])
        with torch.no_grad():
            for length in np.unique(lengths):
                rows = np.flatnonzero(lengths == length)
                found[rows] = upper(torch.stack([states[row] for row in rows])).numpy()
        if not math.isfinite(float(found.sum())):
            raise ValueError("the teacher's logits are not finite")
        return found
