"""Facts about the surface of a text."""

from typing import get_args

import numpy as np
import pytest
from fakes.effort import cpu_at_most
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.pre_steps import SurfaceFact
from aiosd.pipelines.surface import surface_facts

ALL: tuple[SurfaceFact, ...] = get_args(SurfaceFact)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("link", "see WWW.example.org", 1.0),
        ("link", "go to shop.co.uk now", 1.0),
        ("link", "etc. and so on", 0.0),
        ("email", "write to a.b@example.org", 1.0),
        ("email", "meet @ noon", 0.0),
        ("phone", "call 0800 555 0199 now", 1.0),
        ("phone", "+441632960961", 1.0),
        ("phone", "in 2024 or 2025", 0.0),
        ("short_code", "text GO to 87021", 1.0),
        ("short_code", "call 08712345678", 0.0),
        ("money", "only £5", 1.0),
        ("money", "500 GBP prize", 1.0),
        ("money", "five pounds", 0.0),
        ("digit_share", "a1b2", 0.5),
        ("digits", "1" * 15, 0.5),
        ("digits", "1" * 60, 1.0),
        ("capital_share", "AB cd", 0.5),
        ("capital_share", "123", 0.0),
        ("shouted_share", "FREE money for YOU", 0.5),
        ("exclamations", "no!!", 0.5),
        ("questions", "who?", 0.25),
        ("length", "x" * 100, 0.5),
        ("words", "a b c d", 0.1),
    ],
)
def test_a_fact_of_a_known_text(name: SurfaceFact, text: str, value: float) -> None:
    assert surface_facts(text, [name]).tolist() == pytest.approx([value])


@given(st.text(max_size=200))
def test_every_fact_of_any_text_lies_between_zero_and_one(text: str) -> None:
    facts = surface_facts(text, ALL)
    assert facts.shape == (len(ALL),)
    assert facts.dtype == np.float32
    assert (facts >= 0).all()
    assert (facts <= 1).all()


def test_facts_come_in_the_order_asked_for() -> None:
    assert surface_facts("£9", ["money", "link"]).tolist() == [1.0, 0.0]
    assert surface_facts("£9", ["link", "money"]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("piece", ["1 ", "a.", "a@", "-", "1", "x"])
def test_no_pattern_is_slow_on_a_long_text(piece: str) -> None:
    text = piece * (262_144 // len(piece))
    with cpu_at_most(5.0):
        surface_facts(text, ALL)
