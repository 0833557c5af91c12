"""On-policy distillation on the CPU, with a student and a teacher that are tiny."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from pathlib import Path
from typing import Any

import pytest

from tools.distill.spec import CausalLm

TINY = CausalLm(width=32, layers=1, heads=2, feed_forward=64, context=64)
WIDER = CausalLm(width=32, layers=2, heads=4, feed_forward=64, context=64)


@pytest.fixture
def method() -> Any:
    """The module; its libraries come with the extra."""
    for each in ("torch", "gguf", "transformers", "trl", "datasets"):
        pytest.importorskip(each, reason="needs the extra distill", exc_type=ImportError)
    return importlib.import_module("tools.distill.on_policy")


def net(spec: CausalLm, seed: int) -> Any:
    return importlib.import_module("tools.distill.students.causal").CausalNet(spec, 40, seed)


def test_a_student_says_the_same_in_transformers_and_when_it_is_taken_back(method: Any) -> None:
    torch = importlib.import_module("torch")
    ours, other = net(WIDER, 1), net(WIDER, 2)
    tokens = torch.tensor([[1, 7, 30, 4, 4, 9]])
    theirs = method.hugging_face(ours).eval()
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-4)
        assert not torch.allclose(ours(tokens), other(tokens), atol=1e-2)
        method.take_back(other, theirs)
        assert torch.allclose(ours(tokens), other(tokens), atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's settings under transformers' newest
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_student_that_writes_comes_nearer_to_its_teacher(
    method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = importlib.import_module("torch")
    sharp = net(WIDER, 3)
    with torch.no_grad():
        sharp.table.mul_(6.0)
    teacher = method.hugging_face(sharp)
    monkeypatch.setattr(method, "read_teacher", lambda _path: teacher)
    student = net(TINY, 4)
    texts = [[1, *range(3, 3 + at % 9), *[5] * 12] for at in range(24)]
    how = method.OnPolicy(
        steps=24, batch=6, prompt=3, longest=8, on_policy=1.0, beta=0.5, temperature=0.9, rate=5e-3
    )
    losses = method.refine(student, tmp_path / "teacher.gguf", texts, how, 1)
    assert len(losses) == how.steps
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
