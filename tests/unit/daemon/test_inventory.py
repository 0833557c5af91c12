"""What is installed, and a release beside it that is tried out."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from fakes.small_board import BASE, MACHINE, RULES

from aiosd.daemon.inventory import Inventory
from aiosd.domain.errors import PackageError, UnknownExpertError
from aiosd.domain.model_parts import PART
from aiosd.store.layout import Layout
from aiosd.store.packages import Installed
from tools.expert.parts import cut
from tools.gguf.package import write_expert, write_skill


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """A base, and an adapter on its model."""
    experts = tmp_path / "experts"
    experts.mkdir()
    write_expert(experts, BASE)
    write_skill(experts, "skill", BASE, seed=1)
    layout = Layout(experts=(experts,), state=tmp_path)
    made = Inventory(layout, MACHINE, RULES)
    assert made.scan(layout, RULES).added == ["base", "skill"]
    return made


def renewed(inventory: Inventory, name: str) -> Installed:
    """The same package as its next release."""
    now = inventory.catalogue.experts[name]
    return Installed(msgspec.structs.replace(now.manifest, release=2), now.folder)


def test_a_release_on_trial_is_known_by_its_own_name_alone(inventory: Inventory) -> None:
    before = dict(inventory.routes)
    new = renewed(inventory, "base")
    inventory.try_out("base@2", new, inventory.reckon(new))
    assert inventory.routes == before
    assert "base@2" in inventory.named
    assert {fact.expert for fact in inventory.facts()} == {"base", "skill", "base@2"}
    assert inventory.find("base@2").manifest.release == 2
    _, order = inventory.order("base@2")
    assert (order.manifest.name, order.manifest.release) == ("base", 2)
    assert inventory.catalogue.experts["base"].manifest.release == 1


def test_nothing_is_left_of_a_trial_that_has_ended(inventory: Inventory) -> None:
    new = renewed(inventory, "base")
    inventory.try_out("base@2", new, inventory.reckon(new))
    inventory.end_trial("base@2")
    assert inventory.named is inventory.routes
    assert {fact.expert for fact in inventory.facts()} == {"base", "skill"}
    with pytest.raises(UnknownExpertError):
        inventory.find("base@2")


def test_a_release_that_this_machine_cannot_run_is_not_taken_in(inventory: Inventory) -> None:
    new = renewed(inventory, "base")
    needs = msgspec.structs.replace(new.manifest.needs, isa=["warp"])
    bad = Installed(msgspec.structs.replace(new.manifest, needs=needs), new.folder)
    with pytest.raises(PackageError, match="lacks warp"):
        inventory.reckon(bad)
    assert inventory.trials == {}


def test_an_adapter_changes_with_the_model_that_it_is_on(inventory: Inventory) -> None:
    new = renewed(inventory, "base")
    needs = inventory.reckon(new)
    assert set(needs) == {"base", "skill"}
    change = inventory.replace(new, needs)
    assert (change.added, change.removed, change.changed) == ([], [], ["base", "skill"])
    skill = renewed(inventory, "skill")
    assert inventory.replace(skill, inventory.reckon(skill)).changed == ["skill"]


def test_a_release_that_replaces_another_is_what_a_scan_would_find(inventory: Inventory) -> None:
    base = inventory.catalogue.experts["base"]
    change = inventory.replace(base, inventory.reckon(base))
    assert change.changed == []


@pytest.fixture
def parted(inventory: Inventory, tmp_path: Path) -> Inventory:
    """The same, with the base's model in parts."""
    base = inventory.catalogue.experts["base"]
    in_parts(base.folder)
    layout = Layout(experts=(tmp_path / "experts",), state=tmp_path)
    assert inventory.scan(layout, RULES).changed == ["base", "skill"]
    return inventory


def in_parts(folder: Path) -> None:
    """Cut the model of a package, and have its manifest say so."""
    parts = cut(folder / "model.gguf", folder)
    before, _, after = (folder / "expert.toml").read_text(encoding="utf-8").partition("[[files]]")
    tables = [
        f'[[files]]\npath = "{path.name}"\nrole = "{PART if number else "model"}"\n'
        f"size = {path.stat().st_size}\n"
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
        for number, path in enumerate(parts)
    ]
    rest = after[after.index("[prompt]") :]
    (folder / "expert.toml").write_text(before + "".join(tables) + rest, encoding="utf-8")


def shared(inventory: Inventory) -> dict[str, str]:
    return {fact.expert: fact.shared_model for fact in inventory.facts()}


def test_who_is_on_a_base_in_parts_is_given_all_of_them_to_hash_and_map(parted: Inventory) -> None:
    base = parted.catalogue.experts["base"]
    names = [file.path for file in base.manifest.model_files]
    assert len(names) > 2
    _, order = parted.order("skill")
    assert order.base is not None
    assert [file.path for file in order.base.files] == order.base.verify == names
    assert parted.need("skill").weights_bytes == parted.need("base").weights_bytes


def test_books_tell_bases_apart_that_differ_in_one_part(parted: Inventory) -> None:
    before = shared(parted)
    assert before["base"] == before["skill"] != ""
    base = parted.catalogue.experts["base"]
    *files, last = base.manifest.files
    files.append(msgspec.structs.replace(last, sha256="f" * 64))
    new = Installed(msgspec.structs.replace(base.manifest, files=files), base.folder)
    parted.replace(new, parted.reckon(new))
    after = shared(parted)
    assert after["base"] == after["skill"]
    assert after["base"] != before["base"]
