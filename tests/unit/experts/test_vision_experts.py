"""The bundled image and series experts answer as they should in the real pipeline and engine."""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fakes.bundled import LIBRARIES, Ask, opened, read
from PIL import Image

from aiosd.domain.errors import InvalidError
from aiosd.domain.inputs import ImageInput, Input, InputType, SeriesInput

REBUILDS = {
    "digits": "python -m tools.train.digits ",
    "machine-anomaly": "python -m tools.distill run tools/distill/recipes/machine-anomaly.toml ",
}
EXPERTS = tuple(REBUILDS)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def digits(repo: Path, library: str) -> Ask:
    return opened(repo, "digits", library)


@pytest.fixture
def anomaly(repo: Path, library: str) -> Ask:
    return opened(repo, "machine-anomaly", library)


def picture(image: Image.Image, kind: str = "PNG") -> ImageInput:
    file = BytesIO()
    image.save(file, kind)
    return ImageInput(data=file.getvalue())


@pytest.mark.parametrize("name", EXPERTS)
def test_every_self_test_case_is_answered_as_expected(repo: Path, name: str, library: str) -> None:
    manifest, ask = read(repo, name), opened(repo, name, library)
    assert len(manifest.self_test.cases) >= 8
    for case in manifest.self_test.cases:
        value: Input
        if manifest.input.type is InputType.IMAGE:
            assert case.file is not None
            value = ImageInput(data=(repo / "experts" / name / case.file).read_bytes())
        else:
            value = SeriesInput(values=case.values)
        output = ask(value)
        assert {key: output[key] for key in case.expect} == case.expect, case.file


@pytest.mark.parametrize("name", EXPERTS)
def test_the_files_are_what_the_manifest_says(repo: Path, name: str) -> None:
    folder = repo / "experts" / name
    for file in read(repo, name).files:
        data = (folder / file.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256), file.path


@pytest.mark.parametrize("name", EXPERTS)
def test_the_card_says_what_it_was_made_of_and_how_good_it_is(repo: Path, name: str) -> None:
    manifest = read(repo, name)
    assert manifest.model is not None
    assert manifest.model.size < 300_000
    assert manifest.card.attribution
    assert manifest.card.rebuild.startswith(REBUILDS[name])
    assert len(manifest.card.figures) >= 4


def test_a_digit_is_read_in_any_size_polarity_and_format(repo: Path, digits: Ask) -> None:
    for digit in (2, 5, 7, 8):
        image = Image.open(repo / "experts" / "digits" / f"case-{digit}.png").convert("L")
        for side, kind in ((32, "PNG"), (100, "BMP"), (300, "JPEG"), (1000, "WEBP")):
            for dark in (False, True):
                shown = image.resize((side, side), Image.Resampling.BICUBIC)
                shown = shown.point(lambda level: 255 - level) if dark else shown
                assert digits(picture(shown, kind))["label"] == str(digit), (side, kind, dark)


def test_a_blank_page_is_no_digit(digits: Ask) -> None:
    with pytest.raises(InvalidError, match="blank") as raised:
        digits(picture(Image.new("L", (50, 50), "white")))
    assert raised.value.field == "input.image"


@pytest.mark.assets
def test_a_nine_of_another_collection_is_read(assets: Path, digits: Ask) -> None:
    path = assets / "samples" / "images" / "coral" / "mnist_nine.bmp"
    output = digits(ImageInput(data=path.read_bytes()))
    assert output["label"] == "9"
    assert output["score"] > 0.8


def test_a_fault_is_found_where_it_is_whatever_the_unit(anomaly: Ask) -> None:
    places = np.arange(1500)
    rng = np.random.default_rng(8)
    values = 20 + 5 * np.sin(2 * np.pi * places / 144) + rng.normal(0, 0.4, 1500)
    assert anomaly(SeriesInput(values=values.tolist()))["anomaly"] is False
    values[1000:1040] -= 12
    for factor, shift in ((1.0, 0.0), (0.001, 5.0), (1.8, 32.0)):
        output = anomaly(SeriesInput(values=(values * factor + shift).tolist()))
        assert output["anomaly"] is True
        assert output["score"] >= output["threshold"]
        ((start, end),) = output["spans"]
        assert 960 <= start <= 1000
        assert 1040 <= end <= 1080


def test_a_gap_in_the_readings_is_bridged_or_named(anomaly: Ask) -> None:
    values = np.random.default_rng(8).normal(50, 1, 400)
    values[100:120] = np.nan
    assert anomaly(SeriesInput(values=values.tolist()))["anomaly"] in {True, False}
    values[100:130] = np.nan
    with pytest.raises(InvalidError, match="at most 24") as raised:
        anomaly(SeriesInput(values=values.tolist()))
    assert raised.value.field == "input.values"


def test_the_example_inputs_are_answered(repo: Path, digits: Ask, anomaly: Ask) -> None:
    inputs = repo / "docs" / "examples" / "inputs"
    assert digits(ImageInput(data=(inputs / "seven.png").read_bytes()))["label"] == "7"
    lines = (inputs / "pump.csv").read_text(encoding="utf-8").splitlines()[1:]
    spans = anomaly(SeriesInput(values=[float(line) for line in lines]))["spans"]
    assert len(spans) == 1
    assert 1042 <= spans[0][0] <= 1078
    assert 1090 <= spans[0][1] <= 1126


@pytest.mark.assets
def test_the_failure_of_a_real_machine_is_found(assets: Path, anomaly: Ask) -> None:
    folder = assets / "timeseries" / "nab" / "data" / "realKnownCause"
    text = (folder / "machine_temperature_system_failure.csv").read_text(encoding="utf-8")
    values = [float(line.split(",")[1]) for line in text.splitlines()[1:]]
    spans = anomaly(SeriesInput(values=values))["spans"]
    # The catastrophic failure of 8 February 2014: the benchmark's last labelled window.
    assert any(start < 19_700 and end > 18_700 for start, end in spans)
