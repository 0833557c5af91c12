"""A net out of its teacher's channels: all of them say what it says, fewer come near."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.distill.fault import TeacherError

SHIFT, SCALE = np.full(10, 0.3, np.float32), np.full(10, 2.0, np.float32)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs the extra distill")


def part(name: str) -> Any:
    return importlib.import_module(f"tools.distill.students.{name}")


def teacher(torch: Any, width: int, blocks: int = 1) -> Any:
    """A teacher of chance weights; its channels differ in how much they pass on."""
    torch.manual_seed(5)
    loud = torch.linspace(0.1, 2.0, width)

    def of(*shape: int) -> tuple[Any, Any]:
        return torch.randn(shape) / np.prod(shape[1:]) ** 0.5, torch.randn(shape[0]) * 0.1

    first, bias = of(width, 1, 10, 4)
    pairs = [(of(width, 1, 3, 3), of(width, width, 1, 1)) for _ in range(blocks)]
    return part("slimming").Whole((first * loud[:, None, None, None], bias), pairs, of(3, width))


def student(width: int, blocks: int, first: tuple[int, int] = (10, 4)) -> Any:
    sizes = part("convolution").Sizes(width, blocks, first, 2, 1, 3)
    return part("convolution").Net(SHIFT, SCALE, sizes)


def said(torch: Any, whole: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the teacher says, worked out by itself."""
    conv = torch.nn.functional.conv2d
    seen = conv(torch.from_numpy(rows)[:, None], *whole.first, 2, (4, 1)).relu()
    for (deep, deep_bias), (point, bias) in whole.blocks:
        seen = conv(seen, deep, deep_bias, 1, 1, groups=len(deep)).relu()
        seen = conv(seen, point, bias).relu()
    found: NDArray[np.float32] = (seen.mean((2, 3)) @ whole.last[0].T + whole.last[1]).numpy()
    return found


def rows(count: int) -> NDArray[np.float32]:
    chance = np.random.default_rng(2)
    return chance.normal(0.3, 2.0, (count, 49, 10)).astype(np.float32)


def answers(torch: Any, net: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        found: NDArray[np.float32] = net.eval()(torch.from_numpy(inputs)).numpy()
    return found


def test_with_all_channels_the_student_says_what_its_teacher_says(torch: Any) -> None:
    whole = teacher(torch, 8, blocks=2)
    net = student(8, 2)
    inputs = rows(80)
    part("slimming").slim(net, whole, list(inputs), 1)
    wanted = said(torch, whole, inputs)
    assert answers(torch, net, inputs) == pytest.approx(wanted, abs=float(0.05 * wanted.std()))


def test_half_the_channels_are_far_nearer_to_the_teacher_than_its_mean(torch: Any) -> None:
    whole = teacher(torch, 8)
    net = student(4, 1)
    part("slimming").slim(net, whole, list(rows(120)[:80]), 1)
    others = rows(120)[80:]
    wanted = said(torch, whole, others)
    missed = ((answers(torch, net, others) - wanted) ** 2).mean()
    assert missed < 0.5 * ((wanted - wanted.mean(axis=0)) ** 2).mean()


def test_a_teacher_of_another_shape_or_of_too_few_channels_is_refused(torch: Any) -> None:
    net = student(8, 2)
    with pytest.raises(TeacherError, match="1 blocks"):
        part("slimming").slim(net, teacher(torch, 8, blocks=1), list(rows(4)), 1)
    with pytest.raises(TeacherError, match="4 channels, not 8"):
        part("slimming").slim(net, teacher(torch, 4, blocks=2), list(rows(4)), 1)
    with pytest.raises(TeacherError, match="first convolution"):
        part("slimming").slim(student(8, 2, (3, 3)), teacher(torch, 8, 2), list(rows(4)), 1)


@pytest.mark.assets
def test_the_layers_read_from_a_file_say_what_the_file_says(torch: Any, assets: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra distill")
    path = assets / "tflite" / "audio" / "mlperf_kws_ref_int8.tflite"
    litert = importlib.import_module("tools.distill.teachers.litert").LitertTeacher(path)
    scale, zero = litert.input_scale
    found = np.load(assets / "samples" / "features" / "kws01_0_200_mfcc_int8.npz")["x"][:40, ..., 0]
    inputs = (found.astype(np.float32) - zero) * np.float32(scale)
    whole = part("slimming").read_whole(path)
    ours = said(torch, whole, inputs)
    assert (ours.argmax(axis=1) == litert.logits(list(inputs)).argmax(axis=1)).mean() > 0.9
