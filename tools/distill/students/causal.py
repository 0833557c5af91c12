"""A small model of llama architecture with its teacher's tokenizer; written as a GGUF file."""

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tools.distill.device import device_of
from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.spec import CausalLm
from tools.train.home_command.artifact import About, copy_tokenizer, tensors_of, write_file
from tools.train.home_command.network import Block, RmsNorm, Shape

WARM_UP = 0.05


class CausalNet(nn.Module):
    """Tokens → logits of the next one; the table of embeddings is the output's too."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, spec: CausalLm, vocabulary: int, seed: int) -> None:
        """Take the sizes; the same seed gives the same weights."""
        super().__init__()
        torch.manual_seed(seed)
        self.shape = Shape(spec.width, spec.layers, spec.heads, spec.feed_forward, spec.context)
        self.table = nn.Parameter(torch.randn(vocabulary, spec.width) * 0.05)
        self.blocks = nn.ModuleList(Block(self.shape, 0.0) for _ in range(spec.layers))
        self.final_norm = RmsNorm(spec.width, self.shape.norm_epsilon)
        half = spec.width // spec.heads // 2
        turns = self.shape.rope_base ** (-torch.arange(half).float() / half)
        angles = torch.arange(spec.context).float()[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, length, vocabulary)."""
        x = functional.embedding(tokens, self.table)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits: torch.Tensor = self.final_norm(x) @ self.table.T
        return logits


class Texts:
    """Texts as tokens with, at each place, the teacher's k likeliest next tokens."""

    def __init__(
        self,
        tokens: list[list[int]],
        top: tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]],
    ) -> None:
        """Take tokens, places (length, k) and values (length, k) of each text."""
        self.tokens, (self.places, self.values) = tokens, top

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
        """Return tokens, places, values and which places count, right padded."""
        width = max(len(self.tokens[row]) for row in rows)
        k = self.places[0].shape[1]
        tokens = np.zeros((len(rows), width), np.int64)
        places = np.zeros((len(rows), width, k), np.int64)
        values = np.zeros((len(rows), width, k), np.float32)
        counts = np.zeros((len(rows), width), np.bool_)
        for at, row in enumerate(rows):
            length = len(self.tokens[row])
            tokens[at, :length] = self.tokens[row]
            places[at, :length], values[at, :length] = self.places[row], self.values[row]
            counts[at, : length - 1] = True
        return tuple(torch.from_numpy(each) for each in (tokens, places, values, counts))


class CausalLearner:
    """Learns the texts, and with `taught` how likely the teacher held each next token to be."""

    def __init__(
        self,
        net: CausalNet,
        texts: Texts,
        settings: tuple[TrainingPart, MethodPart],
        seed: int,
        *,
        taught: bool,
    ) -> None:
        """Take them; nothing is learned yet."""
        self._net, self._texts, self._seed, self._taught = net, texts, seed, taught
        self._training, self._method = settings
        self._optimizer = torch.optim.AdamW(
            net.parameters(), self._training.rate, betas=(0.9, 0.98), weight_decay=0.01
        )

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from every text once."""
        chance = np.random.default_rng([self._seed, number])
        order = chance.permutation(len(self._texts.tokens))
        batches = np.array_split(order, -(-len(order) // self._training.batch))
        total = 0.0
        for at, rows in enumerate(batches):
            done = (number + at / len(batches)) / self._training.epochs
            rise = min(1.0, done / WARM_UP + 0.02)
            for group in self._optimizer.param_groups:
                group["lr"] = self._training.rate * rise * 0.5 * (1 + math.cos(math.pi * done))
            place = device_of(self._net)
            loss = self._loss(*(each.to(place) for each in self._texts.batch(rows)))
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
            self._optimizer.step()
            total += float(loss.detach())
            tick((at + 1) / len(batches))
        return {"loss": total / len(batches)}

    def _loss(
        self,
        tokens: torch.Tensor,
        places: torch.Tensor,
        values: torch.Tensor,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        logits = self._net(tokens)[counts]
        nexts = torch.roll(tokens, -1, 1)[counts]
        hard = functional.cross_entropy(logits, nexts)
        if not self._taught:
            return hard
        heat, mixing = self._method.temperature, self._method.mixing
        # The kept tokens' shares among themselves: what is left out has little mass.
        target = functional.log_softmax(values[counts] / heat, dim=1)
        given = functional.log_softmax(logits / heat, dim=1).gather(1, places[counts])
        soft = heat**2 * (target.exp() * (target - given)).sum(1).mean()
        return mixing * soft + (1 - mixing) * hard

    def state(self) -> bytes:
        """Return net and optimizer."""
        file = io.BytesIO()
        torch.save([self._net.state_dict(), self._optimizer.state_dict()], file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, optimizer = torch.load(
            io.BytesIO(state), weights_only=True, map_location=device_of(self._net)
        )
        self._net.load_state_dict(net)
        self._optimizer.load_state_dict(optimizer)


def write_gguf(net: CausalNet, tokenizer: Path, path: Path, kind: str, name: str) -> None:
    """Write the net with the tokenizer of another GGUF file, whole or not at all."""
    write_file(
        path,
        About(name, context=net.shape.context),
        (net.shape, tensors_of(net.table, net.blocks, net.final_norm)),
        kind,
        lambda writer: copy_tokenizer(writer, tokenizer),
    )
