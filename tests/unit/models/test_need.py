from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from gguf_writer import write_small_model

from aiosd.domain.errors import PackageError
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, Prompt, Task
from aiosd.models.gguf import read_gguf
from aiosd.models.llama_need import gguf_need, processor_features
from aiosd.models.need import PIPELINE_BYTES, ram_need
from aiosd.models.ram_need import WORKER_BYTES

TEXT_BYTES = WORKER_BYTES + PIPELINE_BYTES[InputType.TEXT]


def manifest(engine: str, context: int = 256) -> Manifest:
    return Manifest(
        name="one",
        release=1,
        summary="one",
        licence="MIT",
        task=Task.TEXT_GENERATE,
        engine=EngineNeed(name=engine, context=context),
        input=InputNeed(type=InputType.TEXT),
    )


def test_an_expert_without_a_model_needs_its_worker_only() -> None:
    assert ram_need(manifest("echo"), None).total_bytes == TEXT_BYTES


def test_the_cache_is_two_bytes_for_each_key_and_value(tmp_path: Path) -> None:
    path = write_small_model(tmp_path)
    need = ram_need(manifest("llama"), path)
    assert need.cache_bytes == 2 * (2 * 2 * 16) * 256 * 2
    assert need.weights_bytes == read_gguf(path).tensor_bytes
    assert need.total_bytes == need.weights_bytes + need.private_bytes


def test_no_more_than_the_trained_context_is_counted(tmp_path: Path) -> None:
    path = write_small_model(tmp_path)
    assert ram_need(manifest("llama", 8192), path) == ram_need(manifest("llama"), path)


def test_a_sliding_window_bounds_the_cache_of_its_layers(tmp_path: Path) -> None:
    facts = read_gguf(write_small_model(tmp_path))
    long = replace(
        facts, architecture="gemma3", context_train=8192, kv_heads=(2,) * 12, layers=12, window=512
    )
    need = gguf_need(long, EngineNeed(name="llama", context=2048, batch=256))
    cells = 2 * 2048 + 10 * 768
    assert need.cache_bytes == cells * 2 * 2 * (16 + 16)


def test_repacked_weights_depend_on_the_processor(tmp_path: Path) -> None:
    facts = replace(read_gguf(write_small_model(tmp_path)), matrices=(("Q4_0", 1000), ("F16", 9)))
    engine = EngineNeed(name="llama")
    assert gguf_need(facts, engine, features=frozenset({"avx2"})).packed_bytes == 1000
    assert gguf_need(facts, engine, features=frozenset({"sse2"})).packed_bytes == 0


def test_copied_weights_stay_mapped_only_between_others(tmp_path: Path) -> None:
    places = (
        ("Q4_0", 100, 200),
        ("", 200, 300),
        ("Q4_0", 300, 400),
        ("", 400, 450),
        ("Q4_0", 450, 900),
    )
    facts = replace(
        read_gguf(write_small_model(tmp_path)),
        matrices=(("Q4_0", 650),),
        places=(places,),
        file_size=900,
    )
    engine = EngineNeed(name="llama")
    assert gguf_need(facts, engine, features=frozenset({"avx2"})).weights_bytes == 450 - 200
    assert gguf_need(facts, engine, features=frozenset({"sse2"})).weights_bytes == 900 - 100


def test_of_a_model_in_parts_each_file_stays_mapped_on_its_own(tmp_path: Path) -> None:
    facts = replace(
        read_gguf(write_small_model(tmp_path)),
        matrices=(("Q4_0", 300),),
        places=((("", 100, 200),), (("Q4_0", 100, 400),), (("", 64, 90), ("", 90, 100))),
        file_size=900,
    )
    engine = EngineNeed(name="llama")
    assert gguf_need(facts, engine, features=frozenset({"avx2"})).weights_bytes == 100 + 36
    assert gguf_need(facts, engine, features=frozenset({"sse2"})).weights_bytes == 436


def test_while_it_loads_the_whole_file_is_there_beside_the_copies(tmp_path: Path) -> None:
    large = 10**9
    facts = replace(
        read_gguf(write_small_model(tmp_path)),
        matrices=(("Q4_0", large),),
        places=((("Q4_0", 0, large), ("", large, large + 64)),),
        file_size=large + 64,
    )
    need = gguf_need(facts, EngineNeed(name="llama"), features=frozenset({"avx2"}))
    assert need.weights_bytes == 64
    assert need.total_bytes == need.loading_bytes > 2 * large


def test_a_cache_of_eight_bits_takes_half_and_its_scales(tmp_path: Path) -> None:
    path = write_small_model(tmp_path)
    wide = ram_need(manifest("llama"), path).cache_bytes
    engine = EngineNeed(name="llama", context=256, cache="q8_0")
    assert gguf_need(read_gguf(path), engine).cache_bytes == wide * 34 // 64


def test_a_grammar_is_counted(tmp_path: Path) -> None:
    path = write_small_model(tmp_path)
    bound = msgspec.structs.replace(manifest("llama"), prompt=Prompt(json_schema="{}"))
    assert ram_need(bound, path).total_bytes > ram_need(manifest("llama"), path).total_bytes


def test_this_machine_has_features() -> None:
    assert processor_features()


def test_a_damaged_model_has_no_need(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(PackageError):
        ram_need(manifest("llama"), path)


def test_an_unknown_engine_is_taken_to_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(1000))
    assert ram_need(manifest("other"), path).private_bytes == 1000 + TEXT_BYTES


@pytest.mark.assets
def test_a_tflite_model_needs_more_than_its_weights_twice(assets: Path) -> None:
    path = assets / "tflite" / "vision" / "mobilenet_v2_1.0_224_quant.tflite"
    need = ram_need(manifest("litert"), path)
    # Measured 10.2 MB private in a forked process, 3.1 MB of it its own.
    assert 7_100_000 <= need.private_bytes - need.worker_bytes <= 9_400_000
