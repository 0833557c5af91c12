from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.store.catalogue import scan
from aiosd.store.install import install


def test_upstream_packages_are_whole_but_for_the_model_they_name(repo: Path) -> None:
    catalogue = scan([repo / "experts" / "upstream"])
    assert catalogue.refused or catalogue.experts
    assert [refused.reason for refused in catalogue.refused if not refused.missing] == []
    assert all("; get it from https://" in refused.reason for refused in catalogue.refused)


def test_upstream_packages_are_no_part_of_a_scan_of_the_shipped_experts(repo: Path) -> None:
    catalogue = scan([repo / "experts"])
    places = [refused.path for refused in catalogue.refused]
    places += [installed.folder for installed in catalogue.experts.values()]
    assert all("upstream" not in place.parts[-2:] for place in places)
    assert [refused.reason for refused in catalogue.refused] == []


@pytest.mark.assets
def test_an_upstream_package_installs_with_the_real_model(
    repo: Path, assets: Path, tmp_path: Path
) -> None:
    source = repo / "experts" / "upstream" / "keyword-spotting"
    model = assets / "tflite" / "audio" / "mlperf_kws_ref_int8.tflite"
    with pytest.raises(PackageError, match="the manifest says") as caught:
        install(source, tmp_path, models=[assets / "negative" / "bitrot_weights.tflite"])
    assert "sha256" in str(caught.value)
    install(source, tmp_path, models=[model])
    assert list(scan([tmp_path]).experts) == ["keyword-spotting"]
