"""How well texts find their expert: CLINC150 as ten packages and as 150, and routing_dev.jsonl."""

import hashlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aiosd.fitter.calibration import calibration_error
from aiosd.fitter.fit import fit
from aiosd.policy.routing.cascade import weak_spot
from aiosd.policy.routing.head import Head, decode_head
from aiosd.policy.routing.hearing import Hearing, hear
from tools.eval.baselines import ALL
from tools.eval.figures import Row, area, plain, share
from tools.eval.sets import NOBODY, Clinc, Labelled, draw, lessons

SEEDS = (1, 2, 3)
# Utterances of each package: accuracy aimed at, and with which seeds it is drawn.
SIZES: dict[int, tuple[float, Sequence[int]]] = {
    15: (0.85, SEEDS),
    300: (0.955, SEEDS),
    1500: (0.97, (1,)),
}


def make_head(rows: Sequence[Labelled], foreign: Sequence[str], *, parts: bool) -> Head:
    """Return the head that packages with these texts get, by the fitter itself."""
    with tempfile.TemporaryDirectory() as folder:
        return decode_head(fit(lessons(rows, Path(folder), parts=parts), foreign))


def margin(heard: Hearing) -> float:
    """Return how far a text is in scope."""
    return next(gate.value for gate in heard.gates if gate.name == "scope")


def best(heard: Hearing) -> str:
    """Return the likeliest expert."""
    return heard.nearest[0].expert if heard.nearest else NOBODY


def ten_experts(clinc: Clinc, sizes: Sequence[int]) -> Iterator[Row]:
    """Yield the figures of CLINC150's ten domains as ten packages."""
    for size in sizes:
        least, seeds = SIZES[size]
        for parts in (False, True):
            heads = [
                make_head(draw(clinc.train, size, seed), clinc.oos_train, parts=parts)
                for seed in seeds
            ]
            how = "with" if parts else "without"
            yield from _ten(clinc, heads, f"{size} utterances, {how} sub-routes", least)
        drawn = draw(clinc.train, size, seeds[0])
        for name, make in ALL.items():
            says = make(drawn)
            right = sum(says(row.text) == row.expert for row in clinc.val)
            yield share(f"10 experts, {size} utterances: {name}", right, len(clinc.val), "val")


def _ten(clinc: Clinc, heads: Sequence[Head], what: str, least: float) -> Iterator[Row]:
    """Yield the figures of some heads together: of all seeds, as one count."""
    right, kept, inside, outside = 0, 0, [], []
    shares, hits, refused = [], [], 0
    for head in heads:
        heard = [hear(head, row.text) for row in clinc.val]
        good = [best(each) == row.expert for each, row in zip(heard, clinc.val, strict=True)]
        right += sum(good)
        hits += good
        shares += [each.nearest[0].probability for each in heard]
        inside += [margin(each) for each in heard]
        foreign = [hear(head, text) for text in clinc.oos_val]
        outside += [margin(each) for each in foreign]
        kept += sum(bool(each.meant) for each in heard)
        refused += sum(not each.meant for each in foreign)
    count, strange = len(clinc.val) * len(heads), len(clinc.oos_val) * len(heads)
    name = f"10 experts, {what}"
    yield share(f"{name}: accuracy", right, count, "val", least)
    yield area(f"{name}: out-of-scope AUROC", inside, outside, "val, oos_val", 0.965)
    yield share(f"{name}: kept at the gate", kept, count, "val")
    yield share(f"{name}: out of scope refused at the gate", refused, strange, "oos_val")
    error = calibration_error(np.array(shares), np.array(hits))
    yield plain(f"{name}: ECE", error, "val", count, 0.02)


def many_intents(clinc: Clinc) -> Iterator[Row]:
    """Yield the figures of CLINC150's 150 intents as 150 packages."""
    apart = [Labelled(row.text, row.part.replace("_", "-")) for row in clinc.train]
    head = make_head(apart, clinc.oos_train, parts=False)
    heard = [hear(head, row.text) for row in clinc.val]
    foreign = [hear(head, text) for text in clinc.oos_val]
    good = [
        best(each) == row.part.replace("_", "-") for each, row in zip(heard, clinc.val, strict=True)
    ]
    inside, outside = [margin(each) for each in heard], [margin(each) for each in foreign]
    yield share("150 intents: accuracy", sum(good), len(good), "val", 0.935)
    yield area("150 intents: out-of-scope AUROC", inside, outside, "val, oos_val", 0.965)
    limit = sorted(inside)[math.floor(0.05 * len(inside))]
    caught = sum(each < limit for each in outside)
    where = "oos_val, limit of val"
    yield share("150 intents: out of scope at 95 % kept", caught, len(outside), where, 0.85)
    kept = sum(bool(each.meant) for each in heard)
    yield share("150 intents: kept at the head's own gate", kept, len(heard), "val")
    refused = sum(not each.meant for each in foreign)
    yield share("150 intents: refused at the head's own gate", refused, len(foreign), "oos_val")
    shares = np.array([each.nearest[0].probability for each in heard])
    error = calibration_error(shares, np.array(good))
    yield plain("150 intents: ECE", error, "val", len(good), 0.02)


def dev_heads(folds: Sequence[Sequence[Labelled]]) -> list[Head]:
    """Return for each fold of routing_dev.jsonl a head that the others taught."""
    heads = []
    for place in range(len(folds)):
        taught = [row for other, fold in enumerate(folds) if other != place for row in fold]
        foreign = [row.text for row in taught if row.expert == NOBODY]
        heads.append(make_head(taught, foreign, parts=False))
    return heads


def development(folds: Sequence[Sequence[Labelled]]) -> Iterator[Row]:
    """Yield the figures of routing_dev.jsonl, each fold judged by what the others taught."""
    right = through = caught = inside = outside = 0
    said: dict[str, list[int]] = {name: [0, 0] for name in ALL}
    shares, hits = [], []
    for place, (judged, head) in enumerate(zip(folds, dev_heads(folds), strict=True)):
        taught = [row for other, fold in enumerate(folds) if other != place for row in fold]
        for row in judged:
            heard = hear(head, row.text)
            if row.expert == NOBODY:
                outside += 1
                caught += not heard.meant
                continue
            inside += 1
            good = best(heard) == row.expert
            right += good
            through += good and bool(heard.meant)
            shares.append(heard.nearest[0].probability)
            hits.append(good)
        for name, make in ALL.items():
            says = make(taught)
            for row in judged:
                said[name][row.expert == NOBODY] += says(row.text) == row.expert
    split = "5-fold by digest"
    yield share("routing_dev: right of ten routes, gate open", right, inside, split)
    yield share("routing_dev: right of ten routes, through the gate", through, inside, split, 0.93)
    yield share("routing_dev: none caught at the gate", caught, outside, split, 0.70)
    error = calibration_error(np.array(shares), np.array(hits))
    yield plain("routing_dev: ECE", error, split, inside, 0.02)
    for name, (good, none) in said.items():
        yield share(f"routing_dev: {name}, ten routes", good, inside, split)
        yield share(f"routing_dev: {name}, none caught", none, outside, split)


def weak_spots(folds: Sequence[Sequence[Labelled]]) -> Iterator[Row]:
    """Yield how often what small models get wrong is known; the rules saw the texts' other half."""
    found: dict[str, list[bool]] = {}
    for row in (row for fold in folds for row in fold):
        if hashlib.sha256(row.text.encode()).digest()[1] % 2:
            found.setdefault(row.expert, []).append(bool(weak_spot(row.text)))
    for route, told in sorted(found.items()):
        yield share(f"weak spots: {route} taken for one", sum(told), len(told), "unseen half")
