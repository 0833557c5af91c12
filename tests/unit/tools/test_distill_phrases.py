"""A student of word pieces: which it takes, that order counts, and a file that says the same."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.distill.fault import RecipeError, TeacherError
from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.spec import PhraseClassifier

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["a", "##b", "é", "tea", "rain", "##y", "dogs", "bite", "men", "of"]
TEXTS = ["dogs bite men", "men bite dogs", "rainy tea of men of tea", "tea of men"]
SPEC = PhraseClassifier(
    encoder="encoder", pieces=14, width=8, features=12, hidden=16, bits=5, pair_width=4, length=10
)


def module(name: str) -> Any:
    """The module, where the extra is installed."""
    for needed in ("torch", "safetensors", "litert_torch"):
        pytest.importorskip(needed, reason="needs the extra distill")
    return importlib.import_module(f"tools.distill.students.{name}")


@pytest.fixture
def assets_of(tmp_path: Path) -> Path:
    """A folder with an encoder that is a vocabulary and a table of word vectors."""
    save_file: Any = pytest.importorskip("safetensors.numpy", reason="needs the extra").save_file
    folder = tmp_path / "encoder"
    folder.mkdir()
    names = [*MARKS, *WORDS, "never"]
    (folder / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    table = np.random.default_rng(0).normal(size=(len(names), 12)).astype(np.float32)
    save_file({"embeddings.word_embeddings.weight": table}, folder / "model.safetensors")
    return tmp_path


def student(assets_of: Path, **more: Any) -> Any:
    spec = SPEC if not more else PhraseClassifier(**{**_plain(SPEC), **more})
    return module("phrase").PhraseStudent(spec, 2, TEXTS, assets_of)


def _plain(spec: PhraseClassifier) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def test_marks_come_first_then_letters_then_what_texts_have_then_other_words(
    assets_of: Path,
) -> None:
    pieces = module("pieces")
    vocabulary = assets_of / "encoder" / "vocab.txt"
    found = pieces.choose(vocabulary, TEXTS, 20, 10)
    assert found[:7] == [*MARKS, "a", "##b", "##y"]
    assert found[7] == "men"
    assert found.index("rain") < found.index("never")
    assert "é" not in found
    assert pieces.choose(vocabulary, TEXTS, 8, 10) == found[:8]


def test_a_vocabulary_without_its_marks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("tea\nrain\n")
    with pytest.raises(TeacherError, match=r"lacks \[PAD\]"):
        module("pieces").choose(path, TEXTS, 8, 10)
    with pytest.raises(TeacherError, match=r"none\.txt"):
        module("pieces").choose(tmp_path / "none.txt", TEXTS, 8, 10)


def test_whole_words_are_the_pieces_that_stand_alone(assets_of: Path) -> None:
    found = student(assets_of, pieces=20).words
    assert sorted(found) == ["bite", "dogs", "men", "never", "of", "rain", "tea"]


def test_vectors_keep_who_is_near_whom_in_fewer_dimensions(assets_of: Path) -> None:
    pieces = module("pieces")
    names = [*MARKS, *WORDS, "unheard"]
    found = pieces.vectors(assets_of / "encoder", names, 12)
    assert found.shape == (len(names), 12)
    assert not found[0].any()
    assert not found[-1].any()
    assert found.std() == pytest.approx(pieces.SPREAD, rel=0.2)
    table = np.random.default_rng(0).normal(size=(15, 12)).astype(np.float32)
    before = np.linalg.norm(table[7] - table[8]) / np.linalg.norm(table[9] - table[10])
    after = np.linalg.norm(found[7] - found[8]) / np.linalg.norm(found[9] - found[10])
    assert after == pytest.approx(before, rel=1e-3)
    assert pieces.vectors(assets_of / "encoder", names, 5).shape == (len(names), 5)


def test_an_encoder_of_another_digest_is_refused(assets_of: Path) -> None:
    with pytest.raises(RecipeError, match="digest"):
        student(assets_of, sha256="0" * 64)


def test_rows_of_like_length_are_drawn_together_and_each_once(assets_of: Path) -> None:
    ids = student(assets_of).feed(TEXTS * 40)
    chance = np.random.default_rng(0)
    found = list(ids.batches(np.arange(160), 8, chance))
    assert sorted(np.concatenate(found).tolist()) == list(range(160))
    assert max(len(each) for each in found) == 8
    # 128 rows are sorted at once: 96 short and 32 long ones, then the rest.
    assert sum(len({at % 4 == 2 for at in each}) == 1 for each in found) >= len(found) - 2


def test_hidden_pieces_become_unknown_but_never_the_first_nor_what_fills_up(
    assets_of: Path,
) -> None:
    ids = student(assets_of).feed([*TEXTS, "tea"])
    rows = np.arange(5)
    plain, bare = ids.draw(rows).numpy(), ids.draw(rows, 1.0, np.random.default_rng(0)).numpy()
    assert (bare[:, 0] == plain[:, 0]).all()
    assert (bare[:, 1:][plain[:, 1:] > 0] == MARKS.index("[UNK]")).all()
    assert (bare[plain == 0] == 0).all()


def test_what_fills_a_row_up_changes_nothing(assets_of: Path) -> None:
    one = student(assets_of)
    net = one.net(1).eval()
    long = one.feed(["tea", "dogs bite men of rainy tea"]).draw(np.arange(2))
    short = one.feed(["tea"]).draw(np.arange(1))
    assert net(long)[0].tolist() == pytest.approx(net(short)[0].tolist(), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_it_learns_what_is_a_matter_of_order_and_its_file_says_the_same(
    assets_of: Path, tmp_path: Path
) -> None:
    loop = module("loop")
    one = student(assets_of)
    labels = np.array([0, 1, 0, 1], np.int64)
    training = TrainingPart(epochs=40, batch=4, rate=0.02)
    method = MethodPart(names=["logit-matching"])
    net = one.net(1)
    learner = loop.TorchLearner(net, one.feed(TEXTS), loop.Lesson(labels), (training, method), 1)
    for number in range(40):
        learner.epoch(number, lambda _: None)
    rows = net(one.feed(TEXTS).draw(np.arange(4))).detach().numpy()
    assert list(rows.argmax(axis=1)) == [0, 1, 0, 1]
    folder = tmp_path / "package"
    folder.mkdir()
    one.export(net, folder / "model.tflite", TEXTS)
    assert (folder / "pieces.txt").read_text(encoding="utf-8").split("\n")[:-1] == one.pieces
    assert np.abs(said(folder, one.pre) - rows).max() < 0.15 * np.abs(rows).max()


def stirred(layer: Any) -> Any:
    """A layer of attention that changes something; a new one changes nothing."""
    torch = module("attention").torch
    torch.manual_seed(0)
    for each in (layer.mixed, layer.down):
        torch.nn.init.normal_(each.weight, std=0.3)
    return layer.eval()


def test_a_new_layer_of_attention_changes_nothing_and_one_that_learned_sees_all_places() -> None:
    attention = module("attention")
    torch = attention.torch
    states, mask = torch.randn(2, 6, 8), torch.ones(2, 6, 1)
    layer = attention.Attention(8, 2, 12).eval()
    assert torch.equal(layer(states, mask), states)
    before = stirred(layer)(states, mask)
    far = states.clone()
    far[:, 5] += 1.0
    assert float((layer(far, mask) - before)[:, 0].detach().abs().max()) > 1e-3


def test_where_a_piece_stands_counts() -> None:
    attention = module("attention")
    torch = attention.torch
    stack = attention.AttentionStack(8, attention.AttentionSizes(1, 2, 12, 6)).eval()
    stirred(stack.layers[0])
    rows, mask = torch.randn(1, 6, 8), torch.ones(1, 6, 1)
    turned = stack(rows.flip(1), mask).flip(1)
    assert float((stack(rows, mask) - turned).detach().abs().max()) > 1e-3
    bare = attention.AttentionStack(8, attention.AttentionSizes())
    assert bare(rows, mask) is rows


def test_no_piece_looks_at_what_fills_a_row_up() -> None:
    attention = module("attention")
    torch = attention.torch
    layer = stirred(attention.Attention(8, 2, 12))
    states, mask = torch.randn(1, 6, 8), torch.ones(1, 6, 1)
    mask[:, 4:] = 0.0
    short = layer(states[:, :4], mask[:, :4])
    assert float((layer(states, mask)[:, :4] - short).detach().abs().max()) < 1e-5


def test_heads_that_do_not_divide_the_width_are_refused(assets_of: Path) -> None:
    with pytest.raises(RecipeError, match="3 heads do not divide a width of 8"):
        student(assets_of, layers=1, heads=3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("runtime", ["ai_edge_litert", "tflite_runtime"])
def test_a_file_with_attention_says_what_the_network_says(
    assets_of: Path, tmp_path: Path, runtime: str
) -> None:
    pytest.importorskip(f"{runtime}.interpreter", reason=f"needs {runtime}")
    if runtime == "tflite_runtime" and not np.__version__.startswith("1."):
        pytest.skip("tflite-runtime 2.14 needs NumPy 1")
    one = student(assets_of, layers=2, heads=2, feed_forward=12)
    net = one.net(1).eval()
    for layer in net.attention.layers:
        stirred(layer)
    rows = net(one.feed(TEXTS).draw(np.arange(4))).detach().numpy()
    one.export(net, tmp_path / "model.tflite", TEXTS)
    assert "2 layers of self-attention (2 heads, 12 feed-forward units)" in one.architecture
    assert np.abs(said(tmp_path, one.pre, runtime) - rows).max() < 0.05 * np.abs(rows).max()


def said(folder: Path, steps: Any, runtime: str = "ai_edge_litert") -> Any:
    """What the package's steps and its file give for the texts."""
    from aiosd.pipelines.text import STEPS  # noqa: PLC0415 - beside its use

    interpreter: Any = pytest.importorskip(f"{runtime}.interpreter").Interpreter
    model = interpreter(model_path=str(folder / "model.tflite"))
    model.allocate_tensors()
    calls = [STEPS[type(step)](step, folder) for step in steps]
    found = []
    for text in TEXTS:
        value: object = text
        for call in calls:
            value = call(value)
        model.set_tensor(model.get_input_details()[0]["index"], value)
        model.invoke()
        found.append(model.get_tensor(model.get_output_details()[0]["index"])[0])
    return np.stack(found)
