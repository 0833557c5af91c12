"""How much of the route bent texts change, and that they never change the verdict on privacy."""

import random
from collections.abc import Iterator

from aiosd.domain.decision import Kind
from aiosd.domain.errors import AiosdError
from aiosd.domain.inputs import InputType, TextInput, type_of
from aiosd.domain.request import Privacy
from aiosd.policy.outbound.escalation import Asker, EscalationRules, Question, permit
from aiosd.policy.routing.deciding import Knowledge, decide
from aiosd.policy.routing.head import Head
from aiosd.policy.routing.hearing import hear
from aiosd.policy.routing.route_facts import RouteFacts, Standing, Wanted
from tools.eval.attacks import ATTACKS
from tools.eval.figures import Row, share
from tools.eval.sets import Clinc, draw
from tools.eval.text import best, make_head

FAR = "beyond"
_EVERYTHING = EscalationRules(frozenset({"*"}), None)


def suite(clinc: Clinc) -> Iterator[Row]:
    """Yield accuracy, what passes the gate, and changed verdicts, by attack."""
    head = make_head(draw(clinc.train, 300, 1), clinc.oos_train, parts=False)
    rows = clinc.val[::4]
    plain = [best(hear(head, row.text)) for row in rows]
    right = sum(said == row.expert for said, row in zip(plain, rows, strict=True))
    yield share("attacks: none, accuracy", right, len(rows), "val, every fourth")
    for name, bend in ATTACKS.items():
        chance = random.Random(9)  # noqa: S311 - the same texts for the same seed
        texts = [bend(row.text, chance) for row in rows]
        heard = [hear(head, text) for text in texts]
        right = sum(best(each) == row.expert for each, row in zip(heard, rows, strict=True))
        yield share(f"attacks: {name}, accuracy", right, len(rows), "val, every fourth")
        same = sum(best(each) == said for each, said in zip(heard, plain, strict=True))
        yield share(f"attacks: {name}, same route", same, len(rows), "val, every fourth")
        kept = sum(bool(each.meant) for each in heard)
        yield share(f"attacks: {name}, kept at the gate", kept, len(rows), "val, every fourth")
        changed = sum(
            verdicts(head, text) != verdicts(head, row.text)
            for text, row in zip(texts, rows, strict=True)
        )
        leaked = sum("up" in verdicts(head, text)[:2] for text in texts)
        for what, count in (("verdict on privacy changed", changed), ("left the board", leaked)):
            row = share(f"attacks: {name}, {what}", count, len(rows), "val, every fourth")
            yield Row(**{**row.as_json(), "target": "0", "reached": count == 0})  # type: ignore[arg-type]


def verdicts(head: Head, text: str) -> tuple[str, ...]:
    """Return what becomes of a text's privacy: of a local request, and of one that may go up.

    An expert beyond the board is offered for everything, and hears everything as meant for it.
    """
    names = [*head.experts, FAR]
    shelf = {
        name: RouteFacts(
            name,
            "text.classify",
            InputType.TEXT,
            65_536,
            kind=Kind.UPLINK if name == FAR else Kind.LOCAL,
        )
        for name in names
    }
    found = []
    for privacy in Privacy:
        wanted = Wanted(None, None, type_of(TextInput(text=text)), len(text), privacy=privacy)
        knowledge = Knowledge(lambda among: hear(head, text, among), head.experts)
        decision, _ = decide(wanted, shelf, lambda _: Standing(ready=True, need_bytes=1), knowledge)
        found.append("up" if decision.winner == FAR else "here")
        question = Question(privacy, None, None, InputType.TEXT)
        try:
            permit(question, _EVERYTHING, Asker("a", 1000), why="")
        except AiosdError as error:
            found.append(error.code.value)
        else:
            found.append("permitted")
    return tuple(found)
