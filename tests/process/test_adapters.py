"""One base and the skills on it: experts that are an adapter on another expert's model."""

import shutil
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.parted import install_packed, packed_in_parts
from fakes.running import DaemonProcess

from aiosd.protocol.messages import End, List, Reply, Show
from aiosd.sensors.memory import read_process
from tools.gguf.package import Made, write_expert, write_skill
from tools.gguf.random_llama import Shape

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs llama-cpp-python"),
]
BASE = Made("base", Shape(256, 4, 4, 4, 512, 20_000, 512, "Q8_0"), 128, 32)


def text_of(daemon: DaemonProcess, expert: str) -> object:
    answer = daemon.client().say(expert, "e e", sampling={"max_tokens": 8, "seed": 1})
    assert isinstance(answer, End), answer
    return answer.outcome.output["text"]


def test_skills_on_one_base_say_different_things_and_share_its_pages(daemon: DaemonProcess) -> None:
    write_expert(daemon.experts, BASE)
    write_skill(daemon.experts, "one", BASE, seed=1)
    write_skill(daemon.experts, "two", BASE, seed=2)
    daemon.start()
    texts = {text_of(daemon, expert) for expert in ("base", "one", "two")}
    assert len(texts) == 3
    weights = (daemon.experts / "base" / "model.gguf").stat().st_size
    for expert in ("one", "two"):
        held = read_process(daemon.load(expert))
        assert held is not None
        # Three of them have the base mapped: none of its pages is anybody's own.
        assert held.own_bytes < held.pss_bytes - weights // 4
    shown = daemon.client().ask(Show(expert="one"))
    assert isinstance(shown, Reply)
    need = shown.body["need"]
    assert isinstance(need, dict)
    adapter = (daemon.experts / "one" / "adapter.gguf").stat().st_size
    assert need["weights_bytes"] > 0.9 * weights
    assert need["packed_bytes"] == pytest.approx(adapter, rel=0.05)


def test_a_base_may_be_in_parts_and_answers_as_the_whole_one_does(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    parted = packed_in_parts(tmp_path / "packed", "base", made=BASE)
    install_packed(daemon.folder, parted)
    write_skill(daemon.experts, "one", BASE, seed=1)
    daemon.start()
    texts = [text_of(daemon, expert) for expert in ("one", "base")]
    for expert in ("base", "one"):
        held = read_process(daemon.load(expert))
        assert held is not None
        # Both have every part mapped: none of their pages is anybody's own.
        assert held.own_bytes < held.pss_bytes - parted.model.stat().st_size // 4
    shutil.copytree(parted.model.parent, tmp_path / "whole" / "experts" / "base")
    write_skill(tmp_path / "whole" / "experts", "one", BASE, seed=1)
    whole = DaemonProcess(tmp_path / "whole")
    try:
        whole.start()
        assert [text_of(whole, expert) for expert in ("one", "base")] == texts
    finally:
        whole.stop()


def test_a_skill_without_its_base_is_refused_by_name(daemon: DaemonProcess) -> None:
    write_skill(daemon.experts, "one", BASE)
    daemon.start()
    listed = daemon.client().ask(List())
    assert isinstance(listed, Reply)
    (refused,) = listed.body["refused"]
    assert "base is not installed" in refused["reason"]


def test_a_skill_of_another_base_fails_with_a_reason(daemon: DaemonProcess) -> None:
    write_expert(daemon.experts, BASE)
    other = Made("base", Shape(128, 4, 4, 4, 512, 20_000, 512, "Q8_0"), 128, 32)
    write_skill(daemon.experts, "one", other)
    daemon.start()
    answer = daemon.client().say("one", "e e")
    assert answer.code == "expert_failed"
    assert "does not fit its base" in answer.message
    assert text_of(daemon, "base") is not None


def test_the_books_count_the_base_once(daemon: DaemonProcess) -> None:
    heavy = Made("base", Shape(512, 8, 4, 4, 1536, 1_000, 512, "Q8_0"), 128, 32)
    write_expert(daemon.experts, heavy)
    write_skill(daemon.experts, "one", heavy, rank=2, seed=1)
    write_skill(daemon.experts, "two", heavy, rank=2, seed=2)
    daemon.start()
    weights = (daemon.experts / "base" / "model.gguf").stat().st_size
    pids, used = [], []
    for expert in ("base", "one", "two"):
        pids.append(daemon.load(expert))
        used.append(daemon.status()["ram_used_bytes"])
    grown = [after - before for before, after in pairwise(used)]
    assert all(0 < each < 0.7 * weights for each in grown)
    processes = [read_process(pid) for pid in (*pids, daemon.hosts()["llama"]["pid"])]
    truth = sum(each.pss_bytes for each in processes if each)
    assert used[0] < truth < 1.1 * used[-1]
