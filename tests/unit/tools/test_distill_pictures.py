"""Pictures: what is learned from and judged on, and networks over spectrograms and pictures."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Tensors
from aiosd.engines.litert import LitertEngine, find_library
from tools.distill.spec import Convolution
from tools.distill.table import NONE, UNLABELLED, Material, Table
from tools.distill.teachers.spec import Convolutions

NEEDED = ("torch", "litert_torch", "sklearn", "ai_edge_quantizer")
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="needs the extra distill"
)


def module(name: str) -> Any:
    return importlib.import_module(f"tools.distill.{name}")


def bars(count: int, colours: int) -> Table:
    """Pictures of an upright or a lying bar: two labels that one small network tells apart."""
    chance = np.random.default_rng(3)
    rows, labels = [], []
    for at in range(count):
        one = chance.normal(0, 0.05, (12, 12, colours)).astype(np.float32)
        place = int(chance.integers(2, 10))
        if at % 2:
            one[place] += 1.0
        else:
            one[:, place] += 1.0
        rows.append(one)
        labels.append(at % 2)
    return Table(rows, np.array(labels, np.int64), ["bars"] * count)


def teacher(table: Table, folder: Path, epochs: int = 12) -> Any:
    spec = Convolutions(channels=8, blocks=1, first=(3, 3), epochs=epochs, members=2, batch=16)
    return module("teachers.convolutions").ConvolutionsTeacher(spec, table, 2, (folder, 5))


@pytest.fixture(scope="module")
def digits() -> Material:
    found: Material = module("pictures").read_digits(scale=0.01)
    return found


def test_no_scan_that_judges_or_tunes_is_learned_from(digits: Material) -> None:
    def plain(table: Table) -> set[bytes]:
        return {np.asarray(one).tobytes() for one in table.inputs}

    assert not plain(digits.train) & (plain(digits.held) | plain(digits.tuning))
    assert set(digits.held.slices) == {"scans", "strokes"}
    assert digits.held.labels.min() > NONE


def test_pictures_are_what_the_package_s_own_steps_give(digits: Material) -> None:
    for table in (digits.train, digits.transfer, digits.held):
        first = np.asarray(table.inputs[0])
        assert first.shape == (28, 28, 1)
        assert first.dtype == np.float32
        assert 0.0 <= first.min() <= first.max() <= 1.0
    assert [type(step).__name__ for step in digits.pre][:2] == ["ImageDecode", "ImageInk"]


def test_what_only_the_teacher_labels_are_bent_and_mixed_copies(digits: Material) -> None:
    transfer = digits.transfer
    assert len(transfer) == module("pictures").BENT_EACH * len(digits.train)
    assert (transfer.labels == UNLABELLED).all()


@pytest.mark.parametrize(("shape", "first"), [((49, 10), (10, 4)), ((28, 28, 1), (5, 5))])
def test_one_network_reads_spectrograms_and_pictures(
    shape: tuple[int, ...], first: tuple[int, int]
) -> None:
    chance = np.random.default_rng(1)
    rows = [chance.normal(size=shape).astype(np.float32) for _ in range(4)]
    spec = Convolution(channels=4, blocks=2, first=first)
    student = module("students.convolution").ConvolutionStudent(spec, 3, rows)
    net = student.net(1).eval()
    assert tuple(net(student.feed(rows).draw(np.arange(4))).shape) == (4, 3)
    assert " × ".join(map(str, shape)) in student.architecture


@pytest.mark.filterwarnings("ignore")  # what converts warns of its own parts
def test_the_file_of_a_picture_network_says_what_the_network_says(tmp_path: Path) -> None:
    table = bars(24, 3)
    spec = Convolution(channels=4, blocks=1, first=(3, 3))
    student = module("students.convolution").ConvolutionStudent(spec, 2, table.inputs)
    net = student.net(2).eval()
    wanted = net(student.feed(table.inputs).draw(np.arange(3))).detach().numpy()
    student.export(net, tmp_path / "model.tflite", [])
    engine = LitertEngine(find_library(""))
    engine.load({"model": tmp_path / "model.tflite"}, EngineNeed(name="litert"), threads=1)
    for at in range(3):
        given = Tensors((np.asarray(table.inputs[at], np.float32)[None],))
        (answer,) = engine.run(given, cancelled=lambda: False)
        assert isinstance(answer, Tensors)
        assert np.asarray(answer.arrays[0])[0] == pytest.approx(wanted[at], abs=0.05)


def test_wider_networks_learn_the_labels_and_come_to_the_same_again(tmp_path: Path) -> None:
    table = bars(64, 1)
    first = teacher(table, tmp_path / "one").logits(table.inputs)
    assert (first.argmax(axis=1) == table.labels).mean() > 0.95
    again = teacher(table, tmp_path / "two").logits(table.inputs)
    assert np.array_equal(first, again)


def test_a_member_that_was_trained_is_not_trained_again(tmp_path: Path) -> None:
    table = bars(32, 1)
    first = teacher(table, tmp_path)
    said = first.logits(table.inputs[:4])
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2
    assert np.array_equal(teacher(table, tmp_path).logits(table.inputs[:4]), said)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
