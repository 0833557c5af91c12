"""The text experts that are bundled: what their head is calibrated to, and a narrow mix of them.

The labels are the packages' own: whose calibration text it is. The head of the mix is calibrated
with one half of those texts, the mix is drawn from the other, and its strangers are CLINC150's
`oos_val`. Where a text comes is measured. Whether the answer is right then is SIMULATED: drawn at
the rate that each package's card has of texts that its model was not trained on.
"""

import hashlib
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from aiosd.fitter.calibration import calibration_error
from aiosd.fitter.fit import fit
from aiosd.policy.routing.head import Head, decode_head
from aiosd.policy.routing.hearing import Hearing, hear
from aiosd.policy.routing.lessons import Lesson, TextFile
from aiosd.store.heads import lessons_of
from aiosd.store.packages import Installed, read_manifest
from tools.eval.figures import Row, plain, share
from tools.eval.sets import Clinc
from tools.eval.text import best

EXPERTS = Path(__file__).parents[2] / "experts"
# Of 400 requests two in a hundred are for nobody; the others are spread evenly.
REQUESTS, STRANGERS = 400, 8
# How often an answer to a text of its own is right, as the cards have it: sms-spam 98.8 % of 911
# messages; assistant-intent 95.8 % of CLINC150's `val`; home-command 81.2 % of whole commands.
RIGHT = {"sms-spam": 0.988, "assistant-intent": 0.958, "home-command": 0.812}
_DRAWS = 200


def lessons() -> list[Lesson]:
    """Return what the bundled packages teach."""
    folders = sorted(path.parent for path in EXPERTS.glob("*/expert.toml"))
    return lessons_of(Installed(read_manifest(folder), folder) for folder in folders)


def calibration_of(lesson: Lesson) -> list[str]:
    """Return a package's calibration texts."""
    if lesson.calibration is None:
        return []
    lines = Path(lesson.calibration.path).read_text(encoding="utf-8").splitlines()
    return [line.partition("\t")[2] for line in lines if line.strip()]


def halved(lesson: Lesson, folder: Path, half: int) -> tuple[Lesson, list[str]]:
    """Return the lesson with one half of its calibration texts, by their digests, and the other."""
    texts = calibration_of(lesson)
    odd = [hashlib.sha256(text.encode()).digest()[0] % 2 == half for text in texts]
    data = "".join(f"\t{text}\n" for text, mine in zip(texts, odd, strict=True) if mine).encode()
    path = folder / f"{lesson.expert}-{half}.tsv"
    path.write_bytes(data)
    file = TextFile(sha256=hashlib.sha256(data).hexdigest(), path=str(path))
    rest = [text for text, mine in zip(texts, odd, strict=True) if not mine]
    return replace(lesson, calibration=file), rest


Judged = tuple[Head, list[tuple[str, str]]]


def halves(every: Sequence[Lesson]) -> tuple[Judged, Judged]:
    """Return two heads, each calibrated with one half, and with the other half's (expert, text)."""
    with tempfile.TemporaryDirectory() as name:
        sides = [[halved(each, Path(name), half) for each in every] for half in (1, 0)]
        first, second = (
            (
                decode_head(fit([lesson for lesson, _ in side])),
                [(lesson.expert, text) for lesson, texts in side for text in texts],
            )
            for side in sides
        )
    return first, second


def run(clinc: Clinc) -> Iterator[Row]:
    """Yield how well the bundled experts' head is calibrated, and the mix."""
    every = lessons()
    whole = decode_head(fit(every))
    measures, count = whole.facts.measures, whole.facts.measures.texts
    yield share("bundled: right", round(measures.accuracy * count), count, "calibration texts")
    own = [(each.expert, text) for each in every for text in calibration_of(each)]
    yield from calibrated("bundled, own calibration texts", [(whole, own)])
    one, other = halves(every)
    yield from calibrated("bundled, the half not calibrated with", [one])
    yield from calibrated("bundled, each half by the head calibrated with the other", [one, other])
    texts: dict[str, list[str]] = {}
    for expert, text in one[1]:
        texts.setdefault(expert, []).append(text)
    yield from _mix(one[0], texts, clinc.oos_val)


def calibrated(name: str, judged: Sequence[Judged]) -> Iterator[Row]:
    """Yield the calibration error, and what a perfect head would show of so many texts."""
    rows = [row for _, mine in judged for row in mine]
    heard = [hear(head, text) for head, mine in judged for _, text in mine]
    shares = np.array([each.nearest[0].probability if each.nearest else 1.0 for each in heard])
    right = np.array([best(each) == expert for each, (expert, _) in zip(heard, rows, strict=True)])
    yield plain(f"{name}: ECE", calibration_error(shares, right), "own labels", len(rows), 0.02)
    chance = np.random.default_rng(0)
    drawn = [calibration_error(shares, chance.random(len(rows)) < shares) for _ in range(_DRAWS)]
    yield plain(f"{name}: ECE of a perfect head", float(np.mean(drawn)), "drawn", len(rows))


def _mix(head: Head, texts: dict[str, list[str]], foreign: Sequence[str]) -> Iterator[Row]:
    """Yield what becomes of the mix."""
    chance = random.Random(5)  # noqa: S311 - simulated, the same for the same seed
    names = sorted(texts)
    counts = [(REQUESTS - STRANGERS + place) // len(names) for place in range(len(names))]
    requests = [
        (name, text)
        for name, count in zip(names, counts, strict=True)
        for text in chance.sample(texts[name], count)
    ]
    requests += [("", text) for text in chance.sample(list(foreign), STRANGERS)]
    up = here = answered = strangers = 0
    for expert, text in requests:
        heard = hear(head, text)
        goes = not heard.meant
        up += goes
        strangers += goes and not expert
        arrived = not goes and bool(expert) and _asked(heard) == expert
        here += arrived
        answered += arrived and chance.random() < RIGHT[expert]
    name, split = "bundled mix", f"{'/'.join(map(str, counts))}, {STRANGERS} strangers"
    total = len(requests)
    yield share(f"{name}: sent up or refused", up, total, split)
    yield share(f"{name}: strangers among them", strangers, STRANGERS, split)
    yield share(f"{name}: came to the right expert", here, total, split, 0.95)
    yield share(f"{name}, SIMULATED answers: and right", answered, total, split)


def _asked(heard: Hearing) -> str:
    """Return who is asked."""
    return heard.meant[0] if heard.meant else ""
