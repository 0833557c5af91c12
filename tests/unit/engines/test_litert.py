import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.effort import least_cpu
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import INT8, UINT8, Port, adder, doubler, gatherer, requantizer, stranger

from aiosd.domain.errors import CancelledError, ExpertFailedError, InvalidError, PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Tensors, Value
from aiosd.engines.litert import PACKAGES, LitertEngine, find_library

NEED = EngineNeed(name="litert")
Open = Callable[[bytes], LitertEngine]


def run(engine: LitertEngine, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    (piece,) = engine.run(Tensors(arrays), cancelled=lambda: False)
    assert isinstance(piece, Tensors)
    return piece.arrays


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


@pytest.fixture(params=sorted(PACKAGES))
def library(request: pytest.FixtureRequest) -> str:
    try:
        find_library(request.param)
    except ImportError:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def engine(library: str) -> LitertEngine:
    return LitertEngine(find_library(library))


@pytest.fixture
def open_model(engine: LitertEngine, tmp_path: Path) -> Open:
    def open_(content: bytes) -> LitertEngine:
        path = tmp_path / "model.tflite"
        path.write_bytes(content)
        engine.load({"model": path}, NEED, threads=1)
        return engine

    return open_


def test_the_version_names_the_library(library: str) -> None:
    name, version = LitertEngine(find_library(library)).version().split()
    assert name == library
    assert version[0].isdigit()


def test_a_library_that_is_not_installed_is_an_import_error() -> None:
    PACKAGES["no-such-library"] = "no_such_library"
    try:
        with pytest.raises(ImportError, match="no-such-library"):
            find_library("no-such-library")
    finally:
        del PACKAGES["no-such-library"]


def test_one_window_gives_one_row(open_model: Open) -> None:
    (out,) = run(open_model(doubler((1, 3))), floats(1, 2, 3)[np.newaxis])
    assert out.dtype == np.float32
    assert out.tolist() == [[2.0, 4.0, 6.0]]


def test_windows_run_one_by_one_and_are_stacked(open_model: Open) -> None:
    windows = np.arange(12, dtype=np.float32).reshape(4, 3)
    (out,) = run(open_model(doubler((1, 3))), windows)
    assert np.array_equal(out, 2 * windows)


def test_a_model_without_a_batch_axis_takes_windows_too(open_model: Open) -> None:
    windows = np.arange(6, dtype=np.float32).reshape(2, 3)
    (out,) = run(open_model(doubler((3,))), windows)
    assert np.array_equal(out, 2 * windows)


def test_axes_of_length_one_need_not_be_sent(open_model: Open) -> None:
    window = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    (out,) = run(open_model(doubler((1, 2, 3, 1))), window)
    assert out.shape == (1, 2, 3, 1)


def test_open_dimensions_follow_the_input_back_and_forth(open_model: Open) -> None:
    engine = open_model(doubler((1, 3), (1, -1)))
    for length in (3, 5, 2, 3):
        window = np.arange(length, dtype=np.float32)[np.newaxis]
        assert np.array_equal(run(engine, window)[0], 2 * window)


def test_two_inputs_are_taken_in_order(open_model: Open) -> None:
    engine = open_model(adder((1, 2)))
    assert run(engine, floats(1, 2)[np.newaxis], floats(10, 20)[np.newaxis])[0].tolist() == [
        [11.0, 22.0]
    ]


def test_shapes_that_do_not_fit_each_other_are_refused_and_undone(open_model: Open) -> None:
    engine = open_model(adder((1, 2), (1, -1)))
    with pytest.raises(InvalidError, match="does not take that shape") as caught:
        run(engine, np.zeros((1, 3), np.float32), np.zeros((1, 5), np.float32))
    assert caught.value.field == "input.shape"
    two = floats(1, 2)[np.newaxis]
    assert run(engine, two, two)[0].tolist() == [[2.0, 4.0]]


def test_a_wrong_number_of_arrays_says_how_many(open_model: Open) -> None:
    engine = open_model(adder((1, 2)))
    with pytest.raises(InvalidError, match="takes 2 arrays, not 1"):
        run(engine, floats(1, 2)[np.newaxis])


def test_different_numbers_of_windows_are_refused(open_model: Open) -> None:
    engine = open_model(adder((1, 2)))
    with pytest.raises(InvalidError, match="same number of windows"):
        run(engine, np.zeros((2, 2), np.float32), np.zeros((3, 2), np.float32))


def test_no_window_at_all_is_refused(open_model: Open) -> None:
    with pytest.raises(InvalidError, match="at least 1"):
        run(open_model(doubler((1, 3))), np.zeros((0, 3), np.float32))


def test_a_wrong_shape_names_both_shapes_and_the_model_still_answers(open_model: Open) -> None:
    engine = open_model(doubler((1, 3), (-1, 3)))
    with pytest.raises(InvalidError, match=r"takes shape \[-1, 3\].*not \[4\]") as caught:
        run(engine, np.zeros((1, 4), np.float32))
    assert caught.value.field == "input.shape"
    assert run(engine, floats(1, 1, 1)[np.newaxis])[0].tolist() == [[2.0, 2.0, 2.0]]


def test_a_type_that_would_have_to_be_guessed_is_refused(open_model: Open) -> None:
    engine = open_model(doubler((1, 3)))
    with pytest.raises(InvalidError, match="takes float32, not uint8"):
        run(engine, np.zeros((1, 3), np.uint8))


def test_double_precision_is_narrowed(open_model: Open) -> None:
    assert run(open_model(doubler((1, 1))), np.array([[0.5]]))[0].tolist() == [[1.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_never_enters_a_model(open_model: Open, bad: float) -> None:
    with pytest.raises(InvalidError, match="NaN or infinity"):
        run(open_model(doubler((1, 2))), floats(1, bad)[np.newaxis])


SIGNED = Port((1, 4), INT8, 0.5, 10)
UNSIGNED = Port((1, 4), UINT8, 0.5, 138)


def test_floats_are_quantized_rounded_and_clipped_and_come_back_real(open_model: Open) -> None:
    engine = open_model(requantizer(SIGNED, UNSIGNED))
    (out,) = run(engine, floats(1.0, 1.3, -1000, 1000)[np.newaxis])
    # 1.3 / 0.5 + 10 = 12.6 → 13 → 1.5; the ends are (−128 − 10) / 2 and (127 − 10) / 2
    assert out.dtype == np.float32
    assert out.tolist() == [[1.0, 1.5, -69.0, 58.5]]


def test_integers_of_the_model_s_own_type_pass_through(open_model: Open) -> None:
    engine = open_model(requantizer(SIGNED, UNSIGNED))
    (out,) = run(engine, np.array([[10, 12, -128, 127]], np.int8))
    assert out.tolist() == [[0.0, 1.0, -69.0, 58.5]]


@given(st.lists(st.floats(-60, 55, width=32), min_size=4, max_size=4))
def test_quantizing_is_off_by_half_a_step_at_most(numbers: list[float]) -> None:
    port_model = requantizer(SIGNED, UNSIGNED)
    path = Path(f"/proc/self/fd/{os.memfd_create('model')}")
    path.write_bytes(port_model)
    engine = LitertEngine()
    engine.load({"model": path}, NEED, threads=1)
    (out,) = run(engine, floats(*numbers)[np.newaxis])
    os.close(int(path.name))
    assert np.abs(out[0] - floats(*numbers)).max() <= 0.25 + 1e-4


def test_a_failure_while_it_runs_is_the_expert_s_and_the_next_run_works(open_model: Open) -> None:
    engine = open_model(gatherer([1.5, 2.5]))
    with pytest.raises(ExpertFailedError, match="failed while it ran") as caught:
        run(engine, np.array([[0, 99]], np.int32))
    assert "gather" in str(caught.value.details["reason"]).lower()
    assert run(engine, np.array([[1, 0]], np.int32))[0].tolist() == [[2.5, 1.5]]


def test_an_operator_that_is_missing_is_named_at_load(open_model: Open) -> None:
    with pytest.raises(PackageError, match=r"custom op 'NoSuchOp'"):
        open_model(stranger("NoSuchOp"))


def test_a_file_that_is_no_model_is_a_package_error(open_model: Open) -> None:
    with pytest.raises(PackageError, match="not a model"):
        open_model(b"This is not a model at all, but long enough to be looked at.")


def test_a_package_without_a_model_is_a_package_error(engine: LitertEngine) -> None:
    with pytest.raises(PackageError, match='role = "model"'):
        engine.load({}, NEED, threads=1)


def test_a_missing_file_is_a_package_error(engine: LitertEngine, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not a model"):
        engine.load({"model": tmp_path / "nothing.tflite"}, NEED, threads=1)


def test_cancelling_stops_between_two_windows(open_model: Open) -> None:
    asked = iter([False, False, True])
    engine = open_model(doubler((1, 1)))
    with pytest.raises(CancelledError):
        next(engine.run(Tensors((np.zeros((5, 1), np.float32),)), cancelled=lambda: next(asked)))
    assert next(asked, None) is None


def test_what_is_no_array_is_the_package_s_fault(open_model: Open) -> None:
    engine = open_model(doubler((1, 1)))
    with pytest.raises(ExpertFailedError, match="does not end in arrays"):
        next(engine.run(Value("text"), cancelled=lambda: False))


def test_running_a_closed_engine_fails_in_words(open_model: Open) -> None:
    engine = open_model(doubler((1, 1)))
    engine.close()
    with pytest.raises(ExpertFailedError, match="no model is loaded"):
        run(engine, np.zeros((1, 1), np.float32))


def test_a_forked_child_can_load_and_answer_with_one_thread(library: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(doubler((1, 1)))
    code = f"""
import os
from pathlib import Path
import numpy as np
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Tensors
from aiosd.engines.litert import LitertEngine, find_library
library = find_library({library!r})
assert len(os.listdir("/proc/self/task")) == 1, "the host has threads"
child = os.fork()
if child == 0:
    engine = LitertEngine(library)
    engine.load({{"model": Path({str(path)!r})}}, EngineNeed(name="litert"), threads=1)
    piece = next(engine.run(Tensors((np.ones((1, 1), np.float32),)), cancelled=lambda: False))
    one = len(os.listdir("/proc/self/task")) == 1
    os._exit(0 if piece.arrays[0].tolist() == [[2.0]] and one else 3)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_the_wrapper_adds_little_to_a_bare_invoke(open_model: Open) -> None:
    engine = open_model(requantizer(SIGNED, UNSIGNED))
    prepared, bare = Tensors((np.zeros((1, 4), np.float32),)), engine._interpreter
    assert bare is not None

    wrapped = least_cpu(lambda: next(engine.run(prepared, cancelled=lambda: False)), 300)
    assert wrapped - least_cpu(bare.invoke, 300) < 200e-6  # 16 µs on a desk


# ── real models ──────────────────────────────────────────────────────────────────────────────


def load_asset(engine: LitertEngine, assets: Path, name: str) -> LitertEngine:
    engine.load({"model": assets / name}, NEED, threads=1)
    return engine


@pytest.mark.assets
def test_the_keyword_model_is_right_as_often_as_published(
    engine: LitertEngine, assets: Path
) -> None:
    recorded = np.load(assets / "samples/features/kws01_0_200_mfcc_int8.npz")
    (scores,) = run(
        load_asset(engine, assets, "tflite/audio/mlperf_kws_ref_int8.tflite"), recorded["x"]
    )
    assert abs(int((scores.argmax(axis=1) == recorded["y"]).sum()) - 183) <= 1
    assert np.allclose(scores.sum(axis=1), 1, atol=0.02)


@pytest.mark.assets
def test_the_toy_car_is_rebuilt_as_badly_as_published(engine: LitertEngine, assets: Path) -> None:
    name = "samples/features/ad01_normal_id_01_00000000_hist_librosa.bin"
    frames = np.fromfile(assets / name, "<f4").reshape(200, 128)
    windows = np.stack([frames[start : start + 5].ravel() for start in range(196)])
    (rebuilt,) = run(
        load_asset(engine, assets, "tflite/anomaly/mlperf_ad01_toycar_int8.tflite"), windows
    )
    assert np.square(rebuilt - windows).mean() == pytest.approx(10.2603, abs=0.01)


@pytest.mark.assets
def test_an_lstm_forgets_between_requests(engine: LitertEngine, assets: Path) -> None:
    load_asset(engine, assets, "tflite/vision/mnist_lstm_int8.tflite")
    bar, ring = np.zeros((2, 1, 28, 28), np.float32)
    bar[0, 4:24, 13:16] = 1
    ring[0, 6:22, 8:20] = 1
    ring[0, 9:19, 11:17] = 0
    first, other = run(engine, bar)[0], run(engine, ring)[0]
    assert not np.array_equal(other, first)
    assert np.array_equal(run(engine, bar)[0], first)


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("model_invoking_error", "fake-op-double"),
        ("mobilenet_v1_0.25_128_quant_edgetpu", "edgetpu-custom-op"),
        ("micro_speech_audio_preprocessor_int8", "SignalWindow"),
    ],
)
def test_models_for_other_software_are_package_errors(
    engine: LitertEngine, assets: Path, name: str, op: str
) -> None:
    with pytest.raises(PackageError, match=f"custom op '{op}'"):
        load_asset(engine, assets, f"negative/{name}.tflite")


@pytest.mark.assets
def test_an_old_schema_is_a_package_error(engine: LitertEngine, assets: Path) -> None:
    with pytest.raises(PackageError, match="not a model"):
        load_asset(engine, assets, "negative/person_detect_96_gray_int8.tflite")


@pytest.mark.assets
def test_flipped_weights_load_and_answer_so_that_only_a_digest_tells(
    engine: LitertEngine, assets: Path
) -> None:
    recorded = np.load(assets / "samples/features/kws01_0_200_mfcc_int8.npz")["x"]
    (scores,) = run(load_asset(engine, assets, "negative/bitrot_weights.tflite"), recorded)
    assert scores.shape == (200, 12)


@pytest.mark.assets
def test_a_truncated_file_is_a_package_error_in_the_library_that_can_tell(assets: Path) -> None:
    engine = LitertEngine(find_library("ai-edge-litert"))
    with pytest.raises(PackageError, match="not a model"):
        load_asset(engine, assets, "negative/truncated.tflite")


def test_fewer_threads_keep_the_process_on_fewer_processors(
    engine: LitertEngine, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(doubler((1, 2)))
    before = os.sched_getaffinity(0)
    engine.load({"model": path}, NEED, threads=len(before))
    try:
        engine.use_threads(1)
        assert len(os.sched_getaffinity(0)) == 1
        assert os.sched_getaffinity(0) <= before
        engine.use_threads(len(before) + 1)
        assert os.sched_getaffinity(0) == before
        assert run(engine, np.ones((1, 2), np.float32))[0].tolist() == [[2.0, 2.0]]
    finally:
        os.sched_setaffinity(0, before)
