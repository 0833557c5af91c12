"""aiosctl: the command line. The tree of arguments, and from errors to exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from aiosd import __version__
from aiosd.cli import (
    ask,
    calibrate,
    levers,
    look,
    operate,
    packages,
    power,
    rollout,
    route,
    store,
    update,
    uplink,
)
from aiosd.cli.completion import SHELLS, completion
from aiosd.cli.failure import MEANINGS, Exit, UsageError, fail
from aiosd.cli.render import Paper
from aiosd.client import Client
from aiosd.domain.errors import AiosdError, ConfigError, PackageError, UnreachableError
from aiosd.domain.sizes import parse_size
from aiosd.protocol.messages import VERSION

Command = Callable[[argparse.Namespace, Client, Paper], Exit]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.version:
        print(f"aiosctl {__version__}")
        return Exit.OK
    if "command" not in options:
        parser.error("say what to do; the verbs are listed by: aiosctl --help")
    as_json = bool(options.json)
    try:
        code = _run(options, as_json=as_json)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; stdout must not complain again when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    except (AiosdError, PackageError, ConfigError, OSError, UsageError) as error:
        return fail(error, as_json=as_json)
    return code


def _run(options: argparse.Namespace, *, as_json: bool) -> Exit:
    """Call the verb with a client that connects when it is used."""
    command: Command = options.command
    with Client(options.socket_dir) as client:
        return command(options, client, Paper(as_json=as_json))


def make_parser() -> argparse.ArgumentParser:
    """Return the tree of arguments."""
    parser = argparse.ArgumentParser(
        prog="aiosctl",
        description="Ask the experts on this board, and look after them.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_shared(parser, default=True)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_ask(verbs)
    _add_looks(verbs)
    _add_operations(verbs)
    _add_own(verbs)
    return parser


Verbs = argparse._SubParsersAction  # noqa: SLF001 -- argparse gives it no public name


def _verb(
    verbs: "Verbs[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    """Add a verb that takes the shared options too."""
    description = f"{text[0].upper()}{text[1:]}."
    parser = verbs.add_parser(name, help=text, description=description, allow_abbrev=False)
    _add_shared(parser, default=False)
    parser.set_defaults(command=command)
    return parser


def _add_shared(parser: argparse.ArgumentParser, *, default: bool) -> None:
    """Add what may stand before or after the verb; only one of the two sets a default."""
    parser.add_argument(
        "--json",
        action="store_true",
        default=False if default else argparse.SUPPRESS,
        help="print JSON: one document, or one a line for streams and events",
    )
    parser.add_argument(
        "--socket-dir",
        metavar="DIR",
        default=None if default else argparse.SUPPRESS,
        help="where the daemon's sockets are (default: $AIOSD_SOCKET_DIR, else /run/aiosd)",
    )


def _add_ask(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    ask.add_run(_verb(verbs, "run", ask.run, "ask an expert"))


def _add_looks(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    _verb(verbs, "list", look.list_experts, "list the installed experts")
    shown = _verb(verbs, "show", look.show, "show everything known of one expert")
    shown.add_argument("name", metavar="EXPERT", help="its name")
    loaded = _verb(verbs, "ps", look.ps, "list the loaded experts and the engine hosts")
    loaded.add_argument("-v", "--verbose", action="store_true", help="show engines and confinement")
    _verb(verbs, "status", look.status, "show the daemon's own condition")
    route.add_explain(
        _verb(verbs, "explain", route.explain, "show who would answer a text, and why")
    )
    route.add_feedback(
        _verb(verbs, "feedback", route.feedback, "say whether a routed answer was good")
    )
    _verb(verbs, "energy", power.energy, "show where the joules went")
    live = _verb(verbs, "top", power.top, "watch RAM, watts and the experts live, until Ctrl-C")
    live.add_argument("--once", action="store_true", help="print one picture and leave")
    live.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="a picture every S seconds (1)"
    )
    followed = _verb(verbs, "events", look.events, "follow what happens, until Ctrl-C")
    followed.add_argument(
        "topics", nargs="*", metavar="TOPIC", help="such as expert or request.done"
    )
    followed.add_argument(
        "--timeout",
        dest="timeout_seconds",
        type=float,
        metavar="S",
        help="end after S seconds without an event",
    )


def _add_operations(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    loaded = _verb(verbs, "load", operate.load, "load an expert now")
    loaded.add_argument("name", metavar="EXPERT", help="its name")
    loaded.add_argument(
        "--ram",
        type=_size,
        metavar="SIZE",
        help="take this for what it needs, such as 90MiB, until it is measured again",
    )
    for name, command, text in (
        ("unload", operate.unload, "unload an expert once it is idle"),
        ("pin", operate.pin, "keep an expert loaded"),
        ("unpin", operate.unpin, "let an expert be evicted again"),
    ):
        _verb(verbs, name, command, text).add_argument("name", metavar="EXPERT", help="its name")
    uplink.add_uplink(_verb(verbs, "uplink", uplink.uplink, "look at the way up, or switch it"))
    route.add_decisions(
        _verb(verbs, "decisions", route.decisions, "list the last routing decisions")
    )
    levers.add_power(
        _verb(verbs, "power", levers.power, "show or set the power mode and the clocks' limits")
    )
    rollout.add_rollback(
        _verb(verbs, "rollback", rollout.rollback, "go back to the release before the last update")
    )
    rollout.add_hold(
        _verb(verbs, "hold", rollout.hold, "keep an expert at its release, or no longer")
    )
    rollout.add_history(
        _verb(verbs, "history", rollout.history, "show how the releases of updates fared")
    )
    _verb(verbs, "reload", operate.reload, "let the daemon read settings and packages again")


def _size(text: str) -> int:
    """Read a size; argparse tells of a wrong one by the type's name."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_own(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    packages.add_install(_verb(verbs, "install", packages.install, "install a package, and reload"))
    packages.add_remove(_verb(verbs, "remove", packages.remove, "remove an expert, and reload"))
    update.add_update(
        _verb(verbs, "update", update.update, "look for new releases, fetch them, see how far")
    )
    store.add_store(_verb(verbs, "store", store.store, "check, clear or measure the store"))
    calibrate.add_calibrate(
        _verb(verbs, "calibrate", calibrate.calibrate, "teach the daemon this board's watts")
    )
    _verb(verbs, "doctor", _doctor, "look for what is wrong on this machine")
    made = _verb(verbs, "completion", _completion, "print a completion script for a shell")
    made.add_argument("shell", choices=SHELLS, help="the shell")
    _verb(verbs, "version", _version, "print the versions of aiosctl and of the daemon")


def _doctor(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look for what is wrong."""
    from aiosd.cli.doctor import doctor  # noqa: PLC0415 -- many imports that no other verb needs

    return doctor(options, client, paper)


def _completion(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print a completion script."""
    del client
    paper.line(completion(options.shell, make_parser()).rstrip())
    return Exit.OK


def _version(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print the versions; a daemon that is away is no failure."""
    del options
    try:
        daemon = look.word(client.ping(), "version")
    except UnreachableError:
        daemon = "not running"
    if paper.as_json:
        paper.document({"aiosctl": __version__, "daemon": daemon, "wire": VERSION})
    else:
        paper.facts({"aiosctl": __version__, "daemon": daemon, "wire": VERSION})
    return Exit.OK


def _epilog() -> str:
    """Return the exit codes for --help."""
    lines = [f"  {int(code):>3}  {text}" for code, text in MEANINGS.items()]
    return "exit codes:\n" + "\n".join(lines) + "\n\nThe whole story: docs/aiosctl.md"
