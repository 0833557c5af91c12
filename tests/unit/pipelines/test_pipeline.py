import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.inputs import (
    AudioInput,
    ChatInput,
    ImageInput,
    Input,
    InputType,
    JsonInput,
    SeriesInput,
    TensorInput,
    TextInput,
    Turn,
)
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, Prompt, Task
from aiosd.domain.post_steps import (
    EmbeddingNormalize,
    JsonParse,
    PostStep,
    ScoresMean,
    ScoresSoftmax,
    ScoresTopK,
    TextStrip,
)
from aiosd.domain.pre_steps import (
    AudioDecode,
    AudioLogMel,
    AudioWindow,
    ImageDecode,
    PreStep,
    TensorAffine,
    TensorDecode,
    TensorWindow,
)
from aiosd.domain.prepared import (
    Embedding,
    Tensors,
    TextEnd,
    TextPiece,
    TextPrompt,
    Value,
)
from aiosd.domain.request import Sampling
from aiosd.pipelines.pipeline import FIRST, MODULES, WINDOWING, Pipeline, name_of

PLAIN = Sampling()
ENCODE = msgspec.msgpack.Encoder().encode


def pipeline(
    kind: InputType,
    *,
    pre: list[PreStep] | None = None,
    post: list[PostStep] | None = None,
    task: Task = Task.TENSOR_RUN,
    prompt: Prompt | None = None,
    max_bytes: int = 1000,
) -> Pipeline:
    manifest = Manifest(
        name="probe",
        release=1,
        summary="for tests",
        licence="CC0-1.0",
        task=task,
        engine=EngineNeed(name="none"),
        input=InputNeed(type=kind, max_bytes=max_bytes),
        pre=pre or [],
        post=post or [],
        prompt=prompt,
    )
    return Pipeline(manifest, Path())


def tensor(*rows: list[float]) -> TensorInput:
    array = np.array(rows, np.float32)
    return TensorInput(dtype="float32", shape=list(array.shape), data=array.tobytes())


def outputs(*arrays: list[Any]) -> Tensors:
    return Tensors(tuple(np.array(array, np.float32) for array in arrays))


DECODE = TensorDecode(dtype="float32", shape=[-1, 2])
TOP = ScoresTopK(labels=["a", "b"])


def test_an_input_goes_through_the_steps_and_gets_its_window_axis() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE, TensorAffine(scale=2.0)])
    prepared = made.prepare(tensor([1, 2], [3, 4]), PLAIN)
    assert isinstance(prepared, Tensors)
    assert np.array_equal(prepared.arrays[0], [[[2, 4], [6, 8]]])


def test_steps_that_make_windows_keep_their_axis() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE, TensorWindow(length=2)])
    prepared = made.prepare(tensor([1, 2], [3, 4], [5, 6]), PLAIN)
    assert isinstance(prepared, Tensors)
    assert np.array_equal(prepared.arrays[0], [[1, 2, 3, 4], [3, 4, 5, 6]])


def test_post_steps_make_a_plain_output_that_the_wire_can_hold() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE], post=[ScoresMean(), ScoresSoftmax(), TOP])
    prepared = made.prepare(tensor([1, 2]), PLAIN)
    output = made.finish(prepared, outputs([[0.0, 2.0], [0.0, 4.0]]), top_k=1)
    assert (output["label"], len(output["top"])) == ("b", 1)  # type: ignore[arg-type]
    assert msgspec.msgpack.decode(ENCODE(output)) == output


def test_arrays_without_post_steps_are_values() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE])
    output = made.finish(made.prepare(tensor([1, 2]), PLAIN), outputs([[1, 2]], [[3]]))
    assert output == {"values": [[[1.0, 2.0]], [[3.0]]]}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_never_an_answer(bad: float) -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE])
    prepared = made.prepare(tensor([1, 2]), PLAIN)
    with pytest.raises(ExpertFailedError, match="NaN or infinity") as caught:
        made.finish(prepared, outputs([[1, 2]], [[3, bad]]))
    assert caught.value.field == "output.values[1][0][1]"


INPUTS: dict[InputType, Input] = {
    InputType.TEXT: TextInput(text="x"),
    InputType.CHAT: ChatInput(messages=[Turn(role="user", content="x")]),
    InputType.IMAGE: ImageInput(data=b"x"),
    InputType.AUDIO: AudioInput(data=b"x"),
    InputType.SERIES: SeriesInput(values=[1.0]),
    InputType.TENSOR: tensor([1, 2]),
    InputType.JSON: JsonInput(value=1),
}


@pytest.mark.parametrize("wanted", list(InputType))
@pytest.mark.parametrize("given", list(InputType))
def test_another_type_of_input_names_both(wanted: InputType, given: InputType) -> None:
    made = pipeline(wanted, task=Task.ECHO)
    if wanted is given:
        if wanted is not InputType.CHAT:
            assert isinstance(made.prepare(INPUTS[given], PLAIN), Value)
        return
    with pytest.raises(InvalidError, match=f"takes {wanted} input, not {given}") as caught:
        made.prepare(INPUTS[given], PLAIN)
    assert caught.value.field == "input.type"


@pytest.mark.parametrize("kind", [kind for kind in InputType if kind is not InputType.TENSOR])
def test_an_input_that_is_too_large_is_refused(kind: InputType) -> None:
    big: dict[InputType, Input] = {
        InputType.TEXT: TextInput(text="é" * 51),
        InputType.CHAT: ChatInput(messages=[Turn(role="user", content="x" * 51)] * 2),
        InputType.IMAGE: ImageInput(data=bytes(101)),
        InputType.AUDIO: AudioInput(data=bytes(101)),
        InputType.SERIES: SeriesInput(values=[1.0] * 26),
        InputType.JSON: JsonInput(value="x" * 100),
    }
    with pytest.raises(InvalidError, match="takes at most 100") as caught:
        pipeline(kind, task=Task.ECHO, max_bytes=100).prepare(big[kind], PLAIN)
    assert caught.value.field == "input"


def test_top_k_under_one_is_refused() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE])
    with pytest.raises(InvalidError, match="at least 1, not 0") as caught:
        made.prepare(tensor([1, 2]), PLAIN, 0)
    assert caught.value.field == "options.top_k"


def test_an_echo_gets_the_input_as_plain_values_and_gives_them_back() -> None:
    made = pipeline(InputType.AUDIO, task=Task.ECHO)
    prepared = made.prepare(AudioInput(data=b"abc"), PLAIN)
    assert isinstance(prepared, Value)
    output = made.finish(prepared, prepared)
    assert output == {"type": "audio", "data": b"abc"}
    assert made.finish(prepared, Value(3)) == {"value": 3}


def test_bytes_may_come_as_a_view_of_shared_memory() -> None:
    made = pipeline(InputType.TENSOR, pre=[DECODE])
    whole = tensor([1, 2])
    assert whole.data is not None
    view = msgspec.structs.replace(whole, data=memoryview(whole.data))
    prepared = made.prepare(view, PLAIN)
    assert isinstance(prepared, Tensors)
    assert np.array_equal(prepared.arrays[0], [[[1, 2]]])
    echo = pipeline(InputType.TENSOR, task=Task.ECHO).prepare(view, PLAIN)
    assert isinstance(echo, Value)
    assert ENCODE(echo.value) == ENCODE(msgspec.to_builtins(whole, builtin_types=(bytes,)))


def test_a_text_becomes_a_prompt_and_an_answer() -> None:
    made = pipeline(
        InputType.TEXT,
        task=Task.TEXT_EXTRACT,
        prompt=Prompt(template="> {text}"),
        post=[TextStrip(), JsonParse()],
    )
    prepared = made.prepare(TextInput(text="hi"), Sampling(max_tokens=5))
    assert isinstance(prepared, TextPrompt)
    assert (prepared.text, prepared.sampling.max_tokens, prepared.embed) == ("> hi", 5, False)
    assert made.piece(TextPiece(' {"a"')) == {"text": ' {"a"'}
    end = TextEnd(text=' {"a": 1} ', tokens_in=3, tokens_out=4, finish="stop")
    assert made.piece(end) == {}
    assert made.finish(prepared, end) == {
        "text": '{"a": 1}',
        "finish": "stop",
        "value": {"a": 1},
    }


def test_a_conversation_needs_a_prompt_and_takes_plain_text_too() -> None:
    prompt = Prompt(turn="{role}: {content}\n", template="{turns}assistant:")
    made = pipeline(InputType.CHAT, task=Task.TEXT_GENERATE, prompt=prompt)
    chat = made.prepare(INPUTS[InputType.CHAT], PLAIN)
    assert isinstance(chat, TextPrompt)
    assert chat.text == "user: x\nassistant:"
    assert made.prepare(INPUTS[InputType.TEXT], PLAIN) == chat
    with pytest.raises(ExpertFailedError, match="no prompt"):
        pipeline(InputType.CHAT, task=Task.ECHO).prepare(INPUTS[InputType.CHAT], PLAIN)


def test_an_embedding_is_asked_for_and_given_normalized_or_not() -> None:
    for post, wanted in (([], [3.0, 4.0]), ([EmbeddingNormalize()], [0.6, 0.8])):
        made = pipeline(InputType.TEXT, task=Task.TEXT_EMBED, post=post)  # type: ignore[arg-type]
        prepared = made.prepare(TextInput(text="hi"), PLAIN)
        assert isinstance(prepared, TextPrompt)
        assert prepared.embed
        output = made.finish(prepared, Embedding(vector=(3.0, 4.0)))
        assert output["embedding"] == pytest.approx(wanted)


def test_a_stream_that_ends_without_an_answer_is_a_failure() -> None:
    made = pipeline(InputType.TEXT, task=Task.TEXT_GENERATE)
    with pytest.raises(ExpertFailedError, match="without an answer"):
        made.finish(made.prepare(TextInput(text="x"), PLAIN), TextPiece("half"))


@pytest.mark.parametrize(
    ("kind", "pre", "post", "words"),
    [
        (InputType.TENSOR, [TensorAffine()], [], r"pre\[0\] is tensor.affine.*tensor.decode"),
        (InputType.AUDIO, [ImageDecode()], [], r"pre\[0\] is image.decode"),
        (InputType.TENSOR, [DECODE, DECODE], [], r"pre\[1\] is tensor.decode"),
        (InputType.CHAT, [DECODE], [], "chat input has no pre steps"),
        (InputType.TENSOR, [DECODE], [ScoresTopK()], r"post step scores.top_k: exactly one of"),
        (
            InputType.TENSOR,
            [DECODE],
            [ScoresTopK(labels=["a"], none_measure="energy"), ScoresSoftmax()],
            r"post\[0\] measures energy",
        ),
    ],
)
def test_steps_that_do_not_fit_are_found_when_the_worker_starts(
    kind: InputType, pre: list[PreStep], post: list[PostStep], words: str
) -> None:
    with pytest.raises(PackageError, match=words):
        pipeline(kind, pre=pre, post=post)


def test_every_step_has_a_family_and_every_first_step_exists() -> None:
    specs = {*PreStep.__args__, *PostStep.__args__}  # type: ignore[attr-defined]
    names = {name_of(spec) for spec in specs}
    assert {name.split(".")[0] for name in names} <= set(MODULES)
    assert names >= WINDOWING
    assert all(any(name.startswith(first) for name in names) for first in FIRST.values())


def test_a_text_expert_s_worker_pays_for_no_image_library() -> None:
    code = """
import sys
from pathlib import Path
import msgspec
from aiosd.domain.manifest import Manifest
from aiosd.pipelines.pipeline import Pipeline
tree = {"name": "t", "release": 1, "summary": "s", "licence": "x", "task": "text.generate",
        "engine": {"name": "llama"}, "input": {"type": "text"}, "post": [{"step": "text.strip"}]}
Pipeline(msgspec.convert(tree, Manifest), Path())
assert not {"PIL", "aiosd.pipelines.audio", "aiosd.pipelines.scores"} & set(sys.modules)
"""
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_an_audio_pipeline_runs_from_bytes_to_features() -> None:
    body = np.zeros(800, "<i2").tobytes()
    head = b"\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0"
    data = b"WAVEfmt \x10\0\0\0" + head + b"data" + len(body).to_bytes(4, "little") + body
    wav = b"RIFF" + len(data).to_bytes(4, "little") + data
    made = pipeline(
        InputType.AUDIO,
        pre=[
            AudioDecode(rate=8000),
            AudioWindow(length=400, hop=400),
            AudioLogMel(rate=8000, frame=80, hop=40, fft=128, mels=8),
        ],
        max_bytes=10_000,
    )
    prepared = made.prepare(AudioInput(data=wav), PLAIN)
    assert isinstance(prepared, Tensors)
    assert prepared.arrays[0].shape == (2, 9, 8)
