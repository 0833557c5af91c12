"""One student learning in epochs; every epoch's chance comes from its number and the seed."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from tools.distill.curriculum import shown
from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.students.hint import Hint, Hinted
from tools.distill.students.loss import loss_of

WARM_UP = 0.1
CLIP = 5.0


class Feed(Protocol):
    """Inputs of a student, by row."""

    def draw(
        self,
        rows: NDArray[np.int64],
        drop: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> Any:  # noqa: ANN401 - what its own net takes
        """Return what the network takes for these rows; a share `drop` of the input is zeroed."""
        ...


@runtime_checkable
class OrderedFeed(Protocol):
    """A feed that says which rows go well together."""

    def batches(
        self, rows: NDArray[np.int64], size: int, chance: np.random.Generator
    ) -> Iterable[NDArray[np.int64]]:
        """Return the rows once, about `size` of them together, in an order drawn by `chance`."""
        ...


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned: labels (n,), the teacher's logits (n, classes) or NaN, how hard each is."""

    labels: NDArray[np.int64]
    soft: NDArray[np.float32] | None = None
    hardness: NDArray[np.float32] | None = None


class TorchLearner:
    """A network, its optimizer and its lesson; AdamW, one cycle of the rate over the run."""

    def __init__(
        self,
        net: torch.nn.Module,
        feed: Feed,
        lesson: Lesson,
        settings: tuple[TrainingPart, MethodPart],
        seed: int,
    ) -> None:
        """Take them; nothing is learned yet."""
        torch.set_num_threads(1)
        self.net = net
        self._feed, self._lesson, self._seed = feed, lesson, seed
        self._training, self._method = settings
        self._hint = self._made_hint()
        learning = [*net.parameters(), *(self._hint.parameters() if self._hint else ())]
        # Fused: a step of a phrase classifier, most of which is tables, takes a fifth less.
        self._optimizer = torch.optim.AdamW(
            learning, self._training.rate, weight_decay=0.0, fused=True
        )
        self._labels = torch.from_numpy(lesson.labels)
        self._soft = None if lesson.soft is None else torch.from_numpy(lesson.soft)

    def _made_hint(self) -> Hint | None:
        """Return what gives the hint, where the method is named and a teacher has told."""
        soft = self._lesson.soft
        if "hint" not in self._method.names or soft is None:
            return None
        if not isinstance(self.net, Hinted):
            raise TypeError("a network without hidden units to look at")
        return Hint(self.net.head.in_features, soft, self._seed)

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from every row that this epoch shows, once."""
        torch.manual_seed(self._seed * 10_000 + number)
        chance = np.random.default_rng([self._seed, number])
        rows = self._rows(number)
        batches = self._batches(rows, chance)
        self.net.train()
        total = 0.0
        for at, places in enumerate(batches):
            self._set_rate((number + at / len(batches)) / self._training.epochs)
            total += self._step(places, chance)
            tick((at + 1) / len(batches))
        self.net.eval()
        self._prune((number + 1) / self._training.epochs)
        return {"loss": total / len(batches)}

    def _batches(
        self, rows: NDArray[np.int64], chance: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Return the rows in batches, by the feed's own order where it has one."""
        size = self._training.batch
        if isinstance(self._feed, OrderedFeed):
            return list(self._feed.batches(rows, size, chance))
        return np.array_split(chance.permutation(rows), -(-len(rows) // size))

    def _rows(self, number: int) -> NDArray[np.int64]:
        count = len(self._lesson.labels)
        if self._lesson.hardness is None:
            return np.arange(count)
        keep = shown(self._lesson.hardness, number, self._training.epochs, self._method.hold_back)
        return np.flatnonzero(keep)

    def _step(self, places: NDArray[np.int64], chance: np.random.Generator) -> float:
        drawn = self._feed.draw(places, self._training.drop, chance)
        method = self._method
        soft = None if self._soft is None else self._soft[places]
        hinted: torch.Tensor | float = 0.0
        if self._hint is not None and soft is not None and isinstance(self.net, Hinted):
            units = self.net.units(drawn)
            logits = self.net.read(units)
            hinted = method.hint * self._hint(units, soft)
        else:
            logits = self.net(drawn)
        loss = hinted + loss_of(
            logits,
            self._labels[places],
            soft,
            temperature=method.temperature,
            mixing=method.mixing,
            smoothing=self._training.smoothing,
            foreign_weight=self._training.foreign_weight,
        )
        self._optimizer.zero_grad()
        loss.backward()
        learning = [each for group in self._optimizer.param_groups for each in group["params"]]
        torch.nn.utils.clip_grad_norm_(learning, CLIP)
        self._optimizer.step()
        return float(loss.detach())

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, done / WARM_UP + 1e-2)
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, (done - WARM_UP) / (1 - WARM_UP))))
        for group in self._optimizer.param_groups:
            group["lr"] = self._training.rate * warm * max(fall, 1e-3)

    def _prune(self, done: float) -> None:
        """Zero the smallest weights; the share grows by the cubic law (Zhu, Gupta 2017)."""
        share = self._method.sparsity * (1 - (1 - done) ** 3)
        if "prune" not in self._method.names or not share:
            return
        with torch.no_grad():
            for weight in self.net.parameters():
                if weight.ndim > 1:
                    limit = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel())))[0]
                    weight.mul_(weight.abs() > limit)

    def state(self) -> bytes:
        """Return network, optimizer and, where one is given, the map of the hint."""
        file = io.BytesIO()
        kept = {"net": self.net.state_dict(), "optimizer": self._optimizer.state_dict()}
        if self._hint is not None:
            kept["hint"] = self._hint.state_dict()
        torch.save(kept, file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        kept = torch.load(io.BytesIO(state), weights_only=True)
        self.net.load_state_dict(kept["net"])
        self.net.eval()
        self._optimizer.load_state_dict(kept["optimizer"])
        if self._hint is not None:
            self._hint.load_state_dict(kept["hint"])
