"""How the student learns: hard labels, or the teacher's shares at tags, intent and slot names.

The answer's tokens are learned as they are to be written (sequence level, Kim, Rush 2016). Where a
teacher is given, three kinds of place have its shares instead of a one (Hinton et al. 2015): the
tags of the sentence, the intent, and the name that opens each slot.
"""

import io
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from tools.distill.device import device_of
from tools.distill.slots.reading import Reading
from tools.distill.slots.student import Reader
from tools.distill.slots.tagger import Shares
from tools.train.home_command.labels import INTENTS, SLOTS
from tools.train.home_command.vocabulary import Vocabulary, intent_text, slot_opening

TAG_WEIGHT = 0.5
WARM_UP_STEPS = 40
LEAST_PACE = 0.02
OTHER_TOKENS = 512
"""How many tokens that are not in a batch stand beside those that are, as what is not to come."""
LEAST_BEGUN = 0.05
"""A teacher that is so sure that no slot begins at a unit has nothing to say of its name."""
Soft = dict[int, float]


@dataclass(frozen=True, slots=True)
class SlotNames:
    """The tokens of intents and slot names, and which slot each opening token names."""

    intents: tuple[int, ...]
    openings: tuple[int, ...]
    slot_of: Mapping[int, int]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "SlotNames":
        """Find them in a vocabulary."""
        openings = tuple(vocabulary.ids[slot_opening(each)] for each in SLOTS)
        second = {
            vocabulary.ids[slot_opening(f"{each}_2")]: at
            for at, each in enumerate(SLOTS)
            if slot_opening(f"{each}_2") in vocabulary.ids
        }
        return cls(
            tuple(vocabulary.ids[intent_text(each)] for each in INTENTS),
            openings,
            {**{token: at for at, token in enumerate(openings)}, **second},
        )


@dataclass(frozen=True)
class Pace:
    """Step size and its course: it falls from `rate` along a cosine, over `epochs` in all.

    With `fall` it stays what it is until that share of the epochs is left, and falls evenly then
    (Hu et al. 2024, "MiniCPM": warm-up, stable, decay).
    """

    rate: float
    epochs: float
    batch_tokens: int = 2048
    average: float = 0.995
    fall: float = 0.0

    def course(self, done: float) -> float:
        """Return what is left of `rate` when `done` (0..1) of the epochs are."""
        left = max(0.0, 1.0 - done)
        if self.fall:
            return LEAST_PACE + (1 - LEAST_PACE) * min(1.0, left / self.fall)
        return LEAST_PACE + (1 - LEAST_PACE) * 0.5 * (1 + math.cos(math.pi * (1.0 - left)))


@dataclass(frozen=True, eq=False)
class Targets:
    """What is to come at each place: (places, k) tokens or tags and the share of each."""

    ids: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> "Targets":
        """Return the same on a device."""
        return Targets(self.ids.to(device), self.shares.to(device))

    def loss(self, logits: Tensor) -> Tensor:
        """Return the cross entropy at each place."""
        found = functional.log_softmax(logits, -1).gather(1, self.ids)
        return -(found * self.shares).sum(1)


@dataclass(frozen=True, eq=False)
class Lesson:
    """The teacher's shares of each reading (None: nothing), and what they count in the loss."""

    shares: Sequence[Shares | None]
    mixing: float
    names: SlotNames


@dataclass(frozen=True, eq=False)
class Batch:
    """Right padded tokens, and what is to be learned where."""

    tokens: Tensor
    prompts: Tensor
    answer_places: Tensor
    answer_weights: Tensor
    answers: Targets
    tag_places: Tensor
    tags: Targets

    def to(self, device: torch.device) -> "Batch":
        """Return the same on a device."""
        return Batch(*(getattr(self, each.name).to(device) for each in fields(self)))


def batches(readings: Sequence[Reading], budget: int, chance: random.Random) -> Iterator[list[int]]:
    """Group places of readings of like length, at most `budget` tokens with padding."""
    order = sorted(
        range(len(readings)), key=lambda at: len(readings[at].tokens) + 4 * chance.random()
    )
    groups: list[list[int]] = [[]]
    widest = 0
    for at in order:
        widest = max(widest, len(readings[at].tokens))
        if groups[-1] and widest * (len(groups[-1]) + 1) > budget:
            groups.append([])
            widest = len(readings[at].tokens)
        groups[-1].append(at)
    chance.shuffle(groups)
    yield from groups


def batch_of(group: Sequence[Reading], lesson: Lesson | None = None) -> Batch:
    """Put readings together; places are into the flattened (batch x length) states."""
    width = max(len(each.tokens) for each in group)
    tokens = torch.zeros(len(group), width, dtype=torch.long)
    answer_places: list[int] = []
    weights: list[float] = []
    tag_places: list[int] = []
    answers: list[Soft] = []
    tags: list[Soft] = []
    for row, each in enumerate(group):
        length = len(each.tokens)
        tokens[row, :length] = torch.tensor(each.tokens)
        answer_places += range(row * width + each.prompt - 1, row * width + length - 1)
        weights += each.weights
        tag_places += [row * width + place for place in each.places]
        own = [{token: 1.0} for token in each.tokens[each.prompt :]]
        said = [{tag: 1.0} for tag in each.tags]
        shares = lesson and lesson.shares[row]
        if lesson is not None and shares is not None:
            teach(each, own, said, (shares, lesson.mixing, lesson.names))
        answers += own
        tags += said
    return Batch(
        tokens, torch.tensor([each.prompt for each in group]), torch.tensor(answer_places),
        torch.tensor(weights), _targets(answers), torch.tensor(tag_places, dtype=torch.long),
        _targets(tags),
    )  # fmt: skip


def _targets(wanted: Sequence[Soft]) -> Targets:
    most = max((len(each) for each in wanted), default=1)
    ids = [[*each, *[0] * (most - len(each))] for each in wanted]
    shares = [[*each.values(), *[0.0] * (most - len(each))] for each in wanted]
    return Targets(torch.tensor(ids, dtype=torch.long), torch.tensor(shares))


def teach(
    reading: Reading,
    answer: list[Soft],
    tags: list[Soft],
    lesson: tuple[Shares, float, SlotNames],
) -> None:
    """Mix the teacher's shares into what is wanted of one reading: tags, intent, slots' names.

    A reading without tags learns none.
    """
    shares, mixing, names = lesson
    for at, ids, parts in zip(
        range(len(tags)), shares.tags.tolist(), shares.tag_shares.tolist(), strict=False
    ):
        tags[at] = mixed(tags[at], zip(ids, parts, strict=True), mixing)
    intents = zip(
        (names.intents[at] for at in shares.intents.tolist()),
        shares.intent_shares.tolist(),
        strict=True,
    )
    answer[1] = mixed(answer[1], intents, mixing)
    for place, unit in reading.openings:
        at = place - reading.prompt
        own = names.slot_of[reading.tokens[place]]
        begun = [
            (
                reading.tokens[place] if (tag - 1) // 2 == own else names.openings[(tag - 1) // 2],
                part,
            )
            for tag, part in zip(
                shares.tags[unit].tolist(), shares.tag_shares[unit].tolist(), strict=True
            )
            if tag % 2
        ]
        if sum(part for _, part in begun) > LEAST_BEGUN:
            answer[at] = mixed(answer[at], begun, mixing)


def mixed(hard: Soft, soft: Iterable[tuple[int, float]], mixing: float) -> Soft:
    """Return `mixing` of the soft shares, made to add up to one, and the rest of the hard ones."""
    parts = list(soft)
    whole = sum(share for _, share in parts)
    found = {key: (1 - mixing) * share for key, share in hard.items()}
    for key, share in parts:
        found[key] = found.get(key, 0.0) + mixing * share / whole
    return found


class SlotLearner:
    """Learns epoch by epoch; what is judged and written is the running average of the weights."""

    def __init__(
        self,
        net: Reader,
        readings: Callable[[int], tuple[Sequence[Reading], Lesson | None]],
        pace: Pace,
        seed: int,
    ) -> None:
        """Take the net and what gives an epoch's readings, and the lesson, by its number."""
        self.net, self._readings, self._pace, self._seed = net, readings, pace, seed
        self._step = 0
        self._beside = torch.Generator()
        self._optimizer = torch.optim.AdamW(
            net.parameters(), pace.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True
        )
        self.average = {key: value.clone() for key, value in net.state_dict().items()}

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn for one epoch; return the mean losses."""
        chance = random.Random(self._seed * 7919 + number)  # noqa: S311 - no secret
        self._beside.manual_seed(self._seed * 7919 + number)
        readings, lesson = self._readings(number)
        groups = list(batches(readings, self._pace.batch_tokens, chance))
        sums = [0.0, 0.0]
        for at, group in enumerate(groups):
            done = min(1.0, (number + at / len(groups)) / self._pace.epochs)
            scale = min(1.0, (self._step + 1) / WARM_UP_STEPS)
            for rates in self._optimizer.param_groups:
                rates["lr"] = self._pace.rate * scale * self._pace.course(done)
            part = lesson and replace(lesson, shares=[lesson.shares[place] for place in group])
            answer_loss, tag_loss = self.losses(
                batch_of([readings[place] for place in group], part)
            )
            self._optimizer.zero_grad()
            (answer_loss + TAG_WEIGHT * tag_loss).backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self._optimizer.step()
            self._step += 1
            self._blend()
            sums[0] += float(answer_loss.detach())
            sums[1] += float(tag_loss.detach())
            tick((at + 1) / len(groups))
        answer, tags = (each / len(groups) for each in sums)
        return {"loss": answer + TAG_WEIGHT * tags, "answer": answer, "tags": tags}

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss on the answers and that on the tags.

        What is not to come is told of the tokens of the batch and of some others (sampled softmax:
        Jean et al. 2015): most of the vocabulary would say nothing that is not known by then.
        """
        batch = batch.to(device_of(self.net))
        states = self.net(batch.tokens, batch.prompts).flatten(0, 1)
        drawn = torch.randint(len(self.net.table), (OTHER_TOKENS,), generator=self._beside)
        others = drawn.to(states.device)
        tokens = torch.unique(torch.cat([
            batch.answers.ids.flatten(), batch.tokens.flatten(), others,
        ]))  # fmt: skip
        wanted = Targets(torch.searchsorted(tokens, batch.answers.ids), batch.answers.shares)
        answers = wanted.loss(states[batch.answer_places] @ self.net.table[tokens].T)
        answer = (answers * batch.answer_weights).sum() / batch.answer_weights.sum()
        if not len(batch.tag_places):
            return answer, answer * 0.0
        tags = batch.tags.loss(self.net.tag_head(states[batch.tag_places])).mean()
        return answer, tags

    @torch.no_grad()
    def _blend(self) -> None:
        keep = min(self._pace.average, (self._step + 1) / (self._step + 10))
        for name, value in self.net.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def state(self) -> bytes:
        """Return net, average, optimizer and step."""
        file = io.BytesIO()
        parts = [self.net.state_dict(), self.average, self._optimizer.state_dict(), self._step]
        torch.save(parts, file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, self.average, optimizer, self._step = torch.load(
            io.BytesIO(state), weights_only=True, map_location=device_of(self.net)
        )
        self.net.load_state_dict(net)
        self._optimizer.load_state_dict(optimizer)


@torch.no_grad()
def exact(net: Reader, readings: Sequence[Reading]) -> list[bool]:
    """Say of each reading whether the greedy answer would be wholly right."""
    found = [False] * len(readings)
    order = sorted(range(len(readings)), key=lambda at: len(readings[at].tokens))
    for start in range(0, len(order), 64):
        places = order[start : start + 64]
        batch = batch_of([readings[at] for at in places]).to(device_of(net))
        width = batch.tokens.shape[1]
        states = net(batch.tokens, batch.prompts).flatten(0, 1)[batch.answer_places]
        best = (states @ net.table.T).argmax(-1)
        right = best == batch.answers.ids[:, 0]
        wrong = set((batch.answer_places[~right] // width).tolist())
        for row, at in enumerate(places):
            found[at] = row not in wrong
    return found
