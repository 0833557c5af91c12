"""The run of a series expert: how unlike ordinary windows one is, learned from wider autoencoders.

There are no labels to match and no logits: what the teacher gives is the error that it makes on a
window. The student's own error is held to it, on ordinary windows and on such with a fault put in,
beside its own reconstruction. A series is *right* if every labelled window is found and no alarm is
false; that is what the three are compared by. Thresholds are tuned on the training series alone.
"""

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tools.distill import report
from tools.distill.curves import draw
from tools.distill.engine import measure
from tools.distill.progress import Progress
from tools.distill.proof import Contender, Proof, by_slice, gain
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.spec import Autoencoder
from tools.distill.training import Checkpoint, learn
from tools.train.machine_anomaly import (
    HOP,
    LENGTH,
    Comparison,
    Describer,
    compare,
    scores_of,
    windows_of,
    write_package,
)
from tools.train.nab import Count, Series, load_nab, score, tune
from tools.train.plant import fault, plant
from tools.train.recurring import recurring
from tools.train.tflite import write_tflite

EACH = 600
BATCH = 128
RATE = 3e-3
FLOOR = 0.05
# Seeds of the series that judge; those that a fault is put into are of another.
JUDGED = {"recurring": (48, 2026), "plant": (96, 2027)}
FAULTY_SEED = 77


class Wide(nn.Module):
    """The teacher's member: the describer's own error, with more units."""

    def __init__(self, hidden: int, code: int) -> None:
        """Take the widths."""
        super().__init__()
        self.net = Describer()
        self.net.into = nn.Sequential(nn.Linear(LENGTH, hidden), nn.ReLU(), nn.Linear(hidden, code))
        self.net.back = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, LENGTH))


class Teacher:
    """The mean of the members' errors, in the describer's place of them."""

    def __init__(self, members: Sequence[Wide]) -> None:
        """Take trained members."""
        self._members = [each.net.eval() for each in members]

    def error(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, 1)."""
        with torch.no_grad():
            return torch.stack([each.error(x) for each in self._members]).mean(0)

    def describe(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the seven features, the last one from the mean error."""
        x = torch.from_numpy(np.ascontiguousarray(windows))
        with torch.no_grad():
            found = self._members[0](x)
            found[:, -1:] = (self.error(x.reshape(-1, LENGTH)) + FLOOR).log()
        answer: NDArray[np.float32] = found.numpy()
        return answer


class Reconstruction:
    """A net that learns to give ordinary windows back, and, with a teacher, to err as it does."""

    def __init__(
        self,
        net: nn.Module,
        inner: Describer,
        windows: tuple[NDArray[np.float32], NDArray[np.float32]],
        told: tuple[Teacher | None, float],
        seed: int,
    ) -> None:
        """Take ordinary and faulty windows (n, 24), the teacher with its share, and the seed."""
        self._net, self._inner, self._seed = net, inner, seed
        self._normal, self._faulty = (torch.from_numpy(each) for each in windows)
        self._teacher, self._mixing = told
        self._optimizer = torch.optim.Adam(net.parameters(), lr=RATE)

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from every ordinary window once."""
        torch.manual_seed(self._seed * 10_000 + number)
        parts = torch.randperm(len(self._normal)).split(BATCH)
        # A plain number: a checkpoint holds nothing of NumPy.
        fall = 0.5 * (1 + math.cos(math.pi * number / 30))
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * max(0.02, fall)
        total = 0.0
        for at, part in enumerate(parts):
            batch = self._normal[part] * (1 + 0.3 * torch.randn(len(part), 1))
            loss = (self._inner.error(batch) ** 2).mean()
            if self._teacher is not None:
                strange = self._faulty[torch.randint(len(self._faulty), (BATCH,))]
                both = torch.cat([batch, strange])
                given = (self._inner.error(both) + FLOOR).log()
                target = (self._teacher.error(both) + FLOOR).log()
                loss = (1 - self._mixing) * loss + self._mixing * ((given - target) ** 2).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            total += float(loss.detach())
            tick((at + 1) / len(parts))
        return {"loss": total / len(parts)}

    def state(self) -> bytes:
        """Return net and optimizer."""
        file = io.BytesIO()
        torch.save([self._net.state_dict(), self._optimizer.state_dict()], file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, optimizer = torch.load(io.BytesIO(state), weights_only=True)
        self._net.load_state_dict(net)
        self._optimizer.load_state_dict(optimizer)


@dataclass(frozen=True, eq=False)
class Sets:
    """The series that are learned from and tuned on, those that judge, and the windows."""

    training: list[Series]
    judged: dict[str, list[Series]]
    normal: NDArray[np.float32]
    faulty: NDArray[np.float32]


def read_sets(nab: Path) -> Sets:
    """Read the benchmark, make the series of our own, and cut windows."""
    series = load_nab(nab)
    training = [each for each in series if not each.held_out]
    judged = {"held out": [each for each in series if each.held_out]}
    makers = {"recurring": recurring, "plant": plant}
    judged |= {name: makers[name](count, seed=seed) for name, (count, seed) in JUDGED.items()}
    chance = np.random.default_rng(3)
    normal, faulty = [], []
    for each in training:
        windows = windows_of(each)[:, :, 0]
        starts = np.arange(len(windows)) * HOP
        ordinary = np.array([not each.labels[at : at + LENGTH].any() for at in starts])
        chosen = windows[ordinary]
        normal.append(chosen[chance.choice(len(chosen), EACH, replace=len(chosen) < EACH)])
        faulty.append(_with_faults(each, chance))
    return Sets(training, judged, np.concatenate(normal), np.concatenate(faulty))


def _with_faults(series: Series, chance: np.random.Generator) -> NDArray[np.float32]:
    """Return windows of the series after three faults were put into it."""
    values = series.values.copy()
    marks = np.zeros(len(values), np.bool_)
    for start in sorted(chance.integers(0, max(1, len(values) - 200), 3)):
        end = fault(values, chance, int(start))
        marks[int(start) : end] = True
    changed = Series(series.name, values, (), series.seconds, held_out=False)
    windows = windows_of(changed)[:, :, 0]
    starts = np.arange(len(windows)) * HOP
    touched = np.array([marks[at : at + LENGTH].any() for at in starts])
    found = windows[touched] if touched.any() else windows[:1]
    return found[chance.choice(len(found), EACH // 4)]


def press_series(recipe: Recipe, book: RunBook, assets: Path) -> Proof:
    """Carry out a recipe of a series expert; the bundled `machine-anomaly`'s words are used."""
    spec = recipe.student
    if not isinstance(spec, Autoencoder):
        raise TypeError("not a series student")
    torch.set_num_threads(1)
    nab = assets / "timeseries" / "nab"
    sets = read_sets(nab)
    windows = (sets.normal, sets.faulty)
    members = [
        _learned(book, f"teacher-{at}", Wide(spec.teacher_hidden, spec.teacher_code), recipe, at)(
            windows, None
        )
        for at in range(spec.teacher_members)
    ]
    teacher = Teacher([each for each in members if isinstance(each, Wide)])
    nets = {
        name: _learned(book, name, Describer(), recipe, recipe.seed)(windows, told)
        for name, told in (("distilled", teacher), ("labels-alone", None))
    }
    draw(book)
    runs: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
        "teacher": teacher.describe,
        **{name: _runner(net) for name, net in nets.items()},
    }
    folder = book.package
    folder.mkdir(exist_ok=True)
    student = nets["distilled"]
    write_tflite(student, [(1, LENGTH, 1)], folder / "model.tflite", weights="float32")
    compared: Comparison = compare(
        student,  # type: ignore[arg-type]
        load_nab(nab),
        {name: sets.judged[name] for name in JUDGED},
    )
    write_package(folder, compared, len(sets.training))
    proof = _proof(recipe, sets, runs, folder)
    write_package(folder, compared, len(sets.training), int(float(proof.engine["ram_bytes"])))
    book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
    text = report.markdown(proof)
    card = folder / "README.md"
    card.write_text(card.read_text("utf-8").rstrip() + f"\n\n## Proof\n\n{text}\n", "utf-8")
    print(text)
    return proof


def _learned(
    book: RunBook, name: str, net: nn.Module, recipe: Recipe, seed: int
) -> Callable[[tuple[NDArray[np.float32], NDArray[np.float32]], Teacher | None], nn.Module]:
    """Return what trains a net on windows, with or without a teacher."""
    torch.manual_seed(seed + 3)
    for part in net.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()

    def act(
        windows: tuple[NDArray[np.float32], NDArray[np.float32]], teacher: Teacher | None
    ) -> nn.Module:
        inner = net.net if isinstance(net, Wide) else net
        learner = Reconstruction(
            net,
            inner,  # type: ignore[arg-type]
            windows,
            (teacher, recipe.method.mixing),
            seed,
        )
        learn(
            learner,
            recipe.training.epochs,
            Checkpoint(book.checkpoints / f"{name}.checkpoint"),
            lambda epoch, figures: book.add_point(name, epoch, figures),
            Progress(name),
        )
        return net.eval()

    return act


def _runner(net: nn.Module) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def run(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            found: NDArray[np.float32] = net(
                torch.from_numpy(np.ascontiguousarray(windows))
            ).numpy()
        return found

    return run


def _proof(
    recipe: Recipe,
    sets: Sets,
    runs: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]],
    folder: Path,
) -> Proof:
    right: dict[str, NDArray[np.bool_]] = {}
    contenders: dict[str, Contender] = {}
    every = [each for group in sets.judged.values() for each in group]
    for name, run in runs.items():
        tables = {each.name: scores_of(run, each) for each in [*sets.training, *every]}
        limit = tune(tables, sets.training)
        counts = [score(each, tables[each.name] >= limit) for each in every]
        right[name] = np.array([not count.false and not count.missed for count in counts])
        found = {
            f"event F1, {title}": _f1(group, tables, limit) for title, group in sets.judged.items()
        }
        contenders[name] = Contender(name, int(right[name].sum()), len(every), found)
    slices = [title for title, group in sets.judged.items() for _ in group]
    return Proof(
        recipe.name,
        recipe.task,
        f"{len(every)} series that were not learned from (NAB held out, recurring, plant)",
        "series wholly right",
        contenders["teacher"],
        contenders["distilled"],
        contenders["labels-alone"],
        gain(right["distilled"], right["labels-alone"], recipe.seed),
        gain(right["distilled"], right["teacher"], recipe.seed),
        by_slice(slices, right["teacher"], right["distilled"], right["labels-alone"]),
        measure(folder, [float(each) for each in sets.judged["held out"][0].values[:2000]]),
    )


def _f1(group: list[Series], tables: dict[str, NDArray[np.float64]], limit: float) -> float:
    total = sum((score(each, tables[each.name] >= limit) for each in group), Count())
    return total.f1
