"""Every message on the pipes comes out as it went in, and what is none is an error."""

import contextlib
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, Task
from aiosd.domain.request import Sampling
from aiosd.protocol import pipe

UNIONS = {
    "to a host": pipe.ToHost,
    "from a host": pipe.FromHost,
    "to a worker": pipe.ToWorker,
    "from a worker": pipe.FromWorker,
}


def kinds_of(union: object) -> tuple[type, ...]:
    return get_args(union) or (union,)  # type: ignore[return-value]


@pytest.mark.parametrize("way", UNIONS)
def test_the_messages_of_one_way_have_different_tags(way: str) -> None:
    tags = [str(msgspec.inspect.type_info(kind).tag) for kind in kinds_of(UNIONS[way])]
    assert len(set(tags)) == len(tags)


@given(number=st.integers(), text=st.text(), payload=st.none() | st.binary(), stream=st.booleans())
def test_a_request_comes_out_as_it_went_in(
    *, number: int, text: str, payload: bytes | None, stream: bool
) -> None:
    sent = pipe.RunRequest(
        id=number % 2**32,
        input=TextInput(text=text),
        sampling=Sampling(max_tokens=3),
        top_k=None,
        stream=stream,
        payload=payload,
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=pipe.ToWorker) == sent


def test_a_load_carries_the_whole_manifest() -> None:
    manifest = Manifest(
        name="a",
        release=1,
        summary="s",
        licence="Apache-2.0",
        task=Task.ECHO,
        engine=EngineNeed(name="echo"),
        input=InputNeed(type="text"),  # type: ignore[arg-type]
    )
    manifest = msgspec.convert(msgspec.to_builtins(manifest), Manifest)
    sent = pipe.LoadExpert(manifest=manifest, folder="/x", threads=2, verify=["m.tflite"])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=pipe.ToWorker) == sent


@given(st.binary(max_size=200), st.sampled_from(sorted(UNIONS)))
def test_random_bytes_are_no_message(data: bytes, way: str) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        message = msgspec.msgpack.decode(data, type=UNIONS[way])
        assert isinstance(message, kinds_of(UNIONS[way]))
