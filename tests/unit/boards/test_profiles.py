from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.boards.profiles import compatible_entries, pick_profile, read_profile, read_profiles
from aiosd.domain.errors import ConfigError
from aiosd.domain.power import Scope
from aiosd.sensors.meter import METERS

# Entries of device trees: the kernel's sources, and for the AGX Orin a machine's own list
# (NVIDIA/jetson-gpio issue 125).
DEVICE_TREES = [
    ("raspberrypi,model-zero-2-w brcm,bcm2837", "raspberry-pi-zero-2-w"),
    ("raspberrypi,3-model-b-plus brcm,bcm2837", "raspberry-pi-3"),
    ("raspberrypi,4-model-b brcm,bcm2711", "raspberry-pi-4"),
    ("raspberrypi,4-compute-module brcm,bcm2711", "raspberry-pi-4"),
    ("raspberrypi,5-model-b brcm,bcm2712", "raspberry-pi-5"),
    ("raspberrypi,5-compute-module brcm,bcm2712", "raspberry-pi-5"),
    ("raspberrypi,500 brcm,bcm2712", "raspberry-pi-5"),
    ("nvidia,p3450-0000 nvidia,tegra210", "jetson-nano"),
    ("nvidia,p3768-0000+p3767-0005 nvidia,p3767-0005 nvidia,tegra234", "jetson-orin-nano"),
    ("nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234", "jetson-orin-nano"),
    ("nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234", "jetson-orin-nx"),
    ("nvidia,p3509-0000+p3668-0000 nvidia,tegra194", "jetson-xavier-nx"),
    (
        "nvidia,p3737-0000+p3701-0005 nvidia,p3701-0005 nvidia,tegra234 nvidia,tegra23x",
        "jetson-agx-orin",
    ),
    ("radxa,rock-5b rockchip,rk3588", "rk3588"),
    ("xunlong,orangepi-5 rockchip,rk3588s", "rk3588"),
    ("acme,unheard-of rockchip,rk3588", "rk3588"),
    ("beagle,am625-beagleplay ti,am625", "am625"),
    ("google,imx8mq-phanbell fsl,imx8mq", "imx8mq"),
    ("fsl,imx8mp-evk fsl,imx8mp", "imx8m-plus"),
    ("acme,unheard-of acme,chip", "generic"),
]


def device_tree(tmp_path: Path, entries: str) -> Path:
    data = b"".join(entry.encode() + b"\0" for entry in entries.split())
    (tmp_path / "compatible").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(("entries", "expected"), DEVICE_TREES)
def test_each_known_device_tree_finds_its_profile(
    repo: Path, tmp_path: Path, entries: str, expected: str
) -> None:
    tree = device_tree(tmp_path, entries)
    picked = pick_profile([repo / "board-profiles"], tree, cpu_model="")
    assert picked.profile.name == expected


def test_the_reason_names_the_entry_that_matched(repo: Path, tmp_path: Path) -> None:
    tree = device_tree(tmp_path, "acme,unheard-of rockchip,rk3588")
    picked = pick_profile([repo / "board-profiles"], tree, cpu_model="")
    assert picked.reason == "device tree says 'rockchip,rk3588'"


def test_an_entry_is_compared_as_a_whole(repo: Path, tmp_path: Path) -> None:
    tree = device_tree(tmp_path, "raspberrypi,5-model-b-extended brcm,bcm27129")
    picked = pick_profile([repo / "board-profiles"], tree, cpu_model="")
    assert picked.profile.name == "generic"
    assert "raspberrypi,5-model-b-extended" in picked.reason


def test_a_machine_without_a_device_tree_is_found_by_its_processor(
    repo: Path, tmp_path: Path
) -> None:
    picked = pick_profile([repo / "board-profiles"], tmp_path / "none", cpu_model="Intel(R) N100")
    assert (picked.profile.name, picked.reason) == ("x86-n100", "processor is 'Intel(R) N100'")


def test_without_any_profile_the_built_in_generic_one_is_used(tmp_path: Path) -> None:
    picked = pick_profile([tmp_path / "none"], tmp_path / "none", cpu_model="")
    assert picked.profile.name == "generic"
    assert "no device tree" in picked.reason


def test_every_shipped_profile_is_well_formed_and_no_board_is_claimed_twice(repo: Path) -> None:
    profiles = read_profiles([repo / "board-profiles"])
    assert {"generic", "raspberry-pi-5", "jetson-orin-nano", "x86-n100"} <= profiles.keys()
    for profile in profiles.values():
        assert set(profile.power.meters) <= METERS.keys(), profile.name
        assert all(zone.type == zone.type.strip() for zone in profile.heat.zones), profile.name
        assert all(mode.name == mode.name.strip() for mode in profile.power.modes), profile.name
        assert profile.power.idle_watts is None or profile.power.watts_scope is not Scope.RAILS


def test_an_owners_profile_replaces_the_shipped_one_of_its_name(repo: Path, tmp_path: Path) -> None:
    text = (repo / "board-profiles" / "rk3588.toml").read_text(encoding="utf-8")
    (tmp_path / "rk3588.toml").write_text(text.replace("threads = 4", "threads = 8"))
    profiles = read_profiles([tmp_path, repo / "board-profiles"])
    assert profiles["rk3588"].threads == 8


def test_two_profiles_that_claim_one_board_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(
            f'name = "{name}"\nsummary = "x"\ncompatible = ["acme,board"]\n'
        )
    with pytest.raises(ConfigError, match="profiles one and two both claim 'acme,board'"):
        read_profiles([tmp_path])


def test_an_unknown_key_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('name = "one"\nsummary = "x"\n[ram]\nshares = 0.5\n')
    with pytest.raises(ConfigError, match="unknown field `shares`") as caught:
        read_profile(path)
    assert (caught.value.path, caught.value.line) == (str(path), 4)


def test_a_profile_named_unlike_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('name = "two"\nsummary = "x"\n')
    with pytest.raises(ConfigError, match="name is 'two' but the file is 'one'"):
        read_profile(path)


def test_a_profile_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_profile(path)


@given(data=st.binary(max_size=200))
def test_any_bytes_of_a_device_tree_are_a_list_of_entries(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "compatible").write_bytes(data)
    entries = compatible_entries(folder)
    assert len(entries) == sum(1 for entry in data.split(b"\0") if entry)
    assert "\0" not in "".join(entries)


LISTED = [
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-nano",
    "jetson-xavier-nx",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "rk3588",
    "rk3566",
    "am625",
    "imx8mq",
    "imx8m-plus",
    "x86-n100",
]


@pytest.mark.parametrize("name", LISTED)
def test_a_profile_has_every_fact_of_its_board_or_says_that_it_is_not_known(
    repo: Path, name: str
) -> None:
    path = repo / "board-profiles" / f"{name}.toml"
    profile = read_profile(path)
    text = path.read_text(encoding="utf-8")
    comment = " ".join(
        line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")
    )
    power, facts = profile.power, profile.facts
    assert profile.compatible or profile.cpu_models
    assert facts.isa
    assert facts.cores or " or " in profile.summary
    # An N100 is sold with any; all others are soldered or listed.
    assert facts.ram_gib or name == "x86-n100"
    assert profile.heat.zones
    assert {"threads", "cpu.max"} <= set(power.caps)
    assert ("nvpmodel" in power.caps) == bool(power.modes)
    if power.meters:
        assert power.rails
        assert all(len(meaning) > 2 for meaning in power.rails.values())
        assert power.total_rails or power.correction or power.scope is Scope.RAILS
    else:
        assert "No current sensing" in comment or "no default model" in comment
    assert power.idle_watts is not None or "no default model" in comment or "not known" in comment
    for subject in ("Watts", "Heat"):
        assert f"{subject}" in comment, f"{path.name} has no source of its {subject.lower()}"
    assert profile.compatible == [] or "Compatible string" in comment


def test_only_the_generic_profile_assumes_nothing(repo: Path) -> None:
    names = {path.stem for path in (repo / "board-profiles").glob("*.toml")}
    assert names == {*LISTED, "generic"}
    generic = read_profile(repo / "board-profiles" / "generic.toml")
    assert (generic.compatible, generic.power.idle_watts) == ([], None)
