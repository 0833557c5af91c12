import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiosd.domain.inputs import AudioInput, ImageInput, Input, InputType, TensorInput
from aiosd.domain.manifest import Manifest
from aiosd.domain.prepared import Tensors
from aiosd.domain.request import Sampling
from aiosd.engines.litert import PACKAGES, LitertEngine, find_library
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.toml import decode_toml

ROOT = Path(__file__).resolve().parents[3]
UPSTREAM = sorted(path.parent for path in (ROOT / "experts" / "upstream").glob("*/expert.toml"))
Ask = Callable[[Path], dict[str, object]]


def read(folder: Path) -> Manifest:
    path = folder / "expert.toml"
    return decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("folder", UPSTREAM, ids=lambda folder: folder.name)
def test_a_manifest_names_its_folder_its_model_and_where_that_comes_from(folder: Path) -> None:
    manifest = read(folder)
    assert manifest.name == folder.name
    assert manifest.model is not None
    assert manifest.licence
    assert manifest.card.attribution
    assert manifest.card.limits
    for file in manifest.files:
        here = folder / file.path
        assert file.source.startswith("https://") != here.exists()
        if here.exists():
            assert (here.stat().st_size, digest(here)) == (file.size, file.sha256)


@pytest.mark.parametrize("folder", UPSTREAM, ids=lambda folder: folder.name)
def test_a_self_test_asks_with_a_file_that_is_here(folder: Path) -> None:
    for case in read(folder).self_test.cases:
        assert case.file is not None
        assert (folder / case.file).exists()


@pytest.fixture(params=sorted(PACKAGES))
def engine(request: pytest.FixtureRequest) -> LitertEngine:
    try:
        return LitertEngine(find_library(request.param))
    except ImportError:
        pytest.skip(f"{request.param} is not installed")


@pytest.fixture(scope="session")
def by_digest(assets: Path) -> dict[str, Path]:
    """Every third-party model and label file, by its digest."""
    return {digest(path): path for path in (assets / "tflite").rglob("*") if path.is_file()}


@pytest.fixture
def open_expert(
    engine: LitertEngine, by_digest: dict[str, Path], tmp_path: Path
) -> Callable[[str], Ask]:
    """Installs an upstream package into a folder, as an owner would, and opens it."""

    def open_(name: str) -> Ask:
        source = ROOT / "experts" / "upstream" / name
        manifest = read(source)
        family = manifest.pre[0].__struct_config__.tag.split(".")[0]
        for module in (family, manifest.post[0].__struct_config__.tag.split(".")[0]):
            if find_spec(f"aiosd.pipelines.{module}") is None:
                pytest.skip(f"aiosd.pipelines.{module} is not here")
        for file in manifest.files:
            here = source / file.path
            (tmp_path / file.path).symlink_to(here if here.exists() else by_digest[file.sha256])
        made = Pipeline(manifest, tmp_path)
        assert manifest.model is not None
        engine.load({"model": tmp_path / manifest.model.path}, manifest.engine, threads=1)

        def ask(path: Path) -> dict[str, object]:
            prepared = made.prepare(as_input(manifest.input.type, path), Sampling())
            (last,) = engine.run(prepared, cancelled=lambda: False)
            return made.finish(prepared, last)

        return ask

    return open_


def as_input(kind: InputType, path: Path) -> Input:
    data = path.read_bytes()
    if kind is InputType.IMAGE:
        return ImageInput(data=data)
    if kind is InputType.AUDIO:
        return AudioInput(data=data)
    return TensorInput(dtype="float32", shape=[200, 128], data=data)


@pytest.mark.assets
@pytest.mark.parametrize(
    "name", ["mobilenet-v2", "person-detect", "ssd-mobilenet", "yamnet", "keyword-spotting"]
)
def test_a_package_passes_its_own_self_test(open_expert: Callable[[str], Ask], name: str) -> None:
    source = ROOT / "experts" / "upstream" / name
    ask = open_expert(name)
    cases = read(source).self_test.cases
    assert cases
    for case in cases:
        output = ask(source / str(case.file))
        for key, wanted in case.expect.items():
            assert near(output[key], wanted, case.tolerance), output


def near(got: object, wanted: object, tolerance: float) -> bool:
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(
            near(got.get(key), each, tolerance) for key, each in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(got) == len(wanted)
            and all(near(one, each, tolerance) for one, each in zip(got, wanted, strict=True))
        )
    if isinstance(wanted, float):
        return isinstance(got, float) and abs(got - wanted) <= tolerance
    return got == wanted


@pytest.mark.assets
def test_photos_are_named_as_recorded(open_expert: Callable[[str], Ask], assets: Path) -> None:
    recorded = json.loads((assets / "expected.json").read_text())["image_classification"]
    ask, seen = open_expert("mobilenet-v2"), 0
    for name, models in recorded.items():
        path = assets / "samples/images" / name
        if not path.exists():
            continue
        _, label, score = models["mobilenet_v2_1.0_224_quant"][0]
        output = ask(path)
        assert str(output["label"]).startswith(label)
        assert output["score"] == pytest.approx(score, abs=0.06)
        seen += 1
    assert seen == 7


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("coral/bird.bmp", {"bird"}),
        ("coral/cat.bmp", {"cat"}),
        ("coral/grace_hopper.bmp", {"person", "tie"}),
        ("coral/parrot.jpg", {"bird"}),
        ("coral/mnist_nine.bmp", set()),
    ],
)
def test_boxes_are_around_what_the_photo_shows(
    open_expert: Callable[[str], Ask], assets: Path, name: str, labels: set[str]
) -> None:
    boxes = open_expert("ssd-mobilenet")(assets / "samples/images" / name)["boxes"]
    assert {box["label"] for box in boxes} == labels  # type: ignore[attr-defined]


@pytest.mark.assets
def test_a_person_is_told_from_a_cat(open_expert: Callable[[str], Ask], assets: Path) -> None:
    ask = open_expert("person-detect")
    for name, label in (("grace_hopper.bmp", "person"), ("cat.bmp", "no person")):
        output = ask(assets / "samples/images/coral" / name)
        assert output["label"] == label
        assert output["score"] > 0.85  # type: ignore[operator]


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("meow_16k", "Cat"),
        ("speech_16k", "Speech"),
        ("micro_speech/yes_1000ms", "Speech"),
        ("micro_speech/silence_1000ms", "Silence"),
        ("micro_speech/noise_1000ms", "Pink noise"),
    ],
)
def test_sounds_are_named(
    open_expert: Callable[[str], Ask], assets: Path, name: str, label: str
) -> None:
    output = open_expert("yamnet")(assets / f"samples/audio/{name}.wav")
    assert output["label"] == label


@pytest.mark.assets
@pytest.mark.parametrize(
    # `no` is heard as `go` by the model itself: the benchmark's own features give the same
    ("name", "label"),
    [("yes", "yes"), ("no", "go"), ("silence", "silence")],
)
def test_words_are_heard_as_the_benchmark_s_features_are(
    open_expert: Callable[[str], Ask], assets: Path, name: str, label: str
) -> None:
    output = open_expert("keyword-spotting")(
        assets / f"samples/audio/micro_speech/{name}_1000ms.wav"
    )
    assert output["label"] == label
    assert output["score"] > 0.8  # type: ignore[operator]


@pytest.mark.assets
def test_a_good_car_is_rebuilt_as_badly_as_published(
    open_expert: Callable[[str], Ask], assets: Path
) -> None:
    name = "samples/features/ad01_normal_id_01_00000000_hist_librosa.bin"
    output = open_expert("toycar-anomaly")(assets / name)
    assert output["score"] == pytest.approx(10.2603, abs=0.01)
    assert output["anomaly"] is False
    assert len(output["scores"]) == 196  # type: ignore[arg-type]


def test_the_toy_car_s_windows_are_five_frames() -> None:
    manifest = read(ROOT / "experts" / "upstream" / "toycar-anomaly")
    frames = np.arange(200 * 128, dtype="<f4").reshape(200, 128)
    made = Pipeline(msgspec.structs.replace(manifest, post=[]), ROOT)
    prepared = made.prepare(
        TensorInput(dtype="float32", shape=[200, 128], data=frames.tobytes()), Sampling()
    )
    assert isinstance(prepared, Tensors)
    assert np.array_equal(prepared.arrays[0][195], frames[195:200].ravel())
