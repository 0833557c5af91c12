import struct
from pathlib import Path

import pytest
from fakes.effort import cpu_at_most
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.models.tflite import TfliteFacts, read_tflite


class Writer:
    """Writes a FlatBuffer front to back: a table, then what it points to."""

    def __init__(self) -> None:
        self.data = bytearray()

    def table(self, fields: dict[int, tuple[str, int | None]]) -> tuple[int, dict[int, int]]:
        """Add a table; return its place and the places of its fields, None being an offset."""
        count = max(fields, default=-1) + 1
        slots, at = [0] * count, 4
        for number, (form, _) in sorted(fields.items()):
            at += -at % struct.calcsize(form)
            slots[number] = at
            at += struct.calcsize(form)
        start = len(self.data)
        self.data += struct.pack(f"<HH{count}H", 4 + 2 * count, at, *slots)
        self.data += bytes(-len(self.data) % 8)
        place = len(self.data)
        self.data += struct.pack("<i", place - start) + bytes(at - 4)
        for number, (form, value) in fields.items():
            if value is not None:
                struct.pack_into(f"<{form}", self.data, place + slots[number], value)
        return place, {number: place + slots[number] for number in fields}

    def point(self, at: int, place: int | None = None) -> None:
        """Let the offset at `at` point to `place`, or to the end."""
        struct.pack_into("<I", self.data, at, (len(self.data) if place is None else place) - at)

    def vector(self, at: int, form: str, values: list[int]) -> None:
        self.data += bytes(-len(self.data) % 4)
        self.point(at)
        self.data += struct.pack(f"<I{len(values)}{form}", len(values), *values)

    def offsets(self, at: int, count: int) -> list[int]:
        self.vector(at, "I", [0] * count)
        return [len(self.data) - 4 * (count - number) for number in range(count)]


def fully_connected(*, weights: int = 32, input_shape: tuple[int, ...] = (1, 4)) -> bytes:
    """Return a model of one FULLY_CONNECTED: float32 [1, 4] → [1, 2]."""
    out = Writer()
    out.data += struct.pack("<I4s", 0, b"TFL3")
    root, places = out.table({0: ("I", 3), 1: ("I", None), 2: ("I", None), 4: ("I", None)})
    out.point(0, root)
    (code,) = out.offsets(places[1], 1)
    at, _ = out.table({0: ("B", 9), 3: ("i", 9)})
    out.point(code, at)
    first, second = out.offsets(places[4], 2)
    at, _ = out.table({})
    out.point(first, at)
    at, fields = out.table({0: ("I", None)})
    out.point(second, at)
    out.vector(fields[0], "B", [0] * weights)
    out.data += bytes(-len(out.data) % 4)
    (graph,) = out.offsets(places[2], 1)
    at, fields = out.table(dict.fromkeys(range(4), ("I", None)))
    out.point(graph, at)
    shapes = ((input_shape, 0), ((2, 4), 1), ((1, 2), 0))
    slots = out.offsets(fields[0], 3)
    for slot, (shape, buffer) in zip(slots, shapes, strict=True):
        at, inner = out.table({0: ("I", None), 1: ("B", 0), 2: ("I", buffer)})
        out.point(slot, at)
        out.vector(inner[0], "i", list(shape))
    out.vector(fields[1], "i", [0])
    out.vector(fields[2], "i", [2])
    (operator,) = out.offsets(fields[3], 1)
    at, inner = out.table({0: ("I", 0), 1: ("I", None), 2: ("I", None)})
    out.point(operator, at)
    out.vector(inner[1], "i", [0, 1, -1])
    out.vector(inner[2], "i", [2])
    return bytes(out.data)


MODEL = fully_connected()


def read(folder: Path, data: bytes) -> TfliteFacts:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return read_tflite(path)


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(PackageError) as caught:
        read(folder, data)
    return caught.value.message


def test_the_facts_of_a_small_model_are_read(tmp_path: Path) -> None:
    facts = read(tmp_path, MODEL)
    assert facts.inputs[0].shape == (1, 4)
    assert facts.outputs[0].shape == (1, 2)
    assert facts.inputs[0].dtype == "float32"
    assert facts.operators == ("FULLY_CONNECTED",)
    assert facts.custom_operators == ()
    assert (facts.weights_bytes, facts.packed_bytes) == (32, 32)
    assert facts.activation_bytes == 24
    assert facts.arena_bytes == 128


def test_weights_shorter_than_their_shape_are_refused(tmp_path: Path) -> None:
    assert "needs 32 bytes but has 16" in refusal(tmp_path, fully_connected(weights=16))


def test_an_impossible_shape_is_refused(tmp_path: Path) -> None:
    data = fully_connected(input_shape=(2**31 - 1, 2**31 - 1))
    assert "cannot have the shape" in refusal(tmp_path, data)


def test_a_file_without_the_mark_is_refused(tmp_path: Path) -> None:
    assert "TFL3" in refusal(tmp_path, b"\0" * 64)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "TFL3" in refusal(tmp_path, b"")


def test_a_git_lfs_pointer_is_named_with_the_remedy(tmp_path: Path) -> None:
    assert "git lfs pull" in refusal(tmp_path, b"version https://git-lfs.github.com/spec/v1\n")


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    for length in range(8, len(MODEL) - 4):
        assert refusal(tmp_path, MODEL[:length])


def test_long_vectors_that_overlap_cost_no_time(tmp_path: Path) -> None:
    """Each of many offsets points to the same long vector: small file, endless work."""
    data = bytearray(fully_connected())
    data += bytes(-len(data) % 4)
    out = Writer()
    out.data = data
    root = struct.unpack_from("<I", data, 0)[0]
    vtable = root - struct.unpack_from("<i", data, root)[0]
    codes = root + struct.unpack_from("<H", data, vtable + 4 + 2)[0]
    entries = out.offsets(codes, 50_000)
    at, fields = out.table({0: ("B", 32), 1: ("I", None), 3: ("i", 32)})
    for entry in entries:
        out.point(entry, at)
    out.vector(fields[1], "B", [97] * 50_000)
    with cpu_at_most(2.0):
        assert "more elements" in refusal(tmp_path, bytes(out.data))


@settings(
    max_examples=400, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(8, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_a_spoilt_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(MODEL)
    for at, value in changes:
        data[at] = value
    try:
        facts = read(tmp_path, bytes(data))
    except PackageError:
        return
    assert facts.arena_bytes >= 0


@pytest.mark.assets
def test_a_truncated_file_that_crashes_the_library_is_refused(assets: Path) -> None:
    with pytest.raises(PackageError, match="cut short"):
        read_tflite(assets / "negative" / "truncated.tflite")


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "custom"),
    [
        ("mobilenet_v1_0.25_128_quant_edgetpu", "edgetpu-custom-op"),
        ("micro_speech_audio_preprocessor_int8", "SignalWindow"),
    ],
)
def test_custom_operators_are_named(assets: Path, name: str, custom: str) -> None:
    facts = read_tflite(assets / "negative" / f"{name}.tflite")
    assert custom in facts.custom_operators


@pytest.mark.assets
def test_a_real_model_is_read(assets: Path) -> None:
    facts = read_tflite(assets / "tflite" / "vision" / "mobilenet_v2_1.0_224_quant.tflite")
    assert (facts.inputs[0].shape, facts.inputs[0].dtype) == ((1, 224, 224, 3), "uint8")
    assert facts.outputs[0].shape == (1, 1001)
    assert "CONV_2D" in facts.operators
    assert facts.arena_bytes < facts.activation_bytes
    assert 3_500_000 < facts.weights_bytes < facts.file_size
