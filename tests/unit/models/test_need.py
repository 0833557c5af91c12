from dataclasses import replace
from pathlib import Path

import pytest
from gguf_writer import write_small_model

from aiosd.domain.errors import PackageError
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, Task
from aiosd.models.gguf import read_gguf
from aiosd.models.need import (
    PIPELINE_BYTES,
    WORKER_BYTES,
    gguf_need,
    processor_features,
    ram_need,
)

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
    # Measured 10.2 MB private in a forked process, 3.1 MB of it its own: tools/calibrate_ram.py.
    assert 7_100_000 <= need.private_bytes - need.worker_bytes <= 9_400_000
