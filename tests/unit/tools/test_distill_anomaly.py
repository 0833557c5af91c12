"""The series student: it errs as its teacher does, and an epoch done again comes to the same."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def anomaly() -> Any:
    for name in ("torch", "litert_torch", "matplotlib"):
        pytest.importorskip(name, reason="needs the extra distill")
    return importlib.import_module("tools.distill.anomaly")


def windows(count: int, seed: int) -> Any:
    chance = np.random.default_rng(seed)
    phases = chance.uniform(0, 6, (count, 1))
    return np.sin(phases + np.arange(24) / 4).astype(np.float32)


def learner(anomaly: Any, mixing: float, seed: int = 5) -> tuple[Any, Any, Any]:
    import torch  # noqa: PLC0415 - only where it is installed

    torch.manual_seed(seed)
    teacher = anomaly.Teacher([anomaly.Wide(32, 4), anomaly.Wide(32, 4)])
    net = anomaly.Describer()
    both = (windows(256, 1), 3 * windows(64, 2)[:, ::-1].copy())
    return net, teacher, anomaly.Reconstruction(net, net, both, (teacher, mixing), seed)


def apart(net: Any, teacher: Any) -> float:
    import torch  # noqa: PLC0415 - only where it is installed

    x = torch.from_numpy(windows(64, 3))
    with torch.no_grad():
        return float((net.error(x).log() - teacher.error(x).log()).abs().mean())


def test_a_student_comes_to_err_as_its_teacher_does(anomaly: Any) -> None:
    net, teacher, lesson = learner(anomaly, mixing=1.0)
    before = apart(net, teacher)
    for number in range(25):
        lesson.epoch(number, lambda _share: None)
    assert apart(net, teacher) < 0.5 * before


def test_an_epoch_that_is_done_again_comes_to_the_same(anomaly: Any) -> None:
    _, _, first = learner(anomaly, mixing=0.5)
    first.epoch(0, lambda _share: None)
    kept = first.state()
    ends = [first.epoch(1, lambda _share: None)["loss"]]
    first.restore(kept)
    ends.append(first.epoch(1, lambda _share: None)["loss"])
    assert ends[0] == ends[1]


def test_the_teacher_s_features_are_the_student_s_but_for_the_error(anomaly: Any) -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    net, teacher, _ = learner(anomaly, mixing=0.5)
    rows = windows(8, 4)[:, :, None]
    with torch.no_grad():
        own = net(torch.from_numpy(rows)).numpy()
    said = teacher.describe(rows)
    assert said[:, :-1] == pytest.approx(own[:, :-1], abs=1e-6)
    error = teacher.error(torch.from_numpy(rows[:, :, 0])).numpy()
    assert said[:, -1:] == pytest.approx(np.log(error + anomaly.FLOOR), abs=1e-5)
