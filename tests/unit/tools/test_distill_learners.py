"""What learns with PyTorch: the loss, an epoch done again, pruning, a GGUF that says the same."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.spec import CausalLm

TRAINING = TrainingPart(epochs=4, batch=4, rate=0.01)


def needed(name: str) -> Any:
    """The module, where the extra is installed."""
    return pytest.importorskip(name, reason="needs the extra distill")


@pytest.fixture
def torch() -> ModuleType:
    found: ModuleType = needed("torch")
    return found


def loss(torch: Any, logits: Any, labels: list[int], soft: Any, **more: float) -> float:
    loss_of = importlib.import_module("tools.distill.students.loss").loss_of
    numbers = {"temperature": 2.0, "mixing": 0.5, "smoothing": 0.0, "foreign_weight": 1.0} | more
    return float(loss_of(logits, torch.tensor(labels), soft, **numbers))


def test_a_student_that_says_what_its_teacher_says_loses_nothing_to_it(torch: Any) -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0]])
    assert loss(torch, rows, [-2, -2], rows + 7.0) == pytest.approx(0.0, abs=1e-6)
    assert loss(torch, rows, [-2, -2], -rows) > 0.5


def test_the_mixture_is_of_the_labels_loss_and_t_squared_times_the_divergence(torch: Any) -> None:
    rows, soft = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    hard = float(torch.nn.functional.cross_entropy(rows, torch.tensor([0])))
    target = torch.softmax(soft / 2, 1)
    divergence = float((target * (target.log() - torch.log_softmax(rows / 2, 1))).sum())
    assert loss(torch, rows, [0], soft) == pytest.approx(0.5 * hard + 0.5 * 4 * divergence)
    assert loss(torch, rows, [0], None) == pytest.approx(hard)


def test_a_row_without_an_answer_is_held_to_its_label_alone(torch: Any) -> None:
    rows = torch.tensor([[1.0, 0.0]])
    absent = torch.full((1, 2), float("nan"))
    assert loss(torch, rows, [0], absent) == pytest.approx(loss(torch, rows, [0], None))


def test_a_row_of_no_label_is_pushed_towards_an_even_spread(torch: Any) -> None:
    even, uneven = torch.zeros((1, 3)), torch.tensor([[5.0, 0.0, 0.0]])
    assert loss(torch, even, [-1], None) < loss(torch, uneven, [-1], None)


def learner(torch: Any, names: list[str], sparsity: float = 0.0) -> Any:
    loop = importlib.import_module("tools.distill.students.loop")
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    rows = torch.from_numpy(chance.normal(size=(16, 5)).astype(np.float32))

    class Feed:
        def draw(self, places: Any, _drop: float = 0.0, _chance: object = None) -> Any:
            return rows[places]

    lesson = loop.Lesson(chance.integers(0, 3, 16), chance.normal(size=(16, 3)).astype(np.float32))
    method = MethodPart(names=names, sparsity=sparsity)  # type: ignore[arg-type]
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3))
    return loop.TorchLearner(net, Feed(), lesson, (TRAINING, method), 3)


def test_an_epoch_done_again_from_its_checkpoint_comes_to_the_same(torch: Any) -> None:
    whole, cut = learner(torch, ["logit-matching"]), learner(torch, ["logit-matching"])
    for number in range(4):
        whole.epoch(number, lambda _: None)
    for number in range(2):
        cut.epoch(number, lambda _: None)
    resumed = learner(torch, ["logit-matching"])
    resumed.restore(cut.state())
    for number in (2, 3):
        resumed.epoch(number, lambda _: None)
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(one, other)


def hinted(torch: Any, weight: float | None, told: slice = slice(None)) -> Any:
    """A learner whose net has hidden units; the teacher's logits are linear in the input."""
    loop = importlib.import_module("tools.distill.students.loop")
    chance = np.random.default_rng(0)
    rows = torch.from_numpy(chance.normal(size=(64, 5)).astype(np.float32))
    soft = (rows.numpy() @ chance.normal(size=(5, 9)) * 3).astype(np.float32)
    soft[: told.start or 0] = np.nan

    class Feed:
        def draw(self, places: Any, _drop: float = 0.0, _chance: object = None) -> Any:
            return rows[places]

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = torch.nn.Linear(5, 16), torch.nn.Linear(16, 9)

        def units(self, drawn: Any) -> Any:
            return torch.relu(self.hidden(drawn))

        def read(self, units: Any) -> Any:
            return self.head(units)

        def forward(self, drawn: Any) -> Any:
            return self.read(self.units(drawn))

    names = ["logit-matching"] if weight is None else ["logit-matching", "hint"]
    method = MethodPart(names=names, hint=weight or 1.0)  # type: ignore[arg-type]
    torch.manual_seed(0)
    lesson = loop.Lesson(np.full(64, -2), soft)
    return loop.TorchLearner(Net(), Feed(), lesson, (TRAINING, method), 3), rows, soft


def left_of_the_logits(torch: Any, learner: Any, rows: Any, soft: Any) -> float:
    """The share of the logits' variance that no linear map of the hidden units gives."""
    with torch.no_grad():
        units = learner.net.units(rows).numpy()
    wanted = soft - soft.mean(1, keepdims=True)
    wanted = wanted - wanted.mean(0)
    given = np.column_stack([units, np.ones(len(units))])
    left = wanted - given @ np.linalg.lstsq(given, wanted, rcond=None)[0]
    return float(np.square(left).sum() / np.square(wanted).sum())


def test_a_hint_puts_all_of_the_teachers_logits_into_the_hidden_units(torch: Any) -> None:
    left = {}
    for weight in (None, 20.0):
        learner, rows, soft = hinted(torch, weight)
        for number in range(4):
            for _ in range(25):
                learner.epoch(number, lambda _: None)
        left[weight] = left_of_the_logits(torch, learner, rows, soft)
    assert left[20.0] < 0.6 * left[None]


def test_a_hinted_student_resumed_from_its_checkpoint_comes_to_the_same(torch: Any) -> None:
    whole, cut, resumed = (hinted(torch, 2.0)[0] for _ in range(3))
    for number in range(4):
        whole.epoch(number, lambda _: None)
    for number in range(2):
        cut.epoch(number, lambda _: None)
    resumed.restore(cut.state())
    for number in (2, 3):
        resumed.epoch(number, lambda _: None)
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rows_that_the_teacher_did_not_answer_have_no_part_in_the_hint(torch: Any) -> None:
    learner, rows, soft = hinted(torch, 2.0, slice(32, None))
    with torch.no_grad():
        units = learner.net.units(rows)
        answers = torch.from_numpy(soft)
        both, told = (
            float(learner._hint(units[part], answers[part]))
            for part in (slice(None), slice(32, None))
        )
    assert np.isfinite(both)
    assert both == pytest.approx(told / 2)


def test_a_hint_asks_for_hidden_units(torch: Any) -> None:
    with pytest.raises(TypeError, match="hidden units"):
        learner(torch, ["logit-matching", "hint"])


def test_pruning_leaves_the_share_of_weights_that_the_recipe_says(torch: Any) -> None:
    pruned = learner(torch, ["logit-matching", "prune"], sparsity=0.5)
    for number in range(4):
        pruned.epoch(number, lambda _: None)
    for weight in pruned.net.parameters():
        if weight.ndim > 1:
            assert float((weight == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.assets
def test_a_students_gguf_says_in_llama_cpp_what_it_says_in_torch(
    torch: Any, assets: Path, tmp_path: Path
) -> None:
    needed("gguf")
    causal = importlib.import_module("tools.distill.students.causal")
    writer = importlib.import_module("tools.distill.teachers.writer")
    source = assets / "gguf" / "TinyStories-656K-F32.gguf"
    spec = CausalLm(width=32, layers=1, heads=2, feed_forward=64, quantization="F16")
    net = causal.CausalNet(spec, 2048, 1).eval()
    causal.write_gguf(net, source, tmp_path / "m.gguf", "F16", "tiny")
    tokens = [1, 80, 147, 201, 282]
    given = writer.Writer(tmp_path / "m.gguf", "", spec.context).logits(tokens)
    with torch.no_grad():
        own = net(torch.tensor([tokens]))[0].numpy()
    assert np.abs(given - own).max() < 0.02
