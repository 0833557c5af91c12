"""The daemon's command line."""

import argparse
import asyncio
import logging
import resource
import sys
from pathlib import Path

from aiosd import __version__
from aiosd.daemon.loop import DirectLoop
from aiosd.daemon.main import Daemon, Options
from aiosd.daemon.settings import environment_variables, read_settings
from aiosd.daemon.surroundings import look_around
from aiosd.daemon.wire.sockets import TakenError
from aiosd.domain.errors import ConfigError
from aiosd.store import failpoint
from aiosd.store.layout import Layout

# sysexits(3): a configuration error, which restarting cannot mend; and "try again later".
EX_CONFIG = 78
EX_TEMPFAIL = 75
SWITCH_SECONDS = 0.0005


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon, or check its settings; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level="INFO", stream=sys.stderr, format="<6>%(message)s" if _journal() else "%(message)s"
    )
    chosen = Options(options.config or Layout().settings, config_given=options.config is not None)
    try:
        failpoint.arm(environment_variables().get(failpoint.VARIABLE, ""))
        if options.check:
            return _check(chosen)
        with asyncio.Runner(loop_factory=DirectLoop) as runner:
            return runner.run(_serve(chosen))
    except (ConfigError, failpoint.WrongOrderError) as error:
        print(f"aiosd: {error}", file=sys.stderr)  # noqa: T201 - before there is a journal
        return EX_CONFIG
    except TakenError as error:
        print(f"aiosd: {error}", file=sys.stderr)  # noqa: T201
        return EX_TEMPFAIL


async def _serve(options: Options) -> int:
    """Run the daemon until it is told to stop."""
    _raise_open_files()
    # A thread that reads headers or JSON would keep the loop from the interpreter for 5 ms each
    # time, and a request needs it several times.
    sys.setswitchinterval(SWITCH_SECONDS)
    await Daemon(asyncio.get_running_loop(), options, environment_variables()).run()
    return 0


def _raise_open_files() -> None:
    """Allow as many open files as the kernel lets us: every client's connection is one.

    Of the usual 1024 a single client could take all, and the others would wait to be accepted.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check(options: Options) -> int:
    """Read the settings and say what follows from them."""
    settings = read_settings(options.config, must_exist=options.config_given)
    around = look_around(settings)
    print(f"settings  {options.config}: fine")  # noqa: T201
    print(f"board     {around.picked.profile.name}: {around.picked.reason}")  # noqa: T201
    print(f"RAM cap   {around.cap.cap_bytes >> 20} MiB: {around.cap.reason}")  # noqa: T201
    return 0


def _journal() -> bool:
    """Whether systemd reads our standard error, and with it `<N>` priorities."""
    return "JOURNAL_STREAM" in environment_variables()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiosd",
        description="Runs swappable expert models for local apps, under a RAM cap.",
        epilog="Exit status: 0 stopped as asked; 75 another daemon serves the sockets; "
        "78 a setting is wrong (the line is named).",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings (default: {Layout().settings})"
    )
    parser.add_argument("--check", action="store_true", help="check the settings and leave")
    parser.add_argument("--version", action="version", version=f"aiosd {__version__}")
    return parser
