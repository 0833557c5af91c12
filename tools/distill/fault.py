"""What can go wrong in a run; each says who must act and how."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class DistillError(Exception):
    """A run cannot go on. The message says what to change."""


class RecipeError(DistillError):
    """The recipe is wrong, or asks for what does not go together: change the recipe."""


class DataError(DistillError):
    """The data would give a figure that means nothing: mend the data, or allow it by name."""


class TeacherError(DistillError):
    """The teacher as a whole cannot be asked: it is absent, or fails on everything."""


class BudgetError(DistillError):
    """Asking on would cost more than the recipe allows; what was answered is kept."""


class UnansweredError(Exception):
    """One question was not answered this time (late, refused, broken off): ask it again."""


class NonsenseError(Exception):
    """One answer is none: not the right shape, no known label, not a number. Ask again."""


class FullDiskError(DistillError):
    """There is no room to write: free some, then run the same command again."""


@contextmanager
def room(what: str) -> Iterator[None]:
    """Turn "no space left" and a full quota into an error that says what to do.

    Raises:
        FullDiskError: the disk is full; what was written before is whole.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FullDiskError(
            f"no room to write {what}; free some and run the same command: it goes on from the "
            "last checkpoint"
        ) from error
