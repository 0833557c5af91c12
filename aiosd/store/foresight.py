"""How often each expert would get its own texts, by a head of packages that need not be installed.

Blocking: a head that is not kept is made by a fitter, which takes a second or two.
"""

import os
import subprocess
from collections.abc import Mapping

from aiosd.policy.routing.head import Accuracy, HeadError, decode_facts
from aiosd.policy.routing.lessons import Lesson, key_of
from aiosd.store.heads import Heads, errand

# A fitter of thousands of packages takes some seconds on a board.
PATIENCE_SECONDS = 300.0


class UnforeseenError(Exception):
    """What would change cannot be measured here; the sentence says why."""


def foresee(
    lessons: list[Lesson], heads: Heads, environment: Mapping[str, str] | None = None
) -> Mapping[str, Accuracy]:
    """Return each expert's accuracy on its own calibration texts; a new head is kept, if it may.

    The fitter gets `environment`, or what this process has.

    Raises:
        UnforeseenError: no head can be made.
    """
    key = key_of(lessons)
    if not key:
        return {}
    facts = heads.facts(key)
    if facts is None:
        data = _made(lessons, environment)
        try:
            facts, _ = decode_facts(data)
        except HeadError as error:
            raise UnforeseenError(str(error)) from error
        if os.access(heads.folder, os.W_OK):
            heads.keep(key, data)
    return facts.measures.experts


def _made(lessons: list[Lesson], environment: Mapping[str, str] | None) -> bytes:
    """Have a fitter make a head.

    Raises:
        UnforeseenError: it cannot be started, or failed.
    """
    job = errand(lessons)
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            job.command,
            stdin=subprocess.DEVNULL,
            pass_fds=job.descriptors,
            env=None if environment is None else dict(environment),
            check=False,
            timeout=PATIENCE_SECONDS,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnforeseenError(str(error)) from error
    finally:
        data = job.take()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UnforeseenError(last)
    return data
