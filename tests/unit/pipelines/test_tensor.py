from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import TensorInput
from aiosd.domain.post_steps import EmbeddingNormalize, TensorValues
from aiosd.domain.pre_steps import TensorAffine, TensorDecode, TensorWindow
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.tensor import STEPS


def apply(value: object, *specs: Step) -> object:
    for spec in specs:
        value = STEPS[type(spec)](spec, Path())(value)
    return value


def sent(array: np.ndarray, **changes: object) -> TensorInput:
    whole = {"dtype": array.dtype.name, "shape": list(array.shape), "data": array.tobytes()}
    return TensorInput(**{**whole, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64"])
def test_what_is_sent_arrives(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    got = apply(sent(array), TensorDecode(dtype=dtype, shape=[-1, 3]))  # type: ignore[arg-type]
    assert isinstance(got, np.ndarray)
    assert got.dtype == dtype
    assert np.array_equal(got, array)


FLOATS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        (sent(FLOATS.astype(np.int8)), "input.dtype", "takes float32, not int8"),
        (sent(FLOATS, shape=[2, 4]), "input.shape", r"\[-1, 3\].*not \[2, 4\]"),
        (sent(FLOATS, shape=[6]), "input.shape", r"not \[6\]"),
        (sent(FLOATS, shape=[-2, 3]), "input.shape", "not"),
        (sent(FLOATS, shape=[0, 3], data=b""), "input.shape", "over 0"),
        (sent(FLOATS, shape=[2**40, 3]), "input.data", "24 bytes came"),
        (sent(FLOATS, data=FLOATS.tobytes()[:-1]), "input.data", "23 bytes came.*are 24"),
        (sent(FLOATS, data=None), "input.data", "no tensor"),
        (sent(FLOATS + np.float32(np.nan)), "input.data", "NaN"),
        ("text", "input.data", "no tensor"),
    ],
)
def test_a_bad_tensor_names_the_field(value: object, field: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        apply(value, TensorDecode(dtype="float32", shape=[-1, 3]))
    assert caught.value.field == field


def test_affine_changes_arrays_tuples_and_answers() -> None:
    spec = TensorAffine(scale=0.5, offset=1)
    array = np.array([[2, 4]], np.uint8)
    got = apply(array, spec)
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.tolist()) == (np.float32, [[2.0, 3.0]])
    pair = apply((array, array), spec)
    assert isinstance(pair, tuple)
    assert [each.tolist() for each in pair] == [[[2.0, 3.0]]] * 2
    answer = apply(Answer(tensors=(array.astype(np.float32),)), spec)
    assert isinstance(answer, Answer)
    assert answer.tensors[0].tolist() == [[2.0, 3.0]]
    assert array.tolist() == [[2, 4]]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_windows_are_flat_rows_a_hop_apart(rows: int, length: int, hop: int) -> None:
    array = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    spec = TensorWindow(length=length, hop=hop)
    if rows < length:
        with pytest.raises(InvalidError, match=f"takes at least {length}"):
            apply(array, spec)
        return
    got = apply(array, spec)
    assert isinstance(got, np.ndarray)
    wanted = [array[at : at + length].ravel() for at in range(0, rows - length + 1, hop)]
    assert got.tolist() == [each.tolist() for each in wanted]


def test_more_windows_than_fit_are_refused() -> None:
    with pytest.raises(InvalidError, match="more than fit"):
        apply(np.zeros((100_000, 1), np.float32), TensorWindow(length=10_000))


def test_values_are_plain_lists_and_so_are_embeddings() -> None:
    answer = Answer(tensors=(np.array([[3, 4]], np.float32), np.array([[7]], np.int32)))
    got = apply(answer, TensorValues())
    assert isinstance(got, Answer)
    assert got.output == {"values": [[[3.0, 4.0]], [[7]]]}
    unit = apply(answer, EmbeddingNormalize())
    assert isinstance(unit, Answer)
    assert unit.output["embedding"] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("numbers", [[0.0, 0.0], [np.nan, 1.0]])
def test_an_embedding_without_a_direction_is_a_failure(numbers: list[float]) -> None:
    with pytest.raises(ExpertFailedError, match="embedding of length"):
        apply(Answer(tensors=(np.array([numbers], np.float32),)), EmbeddingNormalize())


@pytest.mark.parametrize("spec", [TensorAffine(), TensorWindow(length=1), TensorValues()])
def test_steps_in_the_wrong_order_are_the_package_s_fault(spec: Step) -> None:
    with pytest.raises(ExpertFailedError):
        apply("text", spec)


@pytest.mark.parametrize(
    "spec",
    [
        TensorDecode(dtype="float32", shape=[0]),
        TensorDecode(dtype="float32", shape=[1] * 9),
        TensorWindow(length=0),
        TensorWindow(length=1, hop=0),
    ],
)
def test_bad_parameters_are_found_when_the_worker_starts(spec: Step) -> None:
    with pytest.raises(PackageError):
        STEPS[type(spec)](spec, Path())
