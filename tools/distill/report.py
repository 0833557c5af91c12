"""The proof as a card for people: the table, the verdict, what was lost, and how it was learned."""

from tools.distill.methods import METHODS
from tools.distill.proof import Contender, Part, Proof, Slice
from tools.distill.recipe import Recipe
from tools.train.card import Measured, share, wilson

LOST_SHOWN = 12


def figures(proof: Proof) -> list[Measured]:
    """Return the figures that go into the manifest."""
    student = proof.student
    low, high = student.interval
    data = proof.held
    return [
        Measured(
            proof.measure, round(student.share, 4), data, student.count,
            round(low, 4), round(high, 4),
        ),
        *(
            Measured(name, round(value, 4), data, student.count)
            for name, value in student.figures.items()
        ),
        _side(proof.teacher, "teacher", proof),
        _side(proof.labels_only, "same size, labels alone", proof),
        Measured(
            "gain over labels alone", round(proof.over_labels.value, 4), data, student.count,
            round(proof.over_labels.low, 4), round(proof.over_labels.high, 4),
        ),
        *(
            figure
            for part in proof.sets
            for figure in _part_figures(part, proof.measure, f"{part.name}, {part.count} held out")
        ),
    ]  # fmt: skip


def _part_figures(part: Part, measure: str, data: str) -> list[Measured]:
    return [
        share(measure, part.right[1], part.count, data),
        Measured("calibration error", round(part.error, 4), data, part.count),
    ]


def _side(one: Contender, name: str, proof: Proof) -> Measured:
    low, high = one.interval
    return Measured(
        f"{proof.measure}, {name}", round(one.share, 4), proof.held, one.count,
        round(low, 4), round(high, 4),
    )  # fmt: skip


def markdown(proof: Proof) -> str:
    """Return the proof as Markdown."""
    names = sorted({name for one in _contenders(proof) for name in one.figures})
    head = f"| | {proof.measure} | 95 % interval | n |" + "".join(f" {name} |" for name in names)
    rows = [
        f"| {title} | {100 * one.share:.2f} % | {100 * one.interval[0]:.2f} to "
        f"{100 * one.interval[1]:.2f} | {one.count} |"
        + "".join(f" {_plain(one.figures.get(name))} |" for name in names)
        for title, one in zip(
            ("teacher", "**this student**", "same size, labels alone"),
            _contenders(proof),
            strict=True,
        )
    ]
    return "\n".join(
        [
            proof.verdict,
            "",
            head,
            "|---" * (4 + len(names)) + "|",
            *rows,
            "",
            _beside(proof),
            "",
            *_sets(proof.sets),
            _engine(proof),
            "",
            "What the student lost of its teacher, the worst slices first:",
            "",
            *_slices(proof.slices),
            *(["", *proof.notes] if proof.notes else []),
        ]
    )


def _beside(proof: Proof) -> str:
    under = proof.under_teacher
    return (
        f"Beside its teacher: {100 * under.value:+.2f} points ({100 * under.low:+.2f} to "
        f"{100 * under.high:+.2f}). Judged on {proof.held}; intervals of differences are of a "
        "paired bootstrap over rows."
    )


def _contenders(proof: Proof) -> tuple[Contender, Contender, Contender]:
    return proof.teacher, proof.student, proof.labels_only


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _sets(found: list[Part]) -> list[str]:
    if not found:
        return []
    rows = [
        f"| {each.name} | {each.count} | {100 * each.right[0] / each.count:.2f} % | "
        f"{100 * each.right[1] / each.count:.2f} % ({_span(each)}) | "
        f"{100 * each.right[2] / each.count:.2f} % | {100 * each.over_labels.value:+.2f} points "
        f"({100 * each.over_labels.low:+.2f} to {100 * each.over_labels.high:+.2f}) | "
        f"{each.error:.4f} |"
        for each in found
    ]
    head = "| set | n | teacher | student | labels alone | gain | calibration error |"
    return [head, "|---|---|---|---|---|---|---|", *rows, ""]


def _span(part: Part) -> str:
    low, high = wilson(part.right[1], part.count)
    return f"{100 * low:.2f} to {100 * high:.2f}"


def _engine(proof: Proof) -> str:
    found = proof.engine
    if not found:
        return "Not measured in an engine."
    joules = found.get("joules")
    energy = f"{joules:.6f} J" if isinstance(joules, float) else f"joules: {joules}"
    return (
        f"In the real engine, one thread, on the machine of the run: {found['bytes']:.0f} bytes, "
        f"{found['run_ms_p50']} ms an answer (p99 {found['run_ms_p99']} ms), "
        f"{float(found['ram_bytes']) / 2**20:.1f} MiB in its worker; {energy}."
    )


def _slices(found: list[Slice]) -> list[str]:
    return [
        "| slice | n | teacher | student | labels alone |",
        "|---|---|---|---|---|",
        *(
            f"| {each.name} | {each.count} | {100 * each.teacher:.1f} % | "
            f"{100 * each.student:.1f} % | {100 * each.labels_only:.1f} % |"
            for each in found[:LOST_SHOWN]
        ),
    ]


def how(recipe: Recipe, told: str, rows: str) -> str:
    """Return how it was learned: the methods with their sources, the teacher, the numbers."""
    method = recipe.method
    numbers = (
        f"Temperature {method.temperature}, share of the teacher's part {method.mixing}, the "
        f"{method.top_k} largest logits of each answer kept; {recipe.training.epochs} epochs, "
        f"seed {recipe.seed}. {rows} The teacher: {told}."
    )
    ideas = [
        f"- **{name}**: {METHODS[name].does} ({METHODS[name].source})" for name in method.names
    ]
    return "\n".join([*ideas, "", numbers])
