"""What a package declares about its expert: the content of `expert.toml`, strict to the key."""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.inputs import InputType
from aiosd.domain.model_parts import PART, parts_fault
from aiosd.domain.post_steps import PostStep
from aiosd.domain.pre_steps import PreStep
from aiosd.domain.request import Privacy, Sampling

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,126}$")]
# Engines that load a model from several files.
PARTED_ENGINES = frozenset({"llama"})

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Task(StrEnum):
    """What an expert is for."""

    TEXT_CLASSIFY = "text.classify"
    TEXT_EXTRACT = "text.extract"
    TEXT_GENERATE = "text.generate"
    TEXT_EMBED = "text.embed"
    IMAGE_CLASSIFY = "image.classify"
    IMAGE_DETECT = "image.detect"
    AUDIO_CLASSIFY = "audio.classify"
    SERIES_ANOMALY = "series.anomaly"
    SERIES_FORECAST = "series.forecast"
    TENSOR_RUN = "tensor.run"
    ECHO = "echo"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a manifest: frozen, and an unknown key is an error."""


class EngineNeed(_Table, frozen=True, kw_only=True):
    """Which engine runs the model, by entry-point name, and its settings.

    `context` is the number of tokens a text model holds (prompt and answer together), `batch` how
    many of a prompt it reads at once, `cache` the type of its keys and values: q8_0 takes about
    half of what f16 takes. Of a text under a grammar, at temperature 0, `beams` beginnings are
    followed at once and the likeliest whole is the answer. `versions` is a range such as ">=0.3.30"
    of the engine's own version, empty for any. `base` names an installed expert whose model this
    one uses, under an adapter of its own (a file of role "adapter").
    """

    name: str
    versions: str = ""
    context: Annotated[int, Meta(ge=16, le=1_048_576)] = 2048
    batch: Annotated[int, Meta(ge=1, le=4096)] = 256
    cache: Literal["f16", "q8_0"] = "f16"
    beams: Annotated[int, Meta(ge=1, le=8)] = 1
    base: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9-]{0,62})?$")] = ""


class PackageFile(_Table, frozen=True, kw_only=True):
    """One file of the package with its size and digest.

    `role = "model"` names the model, `role = "adapter"` a LoRA adapter for it. Of a model in parts
    the first is the model, and the others have `role = "part"`.
    """

    path: FileName
    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256
    role: str = ""
    source: str = ""


class InputNeed(_Table, frozen=True, kw_only=True):
    """Which kind of input the expert takes, and how large it may be."""

    type: InputType
    max_bytes: Annotated[int, Meta(ge=1)] = 16_777_216


class Prompt(_Table, frozen=True, kw_only=True):
    """How a text model is asked; the template is ours, never the model file's.

    For a `text` input `template` holds `{text}` once. For a `chat` input each turn is written by
    `turn` with `{role}` and `{content}`, and `template` holds `{turns}`. `grammar` names a GBNF
    file of the package; `quote` names a rule of it that, for each request, stands for any words of
    its text in a row, where that has at most `quote_max` bytes. `json_schema` is a JSON schema as a
    string.
    """

    template: str = "{text}"
    turn: str = ""
    stop: list[str] = msgspec.field(default_factory=list)
    add_bos: bool = True
    special: bool = False
    grammar: FileName | None = None
    quote: str = ""
    quote_max: Annotated[int, Meta(ge=1, le=4096)] = 4096
    json_schema: str = ""
    sampling: Sampling = Sampling()


class Needs(_Table, frozen=True, kw_only=True):
    """What the expert needs of the board; `ram_bytes` is measured, 0 if it never was."""

    ram_bytes: Annotated[int, Meta(ge=0)] = 0
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    isa: list[str] = msgspec.field(default_factory=list)


class Routing(_Table, frozen=True, kw_only=True):
    """What the router may know: what it is asked, what it answers, what it must refuse.

    `utterances` are texts as the expert gets them, `refuses` texts that look like them and are not
    for it. `examples` and `calibration` name files of the package with more of them, UTF-8, a line
    each: the sub-route (may be empty), a tab, the text. The router learns from examples and never
    from calibration, on which it is measured.
    """

    utterances: list[str] = msgspec.field(default_factory=list)
    labels: list[str] = msgspec.field(default_factory=list)
    refuses: list[str] = msgspec.field(default_factory=list)
    examples: FileName | None = None
    calibration: FileName | None = None


class Check(_Table, frozen=True, kw_only=True):
    """What tells an answer that stands from a doubtful one, and how well that was measured to work.

    `kind` is "score" (the first label's, at least `least`), "margin" (the first label's over the
    second's, at least `least`), "token_margin" (of a text that a model wrote: `TextEnd.margin`, at
    least `least`), "grammar" (the answer parses) or "agreement" (another expert of the task says
    the same). Of `passed` answers that it let through, on data that nothing was learned
    from, `wrong` were wrong; `data` says which. A check that is too often wrong is not used.
    """

    kind: Literal["score", "margin", "token_margin", "grammar", "agreement"]
    least: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    passed: Annotated[int, Meta(ge=1)]
    wrong: Annotated[int, Meta(ge=0)]
    data: str


class SelfTestCase(_Table, frozen=True, kw_only=True):
    """One question with what the answer must hold.

    Exactly one of `text`, `file` (of the package; read as the manifest's input type), `values`
    and `json`. Every key of `expect` must be in the output with that value (floats within
    `tolerance`).
    """

    text: str | None = None
    file: FileName | None = None
    values: list[float] | None = None
    json: str | None = None
    expect: dict[str, object]
    tolerance: float = 1e-3


class SelfTest(_Table, frozen=True, kw_only=True):
    """The cases a release must pass, and the share of them that is enough."""

    pass_mark: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    cases: list[SelfTestCase] = msgspec.field(default_factory=list)


class Figure(_Table, frozen=True, kw_only=True):
    """One measured figure: what, on which data, how many samples, and the 95 % interval."""

    name: str
    value: float
    data: str
    samples: int = 0
    low: float | None = None
    high: float | None = None


class Card(_Table, frozen=True, kw_only=True):
    """Where the model comes from and how good it was measured to be."""

    data: str = ""
    teacher: str = ""
    architecture: str = ""
    attribution: str = ""
    limits: str = ""
    rebuild: str = ""
    figures: list[Figure] = msgspec.field(default_factory=list)


class Manifest(_Table, frozen=True, kw_only=True):
    """The whole of `expert.toml`."""

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    name: Name
    release: Annotated[int, Meta(ge=1)]
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    licence: str
    task: Task
    engine: EngineNeed
    input: InputNeed
    files: list[PackageFile] = msgspec.field(default_factory=list)
    pre: list[PreStep] = msgspec.field(default_factory=list)
    post: list[PostStep] = msgspec.field(default_factory=list)
    prompt: Prompt | None = None
    needs: Needs = Needs()
    routing: Routing = Routing()
    check: Check | None = None
    privacy: Privacy = Privacy.LOCAL
    self_test: SelfTest = SelfTest()
    card: Card = Card()

    @property
    def model(self) -> PackageFile | None:
        """The file whose role is "model", if the expert has one; of a model in parts the first."""
        return next((file for file in self.files if file.role == "model"), None)

    @property
    def model_files(self) -> tuple[PackageFile, ...]:
        """All files of the model in their order: one, several where it is in parts, or none."""
        first = self.model
        if first is None:
            return ()
        return (first, *sorted(self._parts, key=lambda file: file.path))

    @property
    def model_digest(self) -> str:
        """What tells the model's bytes from any others'; empty without a model."""
        digests = [file.sha256 for file in self.model_files]
        if len(digests) > 1:
            return hashlib.sha256(" ".join(digests).encode()).hexdigest()
        return digests[0] if digests else ""

    @property
    def engine_files(self) -> dict[str, PackageFile]:
        """The files that an engine is given, by role; the first of a model stands for its parts."""
        return {file.role: file for file in self.files if file.role not in {"", PART}}

    @property
    def parts_fault(self) -> str:
        """What is wrong with the files of a model in parts, a sentence; empty if nothing is."""
        others = [file.path for file in self._parts]
        if self.engine.name in PARTED_ENGINES:
            return parts_fault(self.model.path if self.model else "", others)
        return f"the engine {self.engine.name!r} takes no model in parts" if others else ""

    @property
    def _parts(self) -> list[PackageFile]:
        return [file for file in self.files if file.role == PART]

    @property
    def adapter(self) -> PackageFile | None:
        """The file whose role is "adapter", if the expert has one."""
        return next((file for file in self.files if file.role == "adapter"), None)
