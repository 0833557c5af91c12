from hypothesis import given
from hypothesis import strategies as st

from aiosd.models.arena import ALIGNMENT, Lifetime, arena_bytes

lifetimes = st.builds(
    lambda size, first, length: Lifetime(size, first, first + length),
    st.integers(0, 5_000),
    st.integers(0, 30),
    st.integers(0, 10),
)


def test_tensors_that_never_meet_share_one_place() -> None:
    assert arena_bytes([Lifetime(640, 0, 1), Lifetime(320, 2, 3)]) == 640


def test_tensors_that_meet_lie_side_by_side() -> None:
    assert arena_bytes([Lifetime(640, 0, 2), Lifetime(320, 2, 3)]) == 960


def test_a_gap_between_two_is_used() -> None:
    tensors = [Lifetime(640, 0, 9), Lifetime(320, 0, 2), Lifetime(192, 0, 9), Lifetime(256, 3, 9)]
    assert arena_bytes(tensors) == 640 + 320 + 192


@given(st.lists(lifetimes, max_size=40))
def test_the_arena_holds_what_lives_at_once_and_is_no_more_than_all(
    tensors: list[Lifetime],
) -> None:
    sizes = [-(-one.size_bytes // ALIGNMENT) * ALIGNMENT for one in tensors]
    busiest = max(
        (
            sum(
                size
                for size, one in zip(sizes, tensors, strict=True)
                if one.first <= now <= one.last
            )
            for now in range(45)
        ),
        default=0,
    )
    assert busiest <= arena_bytes(tensors) <= sum(sizes)
