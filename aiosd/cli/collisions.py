"""What installing or removing a package changes for the texts of all others, measured before."""

from collections.abc import Iterable, Sequence

from aiosd.cli.render import Paper
from aiosd.domain.errors import PackageError
from aiosd.policy.routing.collision import Shift, shifts
from aiosd.policy.routing.head import Accuracy
from aiosd.store.layout import Layout
from aiosd.store.packages import Installed


def foreseen(layout: Layout, came: Installed | None, gone: str = "") -> tuple[list[Shift], str]:
    """Return how every expert would fare with a package that comes, or without one that goes.

    Nothing where no text of any package changes. Heads are looked for where the daemon keeps them,
    and made where there is none. Where it cannot be measured here, the
    sentence says why.
    """
    from aiosd.policy.routing.lessons import key_of  # noqa: PLC0415 -- as in main
    from aiosd.store.catalogue import scan  # noqa: PLC0415
    from aiosd.store.foresight import UnforeseenError, foresee  # noqa: PLC0415
    from aiosd.store.heads import Heads, lessons_of  # noqa: PLC0415

    present = dict(scan(layout.experts).experts)
    before = lessons_of(present.values())
    present.pop(gone, None)
    if came is not None:
        present[came.manifest.name] = came
    after = lessons_of(present.values())
    if key_of(before) == key_of(after):
        return [], ""
    heads = Heads(layout.heads)
    try:
        return shifts(foresee(before, heads), foresee(after, heads)), ""
    except UnforeseenError as error:
        return [], str(error)


def show(found: Sequence[Shift], paper: Paper, name: str) -> None:
    """Print the table, without those for whom nothing changes."""
    rows = [each for each in found if each.lost or each.expert == name]
    if not rows:
        return
    paper.table(
        ("EXPERT", "BEFORE", "AFTER", "CHANGE"),
        [(each.expert, _told(each.before), _told(each.after), _change(each)) for each in rows],
        right="BEFORE,AFTER,CHANGE",
    )


def refuse(found: Iterable[Shift], name: str) -> None:
    """Refuse a package that takes too many texts from another.

    Raises:
        PackageError: it does; with how many of whom.
    """
    hurt = [each for each in found if each.too_much and each.expert != name]
    if hurt:
        told = ", ".join(
            f"{each.expert} ({_told(each.before)} → {_told(each.after)})" for each in hurt
        )
        raise PackageError(
            f"{name} takes texts from experts that are installed: {told} of their own calibration "
            "texts come to them; change its examples, or say --allow-collisions"
        )


def as_facts(found: Sequence[Shift]) -> dict[str, object]:
    """Return the table for JSON; nothing where no text of any package changes."""
    rows = [
        {
            "expert": each.expert,
            "before": _share(each.before),
            "after": _share(each.after),
            "lost": each.lost,
        }
        for each in found
    ]
    return {"texts": rows} if rows else {}


def _told(accuracy: Accuracy | None) -> str:
    return "-" if accuracy is None else f"{accuracy.right}/{accuracy.count}"


def _share(accuracy: Accuracy | None) -> dict[str, int] | None:
    return None if accuracy is None else {"right": accuracy.right, "count": accuracy.count}


def _change(shift: Shift) -> str:
    if shift.before is None or shift.after is None:
        return "new" if shift.before is None else "gone"
    return f"{-shift.lost:+d}" if shift.lost else "0"
