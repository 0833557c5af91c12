"""A SIMULATED week: what the board escalates by day teaches, by night, its next release.

    python -m tools.distill week --out build/distill/week

A real daemon with its uplink on, a FAKE teacher endpoint on loopback, requests drawn from
CLINC150 `train`. An expert that knows a few sentences of each intent answers what it is sure of;
the app asks the uplink about the rest, with the owner's consent to keep it. Each night the kept
answers and the first sentences go through the distillery, and the package becomes the board's next
release over the air: packed, signed and published by the publisher's tools, fetched by the board's
own updater, tried by the daemon on its first requests of the day. The same week with the first
release kept is the control.
"""

import json
import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aiosd.client import Client
from aiosd.domain.post_steps import ScoresSoftmax, ScoresTopK
from aiosd.store.install import install
from tools.demo.private_daemon import PrivateDaemon
from tools.distill.air import Desk, bring
from tools.distill.engine import Judge
from tools.distill.fake_endpoint import FakeEndpoint
from tools.distill.fault import DistillError
from tools.distill.pressing import Place, press
from tools.distill.top_k import softmax

DOMAINS = ("banking", "travel")
FIRST_EACH, TUNED_EACH, HELD_EACH = 5, 10, 12
A_DAY, DAYS, SEED = 300, 7, 17
NONSENSE_EVERY = 50
RECIPE = Path(__file__).with_name("recipes") / "week.toml"


@dataclass(frozen=True)
class Day:
    """One day: how many were asked, went up, and were answered rightly by whom there was."""

    day: int
    release: int
    asked: int
    escalated: int
    right_here: int
    escalated_with_the_first: int

    @property
    def line(self) -> str:
        """Return it as a line for people."""
        here = self.asked - self.escalated
        return (
            f"day {self.day}, release {self.release}: {self.escalated} of {self.asked} escalated "
            f"({100 * self.escalated / self.asked:.1f} %), with the first release "
            f"{100 * self.escalated_with_the_first / self.asked:.1f} %; of {here} answered here "
            f"{100 * self.right_here / max(1, here):.1f} % right"
        )


class Sentences:
    """CLINC150's sentences of two domains, drawn without putting back."""

    def __init__(self, assets: Path) -> None:
        """Read and shuffle."""
        folder = assets / "text" / "clinc150"
        lists = json.loads((folder / "train.json").read_text(encoding="utf-8"))
        domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
        wanted = {intent for domain in DOMAINS for intent in domains[domain]}
        self.chance = np.random.default_rng(SEED)
        self._rows: dict[str, list[str]] = defaultdict(list)
        for text, intent in lists["train"]:
            if intent in wanted and "\t" not in text:
                self._rows[intent].append(text)
        for rows in self._rows.values():
            self.chance.shuffle(rows)
        self.held = [row for row in lists["val"] if row[1] in wanted]

    def each(self, count: int) -> list[tuple[str, str]]:
        """Return so many sentences of each intent."""
        return [(rows.pop(), intent) for intent, rows in self._rows.items() for _ in range(count)]

    def some(self, count: int) -> list[tuple[str, str]]:
        """Return so many sentences, of any intent."""
        left = [(text, intent) for intent, rows in self._rows.items() for text in rows]
        chosen = [left[at] for at in self.chance.permutation(len(left))[:count]]
        for text, intent in chosen:
            self._rows[intent].remove(text)
        return chosen


def week(assets: Path, out: Path) -> list[Day]:
    """Simulate the week; return its days, which are also in `out`/week.json.

    Raises:
        DistillError: a night's run could not go on.
    """
    out.mkdir(parents=True, exist_ok=True)
    sentences = Sentences(assets)
    _write_rows(sentences, out / "rows.tsv")
    traffic = [sentences.some(A_DAY) for _ in range(DAYS)]
    truth = {text: intent for day in traffic for text, intent in day}
    package = _night(assets, out, 1, None)
    first = Judge(package)
    shutil.rmtree(out / "publisher", ignore_errors=True)
    desk = Desk(out / "publisher", "week")
    days = []
    with FakeEndpoint(truth, NONSENSE_EVERY) as endpoint:
        daemon = PrivateDaemon([], desk.settings() + _settings(endpoint.address))
        daemon.program = "tools.distill.hurried"
        install(package, daemon.experts)
        with daemon, daemon.client() as client:
            for number, asked in enumerate(traffic, 1):
                day = _day(client, number, asked, first)
                print(day.line, flush=True)
                days.append(day)
                if number == DAYS:
                    break
                kept = next(daemon.folder.rglob("teaching.jsonl"))
                lines = out / f"kept-{number}.jsonl"
                lines.write_bytes(kept.read_bytes())
                package = _night(assets, out, number + 1, lines)
                desk.publish(package, number + 1)
                bring(daemon.config, client, "week", number + 1)
    (out / "week.json").write_text(
        json.dumps([asdict(day) for day in days], indent=1) + "\n", encoding="utf-8"
    )
    return days


def _write_rows(sentences: Sentences, path: Path) -> None:
    rows = [f"train\t{intent}\t{text}" for text, intent in sentences.each(FIRST_EACH)]
    rows += [f"tuning\t{intent}\t{text}" for text, intent in sentences.each(TUNED_EACH)]
    rows += [f"held\t{intent}\t{text}" for text, intent in sentences.held]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _settings(address: str) -> str:
    return (
        '[uplink]\non = true\nallow = ["uplink"]\nusers = ["*"]\nkeep = true\n'
        f'requests_per_day = 5000\nplain_http = ["{address}"]\n'
        f'[[uplink.endpoints]]\nname = "fake"\nurl = "http://{address}/v1"\nmodel = "fake"\n'
    )


def _night(assets: Path, out: Path, release: int, kept: Path | None) -> Path:
    """Distil the next release; return its package."""
    text = RECIPE.read_text(encoding="utf-8")
    text = text.replace('path = ""', f'path = "{out / "rows.tsv"}"')
    text = text.replace("release = 1", f"release = {release}")
    text = text.replace("kept = []", f'kept = ["{kept}"]' if kept else "kept = []")
    recipe = out / "recipes" / f"week-{release}.toml"
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(text, encoding="utf-8")
    words = recipe.parent / "week.words.toml"
    words.write_bytes(RECIPE.with_name("week.words.toml").read_bytes())
    place = Place(recipe, assets, out / f"release-{release}", out / "answers" / str(release))
    press(place)
    return place.out / "package"


def _day(client: Client, number: int, asked: list[tuple[str, str]], first: Judge) -> Day:
    """Ask the day's requests, each of them here first."""
    escalated = right = release = 0
    labels = first.manifest.routing.labels
    for text, intent in asked:
        outcome = client.run(text=text, expert="week")
        release = outcome.release
        if outcome.output["label"] != "none":
            right += outcome.output["label"] == intent
            continue
        escalated += 1
        system = {"role": "system", "content": "Answer with one label: " + ", ".join(labels)}
        turns = [system, {"role": "user", "content": text}]
        client.run(chat=turns, expert="uplink", privacy="uplink", max_tokens=16)
    with_first = _not_sure(first, [text for text, _ in asked])
    return Day(number, release, len(asked), escalated, right, with_first)


def _not_sure(judge: Judge, texts: list[str]) -> int:
    """Return of how many texts a release says none."""
    softening, choice = judge.manifest.post
    if not isinstance(softening, ScoresSoftmax) or not isinstance(choice, ScoresTopK):
        raise DistillError("the release's post steps are not softmax and top-k")
    shares = softmax(judge.logits(texts) / np.float32(softening.temperature))
    return int((shares.max(axis=1) < (choice.none_below or 0.0)).sum())
