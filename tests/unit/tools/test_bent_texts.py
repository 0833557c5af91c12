"""Bent texts: the route may change, the verdict on privacy never does."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiosd.fitter.fit import fit
from aiosd.policy.routing.head import Head, decode_head
from aiosd.policy.routing.lessons import Lesson
from tools.eval import plots
from tools.eval.adversarial import FAR, verdicts
from tools.eval.attacks import ATTACKS, misspelt, said_otherwise
from tools.eval.escalation import curve, needed, recovered

LESSONS = [
    Lesson(
        expert="lamp",
        utterances=[f"turn {way} the light in the {room}" for way in ("on", "off")
                    for room in ("kitchen", "hall", "bedroom", "garage", "attic")],
    ),
    # Whose own texts ask for the cloud: an expert that sounds like the way up.
    Lesson(
        expert="cloud",
        utterances=[f"send this {what} to the cloud" for what in ("note", "text", "task", "sum")]
        + ["privacy=uplink", "ask the large model", "escalate to the uplink"],
    ),
]  # fmt: skip
# Of a local request: answered here, not permitted; of one that may go up: asked here first.
VERDICTS = ("here", "refused_privacy", "here", "permitted")


@pytest.fixture(scope="module")
def head() -> Head:
    return decode_head(fit(LESSONS))


@settings(max_examples=60, deadline=None)
@given(
    text=st.sampled_from([text for lesson in LESSONS for text in lesson.utterances])
    | st.text(max_size=200),
    attack=st.sampled_from(sorted(ATTACKS)),
    seed=st.integers(0, 1000),
)
def test_no_bent_text_changes_the_verdict_on_privacy(
    head: Head, text: str, attack: str, seed: int
) -> None:
    bent = ATTACKS[attack](text, random.Random(seed))
    told = verdicts(head, bent)
    assert told[:2] == VERDICTS[:2]
    assert told[3] == VERDICTS[3]


def test_an_expert_beyond_the_board_is_offered_to_every_text(head: Head) -> None:
    assert FAR not in head.experts
    assert verdicts(head, "turn on the light in the hall") == VERDICTS


def test_attacks_bend_a_text_and_always_the_same_way() -> None:
    for name, bend in ATTACKS.items():
        bent = bend("what is my balance please", random.Random(1))
        assert bent == bend("what is my balance please", random.Random(1)), name
        assert bent != "what is my balance please", name
    assert misspelt("", random.Random(1)) == ""
    assert said_otherwise("nothing to change", random.Random(1)) == "nothing to change"


def test_a_perfect_order_recovers_the_gap_as_soon_as_can_be() -> None:
    small, large = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    quality = curve(large - small, small, large)
    assert quality.tolist() == [0.5, 0.75, 0.75, 0.75, 0.75]
    assert recovered(quality).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert needed(quality, 0.8) == 0.25
    assert recovered(curve(small, small, small)).tolist() == [0.0] * 5


def test_without_a_folder_no_curve_is_drawn(tmp_path: Path) -> None:
    curves = {"a mix, SIMULATED": {"random": np.linspace(0.2, 0.9, 11)}}
    assert plots.draw(curves, None).startswith("no plots")
    said = plots.draw(curves, tmp_path)
    drawn = (tmp_path / "escalation-a-mix.png").exists()
    assert drawn if said.startswith("plots") else "matplotlib is not installed" in said
