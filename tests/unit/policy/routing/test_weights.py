"""Both layouts add up the same weights, and refuse bytes that are none."""

import numpy as np
import pytest

from aiosd.policy.routing.lexical import MOST_CHARACTERS, PLACES
from aiosd.policy.routing.weights import (
    LANE_BYTES,
    LIFT,
    Lanes,
    Postings,
    add_up,
    lay_out,
    pack_postings,
)


def sparse(routes: int, seed: int = 4) -> np.ndarray:
    chance = np.random.default_rng(seed)
    table = chance.integers(-128, 128, (PLACES, routes), np.int8)
    table[chance.random(table.shape) < 0.9] = 0
    return table


def packed(table: np.ndarray) -> bytes:
    place, owner = np.nonzero(table)
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=PLACES))])
    weights = table[place, owner]
    return pack_postings(starts.tolist(), owner.astype("<u2").tobytes(), weights.tobytes())


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 255, 256, 257, 258, 769])
def test_lanes_and_postings_give_the_sums(count: int) -> None:
    table = sparse(7)
    places = np.random.default_rng(count).integers(0, PLACES, count).tolist()
    wanted = table[places].astype(np.int64).sum(axis=0).tolist()
    row = Lanes(table.tobytes(), 7).row(places)
    lanes = memoryview(row.to_bytes(7 * LANE_BYTES, "little")).cast("I")
    assert [lane - LIFT for lane in lanes] == wanted
    added = Lanes(table.tobytes(), 7)
    assert added.sums(places) == added.sums(places) == wanted
    postings = Postings(packed(table), 7)
    assert add_up(map(postings.at, places)) == dict(zip(*postings.row(places), strict=True))
    told = add_up([postings.row(places)])
    assert [told.get(route, 0) for route in range(7)] == wanted


def lanes_of(weight: int) -> bytes:
    return np.full((PLACES, 3), weight, np.int8).tobytes()


@pytest.mark.parametrize("weight", [-128, 127])
def test_the_heaviest_weights_of_the_longest_word_stay_in_their_lanes(weight: int) -> None:
    lanes = Lanes(lanes_of(weight), 3)
    most = 2 * (MOST_CHARACTERS + 1) + 1
    row = memoryview(lanes.row([5] * most).to_bytes(3 * LANE_BYTES, "little")).cast("I")
    assert [lane - LIFT for lane in row] == [weight * most] * 3
    assert Lanes(lanes_of(weight), 3).sums([5] * 257) == [weight * 257] * 3
    assert Lanes(lanes_of(weight), 3).sums([]) == [0] * 3
    assert max(row) * MOST_CHARACTERS * 2 < 1 << 8 * LANE_BYTES


def test_postings_of_a_route_that_is_none_are_found_out() -> None:
    with pytest.raises(ValueError, match="postings of route 6"):
        Postings(packed(sparse(7)), 6)


def test_the_weights_of_one_route_can_be_looked_up() -> None:
    table = sparse(5)
    lanes, postings = Lanes(table.tobytes(), 5), Postings(packed(table), 5)
    places = [0, 77, PLACES - 1]
    for route in range(5):
        wanted = table[places, route].tolist()
        assert lanes.of(places, route) == postings.of(places, route) == wanted


@pytest.mark.parametrize(
    ("table", "routes"),
    [(b"", 1), (b"\0" * PLACES, 2), (b"", 300), (b"\0" * (4 * PLACES + 5), 300), (b"", 0)],
)
def test_bytes_of_another_size_are_no_weights(table: bytes, routes: int) -> None:
    with pytest.raises(ValueError, match=r"routes|bytes"):
        lay_out(table, routes)
