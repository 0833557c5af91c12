"""A new package in source: an `expert.toml` to fill in, with every file's size and digest."""

import hashlib
import json
import shutil
from pathlib import Path

from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import Task
from aiosd.store.layout import MANIFEST
from tools.expert.faults import PublisherError

# What stands where the publisher's own words belong; `lint` finds it again.
SUMMARY = "One sentence: what it answers"
LABEL = "..."

ENGINES = {".gguf": "llama", ".tflite": "litert"}
INPUTS = {
    Task.TEXT_CLASSIFY: InputType.TEXT,
    Task.TEXT_EXTRACT: InputType.TEXT,
    Task.TEXT_GENERATE: InputType.TEXT,
    Task.TEXT_EMBED: InputType.TEXT,
    Task.IMAGE_CLASSIFY: InputType.IMAGE,
    Task.IMAGE_DETECT: InputType.IMAGE,
    Task.AUDIO_CLASSIFY: InputType.AUDIO,
    Task.SERIES_ANOMALY: InputType.SERIES,
    Task.SERIES_FORECAST: InputType.SERIES,
    Task.TENSOR_RUN: InputType.TENSOR,
    Task.ECHO: InputType.TEXT,
}
_CASES = {
    InputType.TEXT: 'text = "{say}"',
    InputType.IMAGE: 'file = "example.png" # a file of this package',
    InputType.AUDIO: 'file = "example.wav" # a file of this package',
    InputType.SERIES: "values = [0.0, 1.0, 2.0]",
}
_TEXT = """\
# What boards know of this expert. An unknown key is an error that names it.
# Every key, with its meaning: docs/package-format.md. Check it: python -m tools.expert check {name}
name = "{name}"
release = 1 # each published release is higher than the one before
summary = "{summary}"
licence = "{licence}" # SPDX
task = "{task}"

[engine]
name = "{engine}"
{context}
[input]
type = "{input}"
max_bytes = 65536
{files}
{steps}
[needs]
ram_bytes = 0 # python -m tools.expert test {name} prints what to write
threads = 1
{routing}
[self_test]
pass_mark = 1.0 # the share of the cases that must pass on a board before it serves

[[self_test.cases]]
{case}
expect = {expect}

[card]
data = "" # what it was trained on
limits = "" # what it gets wrong
"""
_PROMPT = """
[prompt]
template = "{text}" # how the model is asked; never taken from the model file
stop = ["\\n"]
[prompt.sampling]
max_tokens = 64
temperature = 0.0
"""
_ROUTING = """
[routing]
utterances = ["{say}"] # texts that are for it; the router learns from them
refuses = [] # texts that look like them and are not
"""


def make(folder: Path, task: str, *, model: Path | None, licence: str) -> list[str]:
    """Write the package into `folder`, which must not exist; return the names of its files.

    Raises:
        PublisherError: it exists, the task is unknown, or no engine loads such a model.
    """
    if task not in set(Task):
        raise PublisherError(f"no task {task!r}; there are: {', '.join(sorted(Task))}")
    if folder.exists():
        raise PublisherError(f"{folder} exists already; take another name")
    engine = "echo"
    if model is not None:
        engine = ENGINES.get(model.suffix, "")
        if not engine:
            raise PublisherError(
                f"{model}: no engine loads {model.suffix!r} files; .gguf or .tflite"
            )
        if not model.is_file():
            raise PublisherError(f"{model}: there is no such file")
    elif task != Task.ECHO:
        raise PublisherError("name the model: --model FILE.gguf or FILE.tflite")
    folder.mkdir(parents=True)
    if model is not None:
        shutil.copyfile(model, folder / model.name)
    text = _fill(folder.name, Task(task), engine, folder / model.name if model else None, licence)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    card = f"# {folder.name}\n\nWhat it does, what it was trained on, how good it is.\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    return sorted(path.name for path in folder.iterdir())


def _fill(name: str, task: Task, engine: str, model: Path | None, licence: str) -> str:
    given = INPUTS[task]
    say = "hello there"
    files = ""
    if model is not None:
        data = model.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        files = (
            f'\n[[files]]\npath = {json.dumps(model.name)}\nrole = "model"\nsize = {len(data)}\n'
            f'sha256 = "{digest}"\n'
        )
    steps = _PROMPT if engine == "llama" else ""
    if engine == "litert":
        steps = (
            "\n# The steps before and after the model, such as:\n"
            '# [[pre]]\n# step = "text.normalize"\n# [[post]]\n# step = "scores.softmax"\n'
        )
    heard = given is InputType.TEXT and task is not Task.ECHO
    return _TEXT.format(
        name=name,
        summary=SUMMARY,
        licence=licence,
        task=task.value,
        engine=engine,
        context="context = 512\n" if engine == "llama" else "",
        input=given.value,
        files=files,
        steps=steps,
        routing=_ROUTING.replace("{say}", say) if heard else "",
        case=_CASES.get(given, "json = '[0.0]'").replace("{say}", say),
        expect=f'{{ text = "{say}" }}' if task is Task.ECHO else f'{{ label = "{LABEL}" }}',
    )
