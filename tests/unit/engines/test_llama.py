import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

from fakes.written import run, write
from gguf_writer import write_small_model

from aiosd.domain.errors import CancelledError, ExpertFailedError, InvalidError, PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Embedding, TextEnd, TextPiece, TextPrompt, Value
from aiosd.domain.request import Sampling
from aiosd.engines import llama_sampler
from aiosd.engines.llama import LlamaEngine
from aiosd.engines.llama_library import lib
from aiosd.engines.llama_plan import plan_memory
from aiosd.models.gguf import read_gguf
from aiosd.models.llama_need import gguf_need
from tools.gguf.layout import string
from tools.gguf.random_llama import SMALL, llama_model, lora_adapter
from tools.gguf.random_llama import write as write_file

PROMPT = TextPrompt(text="once upon a time", sampling=Sampling(max_tokens=24, seed=1))
NEED = EngineNeed(name="llama", context=256, batch=16)
SCHEMA = {
    "type": "object",
    "properties": {"on": {"type": "boolean"}, "level": {"enum": [1, 2, 3]}},
    "required": ["on", "level"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[LlamaEngine]:
    engine = LlamaEngine()
    engine.load({"model": model}, NEED, threads=1)
    yield engine
    engine.close()


def sampled(**settings: object) -> TextPrompt:
    return replace(PROMPT, sampling=Sampling(**{"max_tokens": 24, "seed": 1, **settings}))  # type: ignore[arg-type]


def refused(engine: LlamaEngine, prompt: TextPrompt) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        run(engine, prompt)
    return caught.value


def test_the_pieces_make_up_the_whole(engine: LlamaEngine) -> None:
    pieces = run(engine, PROMPT)
    end = pieces[-1]
    assert isinstance(end, TextEnd)
    shown = [piece for piece in pieces if isinstance(piece, TextPiece)]
    assert "".join(piece.text for piece in shown) == end.text
    assert sum(piece.tokens for piece in shown) == end.tokens_out == 24
    assert end.finish == "length"
    assert end.first_token_ms is not None
    assert end.first_token_ms > 0


def test_the_same_seed_gives_the_same_text_and_another_seed_another(engine: LlamaEngine) -> None:
    assert write(engine, PROMPT).text == write(engine, PROMPT).text
    assert write(engine, sampled(seed=2)).text != write(engine, PROMPT).text
    assert write(engine, sampled(seed=-5)).text == write(engine, sampled(seed=-5)).text


def test_a_zero_temperature_needs_no_seed(engine: LlamaEngine) -> None:
    texts = {write(engine, sampled(temperature=0.0, seed=seed)).text for seed in (1, 2, None)}
    assert len(texts) == 1


def test_what_was_answered_before_does_not_change_the_text(
    engine: LlamaEngine, model: Path
) -> None:
    long = [replace(PROMPT, text="a shared beginning of some length " * 3 + end) for end in "abc"]
    alone = []
    for prompt in long:
        fresh = LlamaEngine()
        fresh.load({"model": model}, NEED, threads=1)
        alone.append(write(fresh, prompt).text)
        fresh.close()
    assert [write(engine, prompt).text for prompt in long] == alone
    assert engine._shared(engine._tokens.of(long[0], 256, room=1)) >= 16


def test_the_same_prompt_again_is_not_computed_and_gives_the_same_text(
    engine: LlamaEngine, model: Path
) -> None:
    fresh = LlamaEngine()
    fresh.load({"model": model}, NEED, threads=1)
    other = sampled(seed=9)
    alone = write(fresh, other).text
    fresh.close()
    write(engine, PROMPT)
    looks = []
    run(engine, sampled(seed=9, max_tokens=1), cancelled=lambda: bool(looks.append(1)))
    assert looks == []
    assert write(engine, other).text == alone


def test_a_stop_word_ends_the_text_and_never_shows(engine: LlamaEngine) -> None:
    whole = write(engine, PROMPT).text
    word = whole[10:13]
    pieces = run(engine, replace(PROMPT, stop=(word,)))
    end = pieces[-1]
    assert isinstance(end, TextEnd)
    assert (end.text, end.finish) == (whole[: whole.index(word)], "stop")
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == end.text


def test_the_text_ends_where_the_context_does(engine: LlamaEngine) -> None:
    end = write(engine, sampled(max_tokens=None, temperature=0.0))
    assert end.finish in {"length", "eos"}
    assert end.tokens_in + end.tokens_out <= 256
    if end.finish == "length":
        assert end.tokens_in + end.tokens_out == 256


def test_a_prompt_longer_than_the_context_names_both_numbers(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, text="a b c " * 200))
    assert error.field == "input"
    assert error.details["limit_tokens"] == 256
    needed = error.details["needed_tokens"]
    assert isinstance(needed, int)
    assert needed > 256
    assert write(engine, PROMPT).tokens_out == 24


def test_an_empty_prompt_is_refused(engine: LlamaEngine) -> None:
    assert refused(engine, replace(PROMPT, text="", add_bos=False)).field == "input"


def test_a_text_with_half_a_surrogate_pair_is_refused(engine: LlamaEngine) -> None:
    assert refused(engine, replace(PROMPT, text="\ud800")).field == "input.text"


def test_an_input_that_is_no_text_is_refused(engine: LlamaEngine) -> None:
    with pytest.raises(InvalidError, match="takes text"):
        list(engine.run(Value(1), cancelled=lambda: False))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("top_p", 1.5),
        ("min_p", -0.1),
        ("top_k", -1),
        ("repeat_penalty", 0.0),
        ("max_tokens", 0),
        ("seed", 2**40),
    ],
)
def test_a_setting_out_of_range_names_its_field(
    engine: LlamaEngine, name: str, value: float
) -> None:
    assert refused(engine, sampled(**{name: value})).field == f"options.sampling.{name}"


def test_every_setting_changes_something(engine: LlamaEngine) -> None:
    usual = write(engine, PROMPT).text
    for setting in (
        {"temperature": 5.0},
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1.0},
        {"repeat_penalty": 5.0},
    ):
        assert write(engine, sampled(**setting)).text != usual, setting


def test_a_grammar_holds_the_answer(engine: LlamaEngine) -> None:
    prompt = replace(PROMPT, grammar='root ::= ("yes" | "no") " " [a-c]{3,5}')
    end = write(engine, prompt)
    assert re.fullmatch("(yes|no) [a-c]{3,5}", end.text)
    assert end.finish == "eos"
    assert write(engine, prompt).text == end.text


def test_a_grammar_goes_with_a_repeat_penalty(engine: LlamaEngine) -> None:
    prompt = replace(sampled(repeat_penalty=1.5), grammar="root ::= [a-f]{20}")
    assert re.fullmatch("[a-f]{20}", write(engine, prompt).text)


def test_how_near_another_token_came_is_told_where_that_is_asked_for(engine: LlamaEngine) -> None:
    greedy = sampled(temperature=0.0)
    plain, watched = write(engine, greedy), write(engine, replace(greedy, margin=True))
    assert plain.margin is None
    assert watched.text == plain.text
    assert watched.margin is not None
    assert 0.5 <= watched.margin < 1.0  # of a greedy choice no other token is likelier


def test_a_text_that_only_its_grammar_wanted_has_a_small_margin(engine: LlamaEngine) -> None:
    free = write(engine, replace(sampled(temperature=0.0), margin=True))
    bound = replace(sampled(temperature=0.0), margin=True, grammar='root ::= "qzxj" [q-z]{20}')
    forced = write(engine, bound)
    assert free.margin is not None
    assert forced.margin is not None
    assert forced.margin < min(0.5, free.margin)


def test_a_schema_gives_json_that_fits_it(engine: LlamaEngine) -> None:
    for seed in range(5):
        prompt = replace(sampled(seed=seed, max_tokens=120), json_schema=json.dumps(SCHEMA))
        value = json.loads(write(engine, prompt).text)
        assert set(value) == {"on", "level"}
        assert isinstance(value["on"], bool)
        assert value["level"] in {1, 2, 3}


QUOTING = 'root ::= "\\"" value "\\""\nvalue ::= [a-z]+'
NASTY = [
    'say "a\\b" to_me',
    "tab\there\nand there",
    "\x00\x7f[x] é\u0301 漢字 🙂",
    "-- don't",
    "a a a a a",
]


@pytest.mark.parametrize("text", NASTY)
def test_a_quoting_answer_is_a_part_of_the_request(engine: LlamaEngine, text: str) -> None:
    for seed in range(4):
        prompt = replace(
            sampled(seed=seed, max_tokens=200), text=f"<{text}>", literal=((1, 1 + len(text)),),
            grammar=QUOTING, quote="value",
        )  # fmt: skip
        end = write(engine, prompt)
        assert json.loads(end.text) in text
        assert end.finish == "eos"


def test_a_text_without_words_is_answered_by_the_rule_as_it_is_written(engine: LlamaEngine) -> None:
    prompt = replace(PROMPT, grammar='root ::= value\nvalue ::= "none"', quote="value")
    assert write(engine, prompt).text == "none"


def test_a_rule_to_quote_with_that_the_grammar_lacks_is_told(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, grammar=QUOTING, quote="values"))
    assert error.field == "prompt.quote"


def test_a_bad_grammar_is_refused_and_the_engine_lives_on(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, grammar="root ::= nope"))
    assert error.field == "options.sampling.grammar"
    assert write(engine, PROMPT).tokens_out == 24


def test_what_only_llama_cpp_finds_wrong_is_refused_too(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, grammar='root ::= a*\na ::= "" | ""'))
    assert "left recursion" in error.message


def test_a_grammar_that_takes_too_long_is_stopped(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_sampler, "PATIENCE_SECONDS", 0.0)
    error = refused(engine, replace(PROMPT, grammar="root ::= [a-f]{20}"))
    assert "for one token" in error.message


def test_a_schema_error_names_the_schema(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, json_schema='{"pattern": "a"}'))
    assert error.field == "options.sampling.json_schema"


def test_a_place_no_token_can_continue_is_an_error_and_no_abort(engine: LlamaEngine) -> None:
    error = refused(engine, replace(PROMPT, grammar='root ::= "ok" [z-a]'))
    assert "no token" in error.message


def test_the_users_words_never_become_control_tokens(engine: LlamaEngine) -> None:
    template = "<turn>{}<turn>"
    text = template.format("hi <turn> there")
    user = (6, len(text) - 6)
    open_prompt = replace(PROMPT, text=text, special=True)
    safe = replace(open_prompt, literal=(user,))
    control = 3
    assert engine._tokens.of(open_prompt, 256, room=1).count(control) == 3
    assert engine._tokens.of(safe, 256, room=1).count(control) == 2
    plain = replace(PROMPT, text=template.format("hi there"), special=True)
    harmless = replace(plain, literal=((6, len(plain.text) - 6),))
    assert engine._tokens.of(harmless, 256, room=1) == engine._tokens.of(plain, 256, room=1)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 9])
def test_a_cancel_is_seen_wherever_it_comes(engine: LlamaEngine, calls: int) -> None:
    count = itertools.count()
    prompt = replace(PROMPT, text="a rather long prompt of several batches " * 3)
    with pytest.raises(CancelledError):
        run(engine, prompt, cancelled=lambda: next(count) >= calls)
    assert write(engine, PROMPT).tokens_out == 24


def test_a_reader_that_goes_away_leaves_the_engine_usable(engine: LlamaEngine) -> None:
    expected = write(engine, PROMPT).text
    pieces = engine.run(PROMPT, cancelled=lambda: False)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert write(engine, PROMPT).text == expected


def test_a_text_becomes_a_vector_and_the_engine_still_writes(engine: LlamaEngine) -> None:
    expected = write(engine, PROMPT).text
    vectors = []
    for text in ("hello there", "hello there", "other"):
        (piece,) = run(engine, TextPrompt(text=text, sampling=Sampling(), embed=True))
        assert isinstance(piece, Embedding)
        assert len(piece.vector) == 64
        assert piece.tokens_in > 2
        vectors.append(piece.vector)
    assert vectors[0] == vectors[1] != vectors[2]
    assert write(engine, PROMPT).text == expected


def test_a_text_to_embed_must_fit_one_batch(engine: LlamaEngine) -> None:
    prompt = TextPrompt(text="a b c " * 20, sampling=Sampling(), embed=True)
    assert refused(engine, prompt).details["limit_tokens"] == 16


def test_an_engine_without_a_model_says_so() -> None:
    with pytest.raises(ExpertFailedError):
        run(LlamaEngine(), PROMPT)


def test_a_package_without_a_model_is_refused() -> None:
    with pytest.raises(PackageError, match="role"):
        LlamaEngine().load({}, NEED, threads=1)


@pytest.mark.parametrize("size", [0, 3, 100, 8_000])
def test_a_damaged_file_is_refused_with_the_librarys_reason(
    model: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(model.read_bytes()[:size])
    with pytest.raises(PackageError) as caught:
        LlamaEngine().load({"model": path}, NEED, threads=1)
    assert caught.value.path == str(path)
    assert "no reason" not in caught.value.message


def test_loading_and_answering_prints_nothing(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = LlamaEngine()
    engine.load({"model": model}, NEED, threads=1)
    write(engine, PROMPT)
    engine.close()
    assert capfd.readouterr() == ("", "")


def test_the_version_names_the_library(engine: LlamaEngine) -> None:
    assert re.fullmatch(r"llama-cpp-python \d+\.\d+\.\d+", engine.version())


def test_importing_the_engine_starts_no_thread_and_leaves_numpy_out() -> None:
    code = (
        "import os, sys, aiosd.engines.llama; "
        "print(len(os.listdir('/proc/self/task')), 'numpy' in sys.modules, "
        "'multiprocessing' in sys.modules, 'llama_cpp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False", "False", "False"]


@pytest.mark.parametrize("beams", [1, 4])
def test_the_plan_of_the_library_is_within_the_need(model: Path, beams: int) -> None:
    asked = EngineNeed(name="llama", context=256, batch=16, beams=beams)
    plan = plan_memory(model, asked)
    need = gguf_need(read_gguf(model), asked)
    assert plan.weights_bytes == need.weights_bytes
    # The library's log has two decimals of a MiB.
    assert abs(plan.kv_bytes - need.cache_bytes) < 20_000
    assert 0 < plan.compute_bytes <= need.compute_bytes


@pytest.mark.parametrize("batch", [16, 64, 256])
def test_the_plan_for_embedding_is_within_the_need(model: Path, batch: int) -> None:
    need = EngineNeed(name="llama", context=256, batch=batch)
    plan = plan_memory(model, need, embed=True)
    assert plan.compute_bytes <= gguf_need(read_gguf(model), need, embeds=True).compute_bytes


def test_a_damaged_file_has_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(PackageError):
        plan_memory(path, NEED)


@pytest.mark.assets
@pytest.mark.parametrize("kind", ["F16", "F32", "Q4_0", "Q8_0"])
def test_a_real_model_tells_a_story(assets: Path, kind: str) -> None:
    engine = LlamaEngine()
    path = assets / "gguf" / f"TinyStories-656K-{kind}.gguf"
    need = EngineNeed(name="llama", context=512)
    engine.load({"model": path}, need, threads=1)
    prompt = replace(PROMPT, text="Once upon a time", sampling=Sampling(temperature=0.0))
    end = write(engine, prompt)
    engine.close()
    assert end.tokens_in == 6
    assert len(end.text.split()) > 40
    assert re.search(r"\b(little|girl|boy|bird|day)\b", end.text)
    plan, own = plan_memory(path, need), gguf_need(read_gguf(path), need)
    # What is copied into another layout stays mapped only as far as it lies between the others.
    assert 0 <= own.weights_bytes + own.packed_bytes - plan.weights_bytes <= own.packed_bytes
    assert plan.compute_bytes <= own.compute_bytes


@pytest.mark.assets
@pytest.mark.parametrize("name", ["bad_magic", "git_lfs_pointer", "truncated"])
def test_the_known_bad_files_are_refused(assets: Path, name: str) -> None:
    path = assets / "negative" / f"{name}.gguf"
    with pytest.raises(PackageError):
        LlamaEngine().load({"model": path}, NEED, threads=1)


# ── adapters ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("adapter") / "lora.gguf", lora_adapter(SMALL))


def told(files: dict[str, Path], prompt: TextPrompt = PROMPT) -> str:
    engine = LlamaEngine()
    engine.load(files, NEED, threads=1)
    text = write(engine, prompt).text
    engine.close()
    return text


def test_an_adapter_changes_what_its_base_says(model: Path, adapter: Path) -> None:
    plain = told({"model": model})
    changed = told({"model": model, "adapter": adapter})
    assert changed != plain
    assert told({"model": model}) == plain
    assert told({"model": model, "adapter": adapter}) == changed


def test_an_adapter_that_adds_nothing_changes_nothing(model: Path, tmp_path: Path) -> None:
    nothing = write_file(tmp_path / "lora.gguf", lora_adapter(SMALL, strength=0.0))
    assert told({"model": model, "adapter": nothing}) == told({"model": model})


def test_an_adapter_changes_an_embedding_too(model: Path, adapter: Path) -> None:
    prompt = replace(PROMPT, embed=True)
    vectors = []
    for files in ({"model": model}, {"model": model, "adapter": adapter}):
        engine = LlamaEngine()
        engine.load(files, NEED, threads=1)
        (vector,) = run(engine, prompt)
        assert isinstance(vector, Embedding)
        vectors.append(vector.vector)
        engine.close()
    assert vectors[0] != vectors[1]


@pytest.mark.parametrize(
    "other",
    [
        lora_adapter(replace(SMALL, embedding=128)),
        lora_adapter(replace(SMALL, layers=3)),
        llama_model(SMALL),
        b"GGUF",
    ],
    ids=["width", "layers", "a model", "damaged"],
)
def test_an_adapter_of_another_base_is_refused(model: Path, tmp_path: Path, other: bytes) -> None:
    path = write_file(tmp_path / "lora.gguf", other)
    with pytest.raises(PackageError, match="does not fit its base") as caught:
        told({"model": model, "adapter": path})
    assert caught.value.path == str(path)


def test_the_threads_change_between_two_tokens_and_never_exceed_those_of_the_load(
    model: Path,
) -> None:
    engine = LlamaEngine()
    engine.load({"model": model}, NEED, threads=2)
    wanted = itertools.cycle([1, 2, 3])
    seen = set()

    def look() -> bool:
        engine.use_threads(next(wanted))
        seen.add(lib.llama_n_threads(engine._context))
        return False

    assert run(engine, PROMPT, look)
    assert seen == {1, 2}
    engine.use_threads(1)
    run(engine, replace(PROMPT, embed=True))  # opens another context
    assert lib.llama_n_threads(engine._context) == 1
    engine.close()


def test_attack_a_template_in_the_model_is_never_run(tmp_path: Path) -> None:
    # As CVE-2024-34359: a chat template in the file that starts a program when it is rendered.
    deed = tmp_path / "deed"
    template = "{{ cycler.__init__.__globals__.os.popen('touch " + str(deed) + "').read() }}"
    path = tmp_path / "model.gguf"
    path.write_bytes(llama_model(more=[string("tokenizer.chat_template", template)]))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from aiosd.domain.manifest import EngineNeed\n"
        "from aiosd.domain.prepared import TextPrompt\n"
        "from aiosd.domain.request import Sampling\n"
        "from aiosd.engines.llama import LlamaEngine\n"
        "engine = LlamaEngine()\n"
        f"engine.load({{'model': Path({str(path)!r})}}, "
        "EngineNeed(name='llama', context=256, batch=16), threads=1)\n"
        "prompt = TextPrompt(text='once', sampling=Sampling(max_tokens=4, seed=1))\n"
        "assert list(engine.run(prompt, cancelled=lambda: False))\n"
        "assert 'jinja2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert not deed.exists()
