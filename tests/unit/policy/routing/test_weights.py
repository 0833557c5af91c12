"""Both layouts add up the same weights, and refuse bytes that are none."""

import numpy as np
import pytest

from aiosd.policy.routing.lexical import PLACES
from aiosd.policy.routing.weights import Lanes, Postings, lay_out, pack_postings


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


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 2000])
def test_lanes_and_postings_give_the_sums(count: int) -> None:
    table = sparse(7)
    places = np.random.default_rng(count).integers(0, PLACES, count).tolist()
    wanted = table[places].astype(np.int64).sum(axis=0).tolist()
    assert Lanes(table.tobytes(), 7).sums(places) == wanted
    assert Postings(packed(table), 7).sums(places) == wanted


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
