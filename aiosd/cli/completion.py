"""`aiosctl completion`: scripts for bash, zsh and fish, made from the tree of arguments."""

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")
# Verbs whose first argument is an expert's name, which the daemon knows.
NAMED = ("run", "show", "load", "unload", "pin", "unpin", "remove", "rollback", "hold", "history")
LIST_NAMES = (
    "aiosctl list 2>/dev/null | while read -r name _; do "
    '[ "$name" = NAME ] || printf "%s\\n" "$name"; done'
)


@dataclass(frozen=True)
class Verb:
    """A verb, what it is for, its long options with their help, and words it may be given."""

    name: str
    help: str
    options: tuple[tuple[str, str], ...]
    words: tuple[str, ...] = ()


def verbs_of(parser: argparse.ArgumentParser) -> Iterator[Verb]:
    """Yield the verbs of a tree of arguments."""
    for action in parser._actions:  # noqa: SLF001 -- argparse has no public way to look
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, verb in action.choices.items():
                yield Verb(name, helps.get(name, ""), tuple(_options(verb)), tuple(_words(verb)))


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Yield the long options of a verb."""
    for action in parser._actions:  # noqa: SLF001
        for name in action.option_strings:
            if name.startswith("--"):
                yield name, (action.help or "").replace("%(default)s", str(action.default))


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the words that a verb chooses from."""
    for action in parser._actions:  # noqa: SLF001
        if not action.option_strings and action.choices:
            yield from map(str, action.choices)


def completion(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for a shell: `bash`, `zsh` or `fish`."""
    verbs = list(verbs_of(parser))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](verbs)


def _bash(verbs: list[Verb]) -> str:
    cases = "\n".join(
        f"    {verb.name}) words={shlex.quote(' '.join(_choices(verb)))} ;;" for verb in verbs
    )
    names = " ".join(verb.name for verb in verbs)
    return f"""# bash completion for aiosctl
_aiosctl() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} verb="" word words
  COMPREPLY=()
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $word in -*) ;; *) verb=$word; break ;; esac
  done
  case $verb in
    "") words="{names} --json --socket-dir --help --version" ;;
{cases}
  esac
  case $verb in
    {"|".join(NAMED)})
      [[ $current == -* ]] || words="$words $({LIST_NAMES})" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _aiosctl aiosctl
"""


def _zsh(verbs: list[Verb]) -> str:
    described = "\n".join(f"    {shlex.quote(f'{verb.name}:{verb.help}')}" for verb in verbs)
    cases = "\n".join(
        f"    {verb.name}) options=({' '.join(shlex.quote(name) for name, _ in verb.options)}) "
        f"choices=({' '.join(map(shlex.quote, verb.words))}) ;;"
        for verb in verbs
    )
    return f"""#compdef aiosctl
_aiosctl() {{
  local -a verbs options choices names
  verbs=(
{described}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  case $words[2] in
{cases}
  esac
  if [[ $PREFIX == -* ]]; then
    compadd -- $options
    return
  fi
  compadd -- $choices
  case $words[2] in
    {"|".join(NAMED)})
      names=(${{(f)"$({LIST_NAMES})"}})
      compadd -- $names ;;
  esac
  _files
}}
compdef _aiosctl aiosctl
"""


def _fish(verbs: list[Verb]) -> str:
    lines = ["# fish completion for aiosctl"]
    for verb in verbs:
        first = f"complete -c aiosctl -n __fish_use_subcommand -f -a {verb.name}"
        lines.append(f"{first} -d {_fish_quote(verb.help)}")
        seen = f"'__fish_seen_subcommand_from {verb.name}'"
        if verb.words:
            words = _fish_quote(" ".join(verb.words))
            lines.append(f"complete -c aiosctl -n {seen} -f -a {words}")
        lines += [
            f"complete -c aiosctl -n {seen} -l {name.removeprefix('--')} -d {_fish_quote(text)}"
            for name, text in verb.options
        ]
    lines.append(
        f"complete -c aiosctl -n '__fish_seen_subcommand_from {' '.join(NAMED)}' "
        '-a \'(aiosctl list 2>/dev/null | string match -v "NAME *" | string replace -r " .*" "")\''
    )
    return "\n".join(lines) + "\n"


def _choices(verb: Verb) -> list[str]:
    """Return all that may follow a verb: its words and its options."""
    return [*verb.words, *(name for name, _ in verb.options)]


def _fish_quote(text: str) -> str:
    """Return `text` in single quotes as fish reads them."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
