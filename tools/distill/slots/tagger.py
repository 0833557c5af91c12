"""The teacher: a transformer that reads a sentence both ways and tags every unit; intent beside.

It begins with the weights of a sentence encoder (a Hugging Face folder, by its digest) and is
fitted whole, but for its word vectors, to the labelled sentences. It is asked for the shares that
it gives to tags and intents; the most likely few of each are kept.
"""

import io
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.distill.device import device_of
from tools.distill.slots.units import TAGS, Units, spans_of, tags_of
from tools.train.home_command.labels import INTENTS, Example, Span

LONGEST = 96
WARM_UP_STEPS = 60
INTENT_WEIGHT = 0.5
KEPT = 4


@dataclass(frozen=True, eq=False)
class Shares:
    """What the teacher says of a sentence: the `KEPT` likeliest tags and intents, with shares."""

    tags: Tensor
    tag_shares: Tensor
    intents: Tensor
    intent_shares: Tensor


class Tagger(nn.Module):
    """An encoder with a head for the units' tags and one for the intent."""

    def __init__(self, folder: Path, layers: int = 0) -> None:
        """Load the encoder; `layers` keeps only its first ones (0: all)."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - heavy

        super().__init__()
        self.words: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self.encoder: Any = AutoModel.from_pretrained(str(folder), local_files_only=True)
        self.encoder.pooler = None
        if layers:
            self.encoder.encoder.layer = self.encoder.encoder.layer[:layers]
        for weights in self.encoder.embeddings.parameters():
            weights.requires_grad_(requires_grad=False)
        width = int(self.encoder.config.hidden_size)
        self.tag_head = nn.Linear(width, TAGS)
        self.intent_head = nn.Linear(2 * width, len(INTENTS))

    def forward(self, texts: Sequence[str], units: Sequence[Units]) -> tuple[Tensor, Tensor]:
        """Return logits of the tags of all units, one text after the other, and of the intents."""
        given = self.words(
            list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt",
            return_offsets_mapping=True,
        )  # fmt: skip
        offsets = given.pop("offset_mapping")
        given = given.to(device_of(self))
        states = self.encoder(**given).last_hidden_state
        width = states.shape[1]
        places: list[int] = []
        for row, (own, marks) in enumerate(zip(units, offsets[..., 0].tolist(), strict=True)):
            begins = {int(start): at for at, start in enumerate(marks[1:], 1) if start or at == 1}
            at = 1
            for start in own.starts:
                at = begins.get(start, at)
                places.append(row * width + at)
        mask = given["attention_mask"][..., None].float()
        mean = (states * mask).sum(1) / mask.sum(1)
        intents = self.intent_head(torch.cat([states[:, 0], mean], 1))
        return self.tag_head(states.flatten(0, 1)[places]), intents


class TaggerLearner:
    """Fits a tagger to labelled sentences, epoch by epoch."""

    def __init__(
        self,
        net: Tagger,
        sentences: Callable[[int], Sequence[Example]],
        pace: tuple[float, int, int],
        seed: int,
    ) -> None:
        """Take the net, what gives an epoch's sentences, and the rate, epochs and batch."""
        self.net, self._sentences, self._seed = net, sentences, seed
        self._rate, self._epochs, self._batch = pace
        heads = [*net.tag_head.parameters(), *net.intent_head.parameters()]
        body = [each for each in net.encoder.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(
            [{"params": body, "scale": 1.0}, {"params": heads, "scale": 5.0}],
            self._rate, weight_decay=0.01, fused=True,
        )  # fmt: skip
        self._step = 0

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from an epoch's sentences once; return the mean losses."""
        self.net.train()
        torch.manual_seed(self._seed * 31 + number)
        chance = random.Random(self._seed * 37 + number)  # noqa: S311 - no secret
        sums = [0.0, 0.0]
        groups = _alike(self._sentences(number), self._batch, chance)
        for at, group in enumerate(groups):
            done = (number + at / len(groups)) / self._epochs
            rise = min(1.0, (self._step + 1) / WARM_UP_STEPS)
            for part in self._optimizer.param_groups:
                part["lr"] = self._rate * part["scale"] * rise * (1 - 0.98 * done)
            units = [Units.of(each.text) for each in group]
            tags, intents = self.net([each.text for each in group], units)
            wanted = [
                tag for each, own in zip(group, units, strict=True) for tag in _tags(each, own)
            ]
            tag_loss = functional.cross_entropy(tags, torch.tensor(wanted, device=tags.device))
            named = torch.tensor([INTENTS.index(each.intent) for each in group], device=tags.device)
            intent_loss = functional.cross_entropy(intents, named)
            self._optimizer.zero_grad()
            (tag_loss + INTENT_WEIGHT * intent_loss).backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self._optimizer.step()
            self._step += 1
            sums[0] += float(tag_loss.detach())
            sums[1] += float(intent_loss.detach())
            tick((at + 1) / len(groups))
        mean, beside = (each / len(groups) for each in sums)
        return {"loss": mean + INTENT_WEIGHT * beside, "tags": mean, "intent": beside}

    def state(self) -> bytes:
        """Return net, optimizer and step."""
        file = io.BytesIO()
        torch.save([self.net.state_dict(), self._optimizer.state_dict(), self._step], file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, optimizer, self._step = torch.load(
            io.BytesIO(state), weights_only=True, map_location=device_of(self.net)
        )
        self.net.load_state_dict(net)
        self._optimizer.load_state_dict(optimizer)


def _tags(example: Example, units: Units) -> list[int]:
    tags = tags_of(example, units)
    if tags is None:
        raise ValueError(f"a slot of {example.text!r} does not begin and end with a unit")
    return tags


def _alike(examples: Sequence[Example], size: int, chance: random.Random) -> list[list[Example]]:
    """Group examples of like length, the groups in a chance order."""
    order = sorted(examples, key=lambda each: len(each.text) + 8 * chance.random())
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    chance.shuffle(groups)
    return groups


@torch.no_grad()
def asked(
    net: Tagger, texts: Sequence[str], tick: Callable[[float], None] = lambda _: None
) -> list[Shares]:
    """Ask the teacher about texts, those of like length together."""
    net.eval()
    found: list[Shares | None] = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    for start in range(0, len(order), 64):
        places = order[start : start + 64]
        units = [Units.of(texts[at]) for at in places]
        tags, intents = net([texts[at] for at in places], units)
        tag_top = tags.cpu().softmax(-1).topk(KEPT)
        intent_top = intents.cpu().softmax(-1).topk(KEPT)
        begin = 0
        for row, (at, own) in enumerate(zip(places, units, strict=True)):
            part = slice(begin, begin + len(own))
            begin += len(own)
            found[at] = Shares(
                tag_top.indices[part], tag_top.values[part],
                intent_top.indices[row], intent_top.values[row],
            )  # fmt: skip
        tick((start + len(places)) / len(order))
    return [each for each in found if each is not None]


def answer_of(shares: Shares, text: str) -> tuple[str, tuple[Span, ...]]:
    """Return the intent and the slots that the teacher holds the most likely."""
    intent = INTENTS[int(shares.intents[0])]
    return intent, spans_of([int(tag) for tag in shares.tags[:, 0]], Units.of(text))


def sureness(shares: Shares) -> float:
    """Return the share of the least sure of what the answer is made of."""
    return float(math.prod([shares.intent_shares[0], *shares.tag_shares[:, 0]]))
