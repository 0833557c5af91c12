import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.effort import least_cpu

from aiosd.domain.errors import UnknownExpertError
from aiosd.store.catalogue import scan

PackageMaker = Callable[..., Path]


def test_a_broken_package_hides_no_other(tmp_path: Path, make_package: PackageMaker) -> None:
    make_package(tmp_path, "good")
    make_package(tmp_path, "bad", extra="colour = 1\n")
    catalogue = scan([tmp_path])
    assert list(catalogue.experts) == ["good"]
    (refused,) = catalogue.refused
    assert refused.path == tmp_path / "bad"
    assert "colour" in refused.reason
    assert not refused.missing


def test_a_missing_model_is_told_apart_from_a_broken_package(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path, "bare", keep_model=False)
    (refused,) = scan([tmp_path]).refused
    assert refused.missing
    assert refused.reason.startswith("not installed: model file missing")


def test_the_earlier_folder_wins_whatever_the_release(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path / "owner", "both", release=1)
    make_package(tmp_path / "shipped", "both", release=2)
    catalogue = scan([tmp_path / "owner", tmp_path / "shipped"])
    assert catalogue.experts["both"].manifest.release == 1
    assert [hidden.manifest.release for hidden in catalogue.hidden] == [2]


def test_a_refused_package_gives_way_to_a_whole_one_of_its_name(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path / "owner", "both", release=3, keep_model=False)
    make_package(tmp_path / "shipped", "both", release=2)
    catalogue = scan([tmp_path / "owner", tmp_path / "shipped"])
    assert catalogue.experts["both"].manifest.release == 2
    assert len(catalogue.refused) == 1


def test_only_one_level_is_scanned(tmp_path: Path, make_package: PackageMaker) -> None:
    make_package(tmp_path / "upstream", "deep", keep_model=False)
    catalogue = scan([tmp_path])
    assert not catalogue.experts
    assert not catalogue.refused


def test_staging_folders_and_plain_files_are_passed_over(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path, ".staging-x", extra="colour = 1\n")
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    catalogue = scan([tmp_path])
    assert (len(catalogue.experts), catalogue.refused) == (0, ())


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert scan([tmp_path / "nowhere"]).refused == ()


def test_a_file_in_place_of_an_experts_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experts").write_text("x", encoding="utf-8")
    (refused,) = scan([tmp_path / "experts"]).refused
    assert "Not a directory" in refused.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    (refused,) = scan([tmp_path]).refused
    tmp_path.chmod(0o700)
    assert "Permission denied" in refused.reason


def test_an_unknown_name_is_answered_with_names_that_look_alike(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    make_package(tmp_path, "spam-filter")
    with pytest.raises(UnknownExpertError, match="did you mean spam-filter") as caught:
        scan([tmp_path]).find("spam-filer")
    assert caught.value.details["nearest"] == ["spam-filter"]


def test_the_catalogue_cannot_be_changed(tmp_path: Path, make_package: PackageMaker) -> None:
    make_package(tmp_path, "fixed")
    with pytest.raises(TypeError):
        scan([tmp_path]).experts["other"] = None  # type: ignore[index]


def test_five_packages_are_scanned_within_thirty_milliseconds(
    tmp_path: Path, make_package: PackageMaker
) -> None:
    utterances = ", ".join(f'"switch on the light number {i} please"' for i in range(60))
    extra = f"\n[routing]\nutterances = [{utterances}]\n"
    for number in range(5):
        make_package(tmp_path, f"expert-{number}", extra=extra)
    assert len(scan([tmp_path]).experts) == 5
    assert least_cpu(lambda: scan([tmp_path]), 5) < 0.030
