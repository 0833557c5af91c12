"""The router's texts of the bundled text experts: `examples.tsv` and `calibration.tsv`.

Run `python -m tools.train.routing_texts --assets DIR` to write them into `experts/` again, and the
sizes and digests into the manifests. From the lists that are there to be learned from: CLINC150
`train` (CC BY 3.0), HWU64 (CC BY 4.0), SNIPS (CC0), the four fifths of the SMS Spam Collection
(CC BY 4.0). What two experts would both answer is left to the one that does more with it.
"""

import argparse
import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

SEED = 11
LEARNED, MEASURED = 40, 48
# The first so many that are measured on are drawn before those to learn from, the others after.
FIRST = 12
# CLINC150's intents that home-command turns into intent and slots.
COMMANDS = {
    *("what_song", "play_music", "next_song", "update_playlist", "smart_home", "alarm", "timer"),
    *("reminder", "reminder_update", "calendar", "calendar_update", "shopping_list", "weather"),
    *("shopping_list_update", "todo_list", "todo_list_update", "change_volume", "date", "time"),
    *("restaurant_reservation", "uber", "traffic", "recipe", "definition", "tell_joke", "repeat"),
}
# HWU64's scenarios that home-command is asked, as the sub-routes of the router.
SCENARIOS = ("alarm", "audio", "calendar", "iot", "lists", "music", "play", "weather", "datetime")
SNIPS = {"PlayMusic": "play", "AddToPlaylist": "play", "GetWeather": "weather"}

Texts = dict[str, list[str]]


def clinc(assets: Path) -> Texts:
    """Return CLINC150's sentences by domain, without those that are commands."""
    folder = assets / "text" / "clinc150"
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = json.loads((folder / "train.json").read_text(encoding="utf-8"))["train"]
    return _grouped((of[intent], text) for text, intent in rows if intent not in COMMANDS)


def commands(assets: Path) -> Texts:
    """Return commands for a home board by scenario."""
    return _grouped([*_hwu(assets / "text" / "hwu64"), *_snips(assets / "text" / "snips")])


def messages(assets: Path) -> Texts:
    """Return text messages, spam and not."""
    path = assets / "text" / "sms_spam" / "sms_dev.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return _grouped((row[0], row[1]) for row in rows if len(row) == 2 and len(row[1]) > 20)


def _hwu(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("kfold_*_test.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            scenario = str(row["intent"]).split("_")[0]
            if scenario in SCENARIOS:
                yield scenario, str(row["text"])


def _snips(folder: Path) -> Iterator[tuple[str, str]]:
    for intent, scenario in SNIPS.items():
        content = json.loads((folder / f"train_{intent}.json").read_text(encoding="latin-1"))
        for record in content[intent]:
            yield scenario, "".join(str(part["text"]) for part in record["data"])


def _grouped(rows: Iterable[tuple[str, str]]) -> Texts:
    found: Texts = {}
    for part, text in rows:
        clean = " ".join(text.split())
        if clean and clean not in found.setdefault(part, []):
            found[part].append(clean)
    return found


def write(folder: Path, texts: Texts, times: int = 1) -> None:
    """Draw, write both files, and put their sizes and digests into the manifest."""
    first, learned, measured = FIRST * times, LEARNED * times, MEASURED * times
    chance = np.random.default_rng(SEED)
    lines: dict[str, list[str]] = {"examples.tsv": [], "calibration.tsv": []}
    for part, known in sorted(texts.items()):
        drawn = [known[place] for place in chance.permutation(len(known))[: learned + measured]]
        taught = drawn[first : first + learned]
        kept = drawn[:first] + drawn[first + learned :]
        lines["calibration.tsv"] += [f"{part}\t{text}" for text in kept]
        lines["examples.tsv"] += [f"{part}\t{text}" for text in taught]
    manifest = folder / "expert.toml"
    text = manifest.read_text(encoding="utf-8")
    for name, rows in lines.items():
        data = ("\n".join(rows) + "\n").encode()
        (folder / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entry = f'path = "{name}"\nsize = {len(data)}\nsha256 = "{digest}"'
        pattern = rf'path = "{re.escape(name)}"\nsize = \d+\nsha256 = "[0-9a-f]+"'
        text, count = re.subn(pattern, entry, text)
        if count != 1:
            raise SystemExit(f"{manifest}: {name} is not among the files once")
    manifest.write_text(text, encoding="utf-8")


def main() -> None:
    """Write the files of all three experts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--experts", type=Path, default=Path("experts"))
    options = parser.parse_args()
    write(options.experts / "assistant-intent", clinc(options.assets))
    write(options.experts / "home-command", commands(options.assets))
    write(options.experts / "sms-spam", messages(options.assets), 3)


if __name__ == "__main__":
    main()
