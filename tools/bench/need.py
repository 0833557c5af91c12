"""What experts are reckoned to need before they are loaded, beside what they then really take.

Measured is the most that the real worker holds alone (`Private_*` of smaps_rollup, which is what
the daemon's books count), sampled at 20 Hz from its start until it has answered a prompt that
fills its batch and one that fills its context.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Task
from aiosd.domain.request import Options, Sampling
from aiosd.protocol.messages import Run, Show
from tools.bench.figures import Figure, skipped
from tools.bench.memory import Peak
from tools.bench.rig import RefusedError, Rig, run_of
from tools.bench.subjects import ASSETS, Subject, bundled, keyword, stories, upstream
from tools.gguf.package import Made, write_expert, write_skill
from tools.gguf.random_llama import Shape

GROUP = "need before load"
OVER_PERCENT = 12.0
TFLITE_MB = 2.0
ANSWER_TOKENS = 8

MADE = (
    Made("f16-small", Shape(128, 6, 4, 4, 384, 1_000, 8192, "F16"), 512),
    Made("q8-gqa", Shape(256, 8, 8, 2, 768, 4_000, 8192, "Q8_0"), 2048),
    Made("f16-medium", Shape(512, 8, 8, 8, 1536, 8_000, 8192, "F16"), 1024),
    Made("q4-gqa", Shape(512, 12, 8, 2, 1408, 32_000, 8192, "Q4_0"), 4096),
    Made("q8-long", Shape(256, 4, 4, 2, 768, 32_000, 8192, "Q8_0"), 8192),
    Made("q8-large", Shape(768, 12, 12, 12, 2048, 32_000, 8192, "Q8_0"), 1024),
    Made("q4-tied", Shape(576, 10, 9, 3, 1536, 49_152, 8192, "Q4_0", tied=True), 2048, 512),
    Made("f16-words", Shape(256, 4, 4, 4, 512, 64_000, 8192, "F16"), 512, 64),
    Made("q8-deep", Shape(384, 24, 6, 6, 1024, 8_000, 8192, "Q8_0"), 1024, 128),
    Made("q8-cache", Shape(512, 8, 8, 8, 1536, 8_000, 8192, "Q8_0"), 2048, cache="q8_0"),
    Made("q4-no-gqa", Shape(640, 10, 10, 10, 1728, 16_000, 8192, "Q4_0"), 512),
)
SKILLED = "q8-cache"  # of this one an adapter is made as well
QUICK = {"f16-small", "q4-tied", "q8-cache"}


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the difference of every shape in percent, and of every TFLite expert in MB."""
    figures = []
    for made in MADE:
        if quick and made.name not in QUICK:
            continue
        subject = write_expert(folder / "made", made)
        figures.append(_percent(folder / made.name, subject))
        if made.name == SKILLED:
            skill = write_skill(folder / "made", "adapter", made, rank=32)
            figures.append(_percent(folder / "adapter", skill, subject))
        shutil.rmtree(subject.folder)
    figures += [
        _percent(folder / each.name, each)
        for each in (stories(folder / "made"), *bundled())
        if each is not None and each.manifest.engine.name == "llama"
    ]
    if not ASSETS.is_dir():
        figures.append(skipped(GROUP, "public TFLite models", f"there is no {ASSETS}"))
    tflite = [each for each in bundled() if each.manifest.engine.name == "litert"]
    found = [*tflite, keyword(folder / "made"), *upstream(folder / "upstream")]
    figures += [_megabytes(folder / each.name, each) for each in found if each is not None]
    return figures


def _percent(folder: Path, subject: Subject, *others: Subject) -> Figure:
    need, measured = _both(folder, [subject, *others], _fill)
    over = (need / measured - 1) * 100
    return Figure(
        GROUP,
        f"{subject}, context {subject.manifest.engine.context}",
        "%",
        over,
        at_least=0.0,
        at_most=OVER_PERCENT,
        note=_note(need, measured),
    )


def _megabytes(folder: Path, subject: Subject) -> Figure:
    need, measured = _both(folder, [subject], _repeat)
    over = (need - measured) / 1e6
    return Figure(
        GROUP,
        f"{subject}",
        "MB",
        over,
        at_least=-TFLITE_MB,
        at_most=TFLITE_MB,
        note=_note(need, measured),
    )


def _note(need: int, measured: int) -> str:
    return f"need {need / 1e6:.1f} MB, measured {measured / 1e6:.1f} MB"


def _both(
    folder: Path, installed: list[Subject], work: Callable[[Rig, Subject], None]
) -> tuple[int, int]:
    """Return what a daemon reckons for the first and what its worker then holds at most."""
    subject = installed[0]
    with Rig(folder, installed) as rig:
        host = rig.hosts_ready()[0]["pid"]
        need = rig.look(Show(expert=subject.name))["computed_need_bytes"]
        if not isinstance(need, int) or not isinstance(host, int):
            raise TypeError("the daemon does not say what the expert needs")
        with Peak(host) as peak:
            work(rig, subject)
    shutil.rmtree(folder)
    return need, peak.bytes


def _fill(rig: Rig, subject: Subject) -> None:
    """Ask a short question, one that fills the batch, and one that fills the context."""
    engine = subject.manifest.engine
    for tokens in (3, engine.batch + 4, engine.context - ANSWER_TOKENS):
        _ask(rig, subject, tokens)


def _ask(rig: Rig, subject: Subject, words: int) -> None:
    """Ask with so many words, or with as many as the expert takes."""
    # What must be whole to be an answer (JSON) is not cut short.
    cut = subject.manifest.task is Task.TEXT_GENERATE
    options = Options(sampling=Sampling(max_tokens=ANSWER_TOKENS if cut else None))
    while True:
        try:
            rig.ask(Run(input=TextInput(text="e " * words), expert=subject.name, options=options))
        except RefusedError:
            words = words * 29 // 30 - 1
            if words < 1:
                raise
        else:
            return


def _repeat(rig: Rig, subject: Subject) -> None:
    """Ask the expert's own question a few times."""
    for _ in range(4):
        rig.ask(run_of(subject))
