"""A run of a slot filler from recipe to card, with a teacher and a corpus that are tiny."""

# ruff: noqa: ANN401 - torch is not imported here, and has no types

import dataclasses
import importlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.train.home_command.corpora import normal_form
from tools.train.home_command.labels import Example, Span

HOME_COMMAND = Path(__file__).resolve().parents[3] / "experts" / "home-command"
RECIPE = f"""
name = "tiny-command"
task = "text.extract"
seed = 1
[data]
source = "home-command"
[teacher]
kind = "tagger"
path = "encoder"
epochs = 2
home = 0
[student]
kind = "slot-lm"
start = "{HOME_COMMAND / "home-command.gguf"}"
shared = 1
home = 0
other = 6
[method]
names = ["sequence-level", "logit-matching", "step-by-step"]
temperature = 1.0
mixing = 0.5
[training]
epochs = 2
batch = 512
rate = 0.0005
[package]
words = "tiny.words.toml"
max_bytes = 20_000_000
"""
WORDS = """
format = 1
name = "tiny-command"
release = @release@
max_bytes = 20_000_000
summary = "@architecture@"
licence = "CC-BY-4.0"
task = "text.extract"
[engine]
name = "llama"
[input]
type = "text"
max_bytes = 2048
@files@
@figures@
"""
FOOD = ("milk", "bread", "rice", "soap", "cheese", "apples")


def needed() -> None:
    """Leave where the extra is not installed."""
    for each in ("torch", "gguf", "yaml", "transformers", "llama_cpp"):
        pytest.importorskip(each, reason="needs the extra distill")


def encoder(folder: Path) -> None:
    """Write a Hugging Face folder with an encoder of one narrow layer."""
    tokenizers = importlib.import_module("tokenizers")
    transformers = importlib.import_module("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{each}" for each in letters)]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    wrapped.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)


def corpus() -> Any:
    """A corpus of a few sentences of each source, with no templates."""
    train = importlib.import_module("tools.train.home_command.corpus")
    homes = importlib.import_module("tools.train.home_command.homes")
    book = importlib.import_module("tools.train.home_command.templates").TemplateBook((), {})

    def rows(foods: tuple[str, ...]) -> tuple[Example, ...]:
        added = (
            Example(f"add {food} to my list", "lists_createoradd",
                    (Span(4, 4 + len(food), "item"),), "hwu64")
            for food in foods
        )  # fmt: skip
        others = (Example(f"is {food} on my card", "other", (), "other") for food in foods)
        return (*added, *others)

    return train.Corpus(
        rows(FOOD), rows(("salt",)), rows(("wine", "tea")), (), homes.Homes(book), frozenset(), 7
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_text_without_labels_is_a_held_out_sentence_in_other_signs(tmp_path: Path) -> None:
    needed()
    unlabelled = importlib.import_module("tools.distill.slots.unlabelled")
    encoder(tmp_path / "encoder")
    net = importlib.import_module("tools.distill.slots.tagger").Tagger(tmp_path / "encoder")
    small = dataclasses.replace(
        corpus(),
        auxiliary=(("Where is the tea?", "a"), ("where is the soup", "a"),
                   ("where is the soup?", "b"), ("!", "b")),
        held_out=frozenset({"where is the tea", "add milk to my list"}),
    )  # fmt: skip
    taught = unlabelled.ask(net, (small, ()), 1, lambda _: None, 100)
    assert "where is the soup" in taught.texts
    forms = [normal_form(each) for each in taught.texts]
    assert len(set(forms)) == len(forms) == len(taught.shares)
    assert not set(forms) & {"where is the tea", "add milk to my list", ""}
    assert any(each != "where is the soup" for each in forms), "no sentence was varied"
    state = taught.state()
    kept = unlabelled.Taught.of(state)
    assert kept.texts == taught.texts
    for one, other in zip(kept.shares, taught.shares, strict=True):
        for name in ("tags", "tag_shares", "intents", "intent_shares"):
            assert (getattr(one, name) == getattr(other, name)).all()
    assert len(state) < 4_000 + 1_000 * len(taught.texts)
    few = unlabelled.ask(net, (small, ()), 1, lambda _: None, 2)
    assert few.texts == taught.texts[:2]
    assert len(few.shares) == 2
    request = Example("please buy some wine", "lists_createoradd", (), "hwu64")
    more = unlabelled.ask(net, (small, (request,)), 1, lambda _: None, 100)
    assert len(more.texts) > len(taught.texts)


def place_of(folder: Path, monkeypatch: pytest.MonkeyPatch, student: str) -> Any:
    """Where a tiny recipe with these lines more of its student is, and its corpus and teacher."""
    needed()
    flow = importlib.import_module("tools.distill.slots.flow")
    encoder(folder / "assets" / "encoder")
    small = corpus()

    class Read:
        @staticmethod
        def read(_assets: Path, seed: int) -> Any:
            assert seed == flow.SPLIT_SEED
            return small

    monkeypatch.setattr(flow, "Corpus", Read)
    monkeypatch.setattr(
        importlib.import_module("tools.distill.slots.judging"), "measure", lambda folder, _: {
            "bytes": float((folder / "tiny-command.gguf").stat().st_size), "run_ms_p50": 1.0,
            "run_ms_p99": 2.0, "ram_bytes": 1e6, "joules": "none", "self_tests": 0.0,
        }
    )  # fmt: skip
    recipe = folder / "tiny-command.toml"
    recipe.write_text(RECIPE.replace("other = 6", f"other = 6\n{student}"))
    (folder / "tiny.words.toml").write_text(WORDS)
    pressing = importlib.import_module("tools.distill.pressing")
    return pressing.Place(recipe, folder / "assets", folder / "run", folder / "cache")


def files_of(run: Path) -> list[bytes]:
    """Both students' models."""
    return [(run / each / "tiny-command.gguf").read_bytes() for each in ("package", "labels-alone")]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "student",
    [
        "texts = 0",
        "texts = 5\nkept = [0.0, 0.5]",
        "texts = 5\nwidth = 64\nlayers = 1\nheads = 2\nfeed_forward = 32",
        "texts = 5\ntimes = [2, 1]\nnew_layers = [0]",
    ],
)
def test_a_recipe_becomes_a_package_and_a_card_and_the_same_again_from_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, student: str
) -> None:
    place = place_of(tmp_path, monkeypatch, student)
    judging = importlib.import_module("tools.distill.slots.judging")
    pressing = importlib.import_module("tools.distill.pressing")
    proof = pressing.press(place)
    assert proof.student.count == len(corpus().test)
    groups = judging.GROUPS
    assert {each.name for each in proof.slices} == {groups["hwu64"], groups["other"]}
    if "width" not in student:
        assert proof.student.figures["valid JSON"] == 1.0
    assert ("weights of chance" in " ".join(proof.notes)) == ("width" in student)
    assert ("widened" in " ".join(proof.notes)) == ("times" in student)
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["verdict"] in (tmp_path / "run" / "package" / "README.md").read_text()
    manifest = tomllib.loads((tmp_path / "run" / "package" / "expert.toml").read_text())
    assert {each["path"] for each in manifest["files"]} == {
        "tiny-command.gguf", "grammar.gbnf", "examples.tsv", "calibration.tsv"
    }  # fmt: skip
    stages = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
    kept = {each["kept of the start"] for each in stages.values()}
    assert kept <= ({0.0, 0.5} if "kept" in student else {0.0})
    before = files_of(place.out)
    again = pressing.press(place)
    assert again.plain() == proof.plain()
    assert files_of(place.out) == before


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_core_and_two_come_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(tmp_path, monkeypatch, "texts = 5")
    beside = importlib.import_module("tools.distill.slots.beside")
    pressing = importlib.import_module("tools.distill.pressing")
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(beside, "cores", lambda cores=cores: cores)
        one = dataclasses.replace(place, out=tmp_path / f"run-{cores}")
        pressing.press(one)
        assert (one.out / "labels-alone.log").exists() == (cores > 1)
        found.append(files_of(one.out))
    assert found[0] == found[1]


def test_what_is_written_lies_between_the_start_and_what_was_learned() -> None:
    needed()
    flow = importlib.import_module("tools.distill.slots.flow")
    student = importlib.import_module("tools.distill.slots.student")
    torch = importlib.import_module("torch")
    start = student.grown_from(HOME_COMMAND / "home-command.gguf", (), 1)
    learned = {name: value + 1.0 for name, value in start.state_dict().items()}
    blend = flow.blended(start, learned, 0.25)
    assert set(blend) == set(learned)
    for name, value in start.state_dict().items():
        assert torch.allclose(blend[name], value + 0.75, atol=1e-5)
    whole = flow.blended(start, learned, 0.0)
    assert all(torch.equal(whole[name], learned[name]) for name in learned)
