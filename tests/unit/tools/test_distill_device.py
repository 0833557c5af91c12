"""Where language models learn; without a GPU here, meta tensors say what would be left behind."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from pathlib import Path
from typing import Any

import pytest

from tools.distill.fault import DistillError
from tools.distill.spec import CausalLm

HOME_COMMAND = Path(__file__).resolve().parents[3] / "experts" / "home-command"


def part(name: str) -> Any:
    """A module, where the extra is installed."""
    for each in ("torch", "gguf", "yaml"):
        pytest.importorskip(each, reason="needs the extra distill")
    return importlib.import_module(name)


def test_without_a_gpu_auto_is_the_processor_and_cuda_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = part("tools.distill.device")
    monkeypatch.setattr(found.torch.cuda, "is_available", lambda: False)
    assert found.device("auto").type == found.device("cpu").type == "cpu"
    with pytest.raises(DistillError, match="--device cpu"):
        found.device("cuda")


def test_with_a_gpu_auto_is_the_gpu_and_cpu_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = part("tools.distill.device")
    monkeypatch.setattr(found.torch.cuda, "is_available", lambda: True)
    assert found.device("auto").type == found.device("cuda").type == "cuda"
    assert found.device("cpu").type == "cpu"


def test_a_slot_filler_reads_where_its_weights_are() -> None:
    student = part("tools.distill.slots.student")
    torch = importlib.import_module("torch")
    net = student.grown_from(HOME_COMMAND / "home-command.gguf", (), 1).to("meta")
    states = net(torch.zeros(2, 9, dtype=torch.long, device="meta"), torch.ones(2, device="meta"))
    assert states.device.type == "meta"
    states.sum().backward()
    assert net.table.grad.device.type == "meta"


def test_a_language_model_reads_where_its_weights_are() -> None:
    causal = part("tools.distill.students.causal")
    torch = importlib.import_module("torch")
    net = causal.CausalNet(CausalLm(width=64, layers=1), 100, 1).to("meta")
    assert net(torch.zeros(2, 9, dtype=torch.long, device="meta")).device.type == "meta"


def test_a_batch_goes_there_whole() -> None:
    learning = part("tools.distill.slots.learning")
    reading = importlib.import_module("tools.distill.slots.reading")
    labels = importlib.import_module("tools.train.home_command.labels")
    vocabulary = part("tools.distill.slots.student").vocabulary_of(
        HOME_COMMAND / "home-command.gguf"
    )
    example = labels.Example("wake me at 8", "alarm_set", (labels.Span(11, 12, "time"),))
    batch = learning.batch_of([reading.read(example, vocabulary)]).to("meta")
    parts = (batch.tokens, batch.prompts, batch.answer_places, batch.answer_weights,
             batch.answers.ids, batch.answers.shares, batch.tag_places, batch.tags.ids,
             batch.tags.shares)  # fmt: skip
    assert {each.device.type for each in parts} == {"meta"}
