"""Reading and sampling of Home Assistant sentence templates."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.train.home_command.labels import Example, Span

Piece = tuple[str, str | None]
ValueSource = Callable[[str, "Template", random.Random], str | None]
_CLOSERS = {"[": "]", "(": ")", "{": "}", "<": ">"}


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a parsed template: ``text``, ``seq``, ``alt``, ``perm``, ``list`` or ``rule``."""

    kind: str
    value: str = ""
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence template with what is needed to expand it."""

    intent: str
    family: str
    pattern: str
    domain: str
    node: Node
    rules: Mapping[str, Node]

    @property
    def identity(self) -> float:
        """A stable number in [0, 1) of this template, for splitting."""
        digest = hashlib.sha256(f"{self.family}|{self.pattern}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


def parse(pattern: str) -> Node:
    """Parse a template; raises ``ValueError`` where a bracket does not close."""
    scanner = _Scanner(pattern)
    node = scanner.group("")
    if scanner.at != len(pattern):
        raise ValueError(f"unbalanced template: {pattern!r}")
    return node


class _Scanner:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def group(self, closer: str) -> Node:
        parts: list[list[Node]] = [[]]
        kind = "alt"
        while self.at < len(self.pattern) and self.pattern[self.at] != closer:
            char = self.pattern[self.at]
            if char in "|;":
                kind = "perm" if char == ";" else kind
                parts.append([])
                self.at += 1
            else:
                parts[-1].append(self._item(char))
        sequences = tuple(Node("seq", "", tuple(part)) for part in parts)
        return sequences[0] if len(sequences) == 1 else Node(kind, "", sequences)

    def _item(self, char: str) -> Node:
        if char in "[(":
            self.at += 1
            child = self.group(_CLOSERS[char])
            self.at += 1
            return Node("alt", "", (child, Node("text"))) if char == "[" else child
        if char in "{<":
            begin, end = self.at + 1, self.pattern.index(_CLOSERS[char], self.at)
            self.at = end + 1
            return Node("list" if char == "{" else "rule", self.pattern[begin:end])
        begin = self.at
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|;[](){}<>":
            self.at += 1
        if begin == self.at:
            raise ValueError(f"unbalanced template: {self.pattern!r}")
        return Node("text", self.pattern[begin : self.at])


def _domain(entry: Mapping[str, Any], file_domain: str) -> str:
    required = entry.get("requires_context") or {}
    domain = required.get("domain", file_domain)
    return str(domain[0] if isinstance(domain, list) else domain)


@dataclass(frozen=True, slots=True)
class TemplateBook:
    """All templates of one language folder with the shared lists."""

    templates: tuple[Template, ...]
    lists: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> TemplateBook:
        """Read every YAML file of ``folder``."""
        common = yaml.safe_load((folder / "_common.yaml").read_text(encoding="utf-8"))
        shared = {k: parse(v) for k, v in common["expansion_rules"].items()}
        found: list[Template] = []
        for path in sorted(folder.glob("*.yaml")):
            if path.name == "_common.yaml":
                continue
            file_domain = path.stem.split("_Hass")[0]
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for intent, body in content["intents"].items():
                for entry in body["data"]:
                    own = entry.get("expansion_rules") or {}
                    rules = {**shared, **{k: parse(v) for k, v in own.items()}}
                    domain = _domain(entry, file_domain)
                    found.extend(
                        Template(intent, path.stem, s, domain, parse(s), rules)
                        for s in entry["sentences"]
                    )
        return cls(tuple(found), common["lists"])

    def sample(self, template: Template, values: ValueSource, rng: random.Random) -> Example:
        """Expand ``template`` once at random."""
        pieces = self._expand(template.node, template, values, rng)
        text = ""
        spans: list[Span] = []
        for raw, slot in pieces:
            chunk = " ".join(raw.split())
            if raw[:1].isspace() and text and not text.endswith(" "):
                text += " "
            if not chunk:
                continue
            start = len(text)
            text += chunk
            if slot is not None:
                spans.append(Span(start, len(text), slot))
            if raw[-1:].isspace():
                text += " "
        return Example(text.rstrip(), template.intent, tuple(spans), "ha")

    def _expand(
        self, node: Node, template: Template, values: ValueSource, rng: random.Random
    ) -> list[Piece]:
        if node.kind == "text":
            return [(node.value, None)]
        if node.kind == "seq":
            return [p for c in node.children for p in self._expand(c, template, values, rng)]
        if node.kind == "alt":
            return self._expand(rng.choice(node.children), template, values, rng)
        if node.kind == "perm":
            order = rng.sample(node.children, len(node.children))
            joined: list[Piece] = []
            for child in order:
                joined += [(" ", None), *self._expand(child, template, values, rng)]
            return joined
        if node.kind == "rule":
            return self._expand(template.rules[node.value], template, values, rng)
        name, _, slot = node.value.partition(":")
        return [(self._value(name, template, values, rng), slot or name)]

    def _value(self, name: str, template: Template, values: ValueSource, rng: random.Random) -> str:
        own = values(name, template, rng)
        if own is not None:
            return own
        spec = self.lists[name]
        choice = rng.choice(spec["values"])
        pattern = choice["in"] if isinstance(choice, dict) else choice
        pieces = self._expand(parse(str(pattern)), template, values, rng)
        return " ".join("".join(text for text, _ in pieces).split())
