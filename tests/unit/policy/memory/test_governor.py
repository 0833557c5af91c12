"""Room under the cap, and who leaves for it."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.memory.eviction import Candidate, Step, Way, choose, leave
from aiosd.policy.memory.governor import (
    Evict,
    Fits,
    Ledger,
    Never,
    Resident,
    Room,
    Wait,
    overweight,
)

MIB = 2**20


def resident(  # noqa: PLR0913 - a resident has these sides
    name: str,
    mebibytes: int,
    *,
    busy: bool = False,
    pinned: bool = False,
    leaving: bool = False,
    wanted: bool = False,
    fresh: bool = False,
) -> Resident:
    candidate = Candidate(name, mebibytes * MIB, 0.1, 1)
    return Resident(
        candidate, busy=busy, pinned=pinned, leaving=leaving, wanted=wanted, fresh=fresh
    )


def room(cap: int, *residents: Resident) -> Room:
    ledger = Ledger(cap * MIB)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    return Room(ledger, residents)


def test_what_is_free_fits_to_the_byte() -> None:
    made = room(100, resident("a", 40))
    assert made.admit(60 * MIB) == Fits()
    assert made.admit(60 * MIB + 1) != Fits()


def spared(*residents: Resident) -> Room:
    """Return the books of 100 MiB of which a tenth is to stay free."""
    ledger = Ledger(100 * MIB, 0.1)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    return Room(ledger, residents)


def test_whoever_comes_to_others_leaves_some_pages_free() -> None:
    assert spared(resident("a", 40)).admit(50 * MIB) == Fits()
    assert isinstance(spared(resident("a", 40)).admit(51 * MIB), Evict)


def test_one_that_needs_nearly_all_is_let_in_alone() -> None:
    assert spared().admit(100 * MIB) == Fits()
    made = spared(resident("a", 40), resident("b", 5))
    verdict = made.admit(97 * MIB)
    assert isinstance(verdict, Evict)
    assert {each.expert for each in verdict.victims} == {"a", "b"}
    pinned = spared(resident("a", 40), resident("b", 5, pinned=True))
    assert isinstance(pinned.admit(95 * MIB), Evict)


@given(
    st.lists(st.integers(1, 60), max_size=4),
    st.integers(1, 100),
    st.sampled_from([0.0, 1 / 128, 0.1, 0.5]),
)
def test_who_could_be_alone_under_the_cap_never_waits_for_idle_ones(
    sizes: list[int], need: int, share: float
) -> None:
    residents = [resident(str(each), size) for each, size in enumerate(sizes)]
    ledger = Ledger(100 * MIB, share)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    assert isinstance(Room(ledger, residents).admit(need * MIB), Fits | Evict)


def test_an_engine_host_is_not_room_that_can_ever_be_had() -> None:
    ledger = Ledger(100 * MIB)
    ledger.set_host("echo", 30 * MIB)
    verdict = Room(ledger, []).admit(80 * MIB)
    assert verdict == Never(80 * MIB, 70 * MIB, ())


def test_only_as_many_leave_as_must() -> None:
    made = room(100, resident("a", 20), resident("b", 60), resident("c", 20))
    verdict = made.admit(50 * MIB)
    assert isinstance(verdict, Evict)
    assert [each.expert for each in verdict.victims] == ["b"]


def test_the_pinned_are_named_when_they_are_in_the_way() -> None:
    made = room(100, resident("a", 30, pinned=True), resident("b", 70))
    assert made.admit(71 * MIB) == Never(71 * MIB, 70 * MIB, ("a",))
    assert isinstance(made.admit(70 * MIB), Evict)


def test_busy_and_fresh_ones_are_waited_for_and_named() -> None:
    made = room(100, resident("a", 50, busy=True), resident("b", 50, wanted=True, fresh=True))
    verdict = made.admit(80 * MIB)
    assert isinstance(verdict, Wait)
    assert set(verdict.victims) == {"a", "b"}


def test_a_patient_newcomer_spares_those_who_are_wanted() -> None:
    made = room(100, resident("a", 100, wanted=True))
    assert isinstance(made.admit(MIB, patient=True), Wait)
    assert isinstance(made.admit(MIB), Evict)


def test_those_for_whom_it_waited_before_are_waited_for_again() -> None:
    made = room(100, resident("a", 50, busy=True), resident("b", 50, busy=True))
    for name in ("a", "b"):
        assert made.admit(40 * MIB, prefer=(name,)) == Wait((name,))


def test_claimed_room_is_not_there_for_the_next_although_it_is_free_now() -> None:
    made = room(100, resident("a", 60, busy=True))
    assert made.admit(90 * MIB) == Wait(("a",))
    made.claim(90 * MIB, ["a"])
    assert made.admit(20 * MIB) == Wait()
    assert made.admit(10 * MIB) == Fits()


def test_a_parked_expert_that_comes_back_needs_only_what_it_does_not_hold() -> None:
    made = room(100, resident("a", 20, wanted=True), resident("b", 40))
    assert made.admit(60 * MIB, own="a", own_bytes=20 * MIB) == Fits()
    verdict = made.admit(90 * MIB, own="a", own_bytes=20 * MIB)
    assert isinstance(verdict, Evict)
    assert [each.expert for each in verdict.victims] == ["b"]
    assert made.admit(101 * MIB, own="a", own_bytes=20 * MIB) == Never(101 * MIB, 100 * MIB, ())


def test_what_a_park_will_give_back_is_claimed_and_no_more() -> None:
    ledger = Ledger(100 * MIB)
    ledger.set("a", 100 * MIB)
    made = Room(ledger, [Resident(parkable("a"), busy=True)])
    assert made.admit(20 * MIB) == Wait(("a",))
    made.claim(20 * MIB, ["a"])
    assert made.admit(11 * MIB) != Fits()
    assert made.admit(MIB) == Wait()  # ten MiB are left of the thirty of its context


def test_all_idle_ones_leave_when_measurements_went_over_the_cap_by_more() -> None:
    ledger = Ledger(100 * MIB)
    residents = [resident("a", 30), resident("b", 100, busy=True), resident("c", 40, busy=True)]
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    assert [each.expert for each in overweight(ledger, residents)] == ["a"]


sides = st.tuples(st.integers(1, 60), *[st.booleans()] * 5)


@given(many=st.lists(sides, max_size=6), need=st.integers(1, 150), patient=st.booleans())
def test_a_verdict_keeps_its_word(
    many: list[tuple[int, bool, bool, bool, bool, bool]], need: int, *, patient: bool
) -> None:
    residents = [
        resident(str(n), size, busy=b, pinned=p, leaving=going, wanted=w, fresh=f)
        for n, (size, b, p, going, w, f) in enumerate(many)
    ]
    ledger = Ledger(200 * MIB)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    by_name = {each.candidate.expert: each for each in residents}
    verdict = Room(ledger, residents).admit(need * MIB, patient=patient)
    match verdict:
        case Fits():
            assert need * MIB <= ledger.free_bytes
        case Evict(victims):
            for victim in victims:
                each = by_name[victim.expert]
                spared = each.busy or each.pinned or each.leaving or each.fresh
                assert not spared
                assert not patient or not each.wanted
                ledger.release(victim.expert)
            for each in residents:
                if each.leaving:
                    ledger.release(each.candidate.expert)
            assert need * MIB <= ledger.free_bytes
        case Wait(names):
            for name in names:
                assert not by_name[name].pinned
                assert not by_name[name].leaving
        case Never():
            assert need * MIB > verdict.best_bytes


def test_what_costs_little_to_reload_and_is_large_leaves_first() -> None:
    cheap = Candidate("cheap", 50 * MIB, 0.05, 3)
    dear = Candidate("dear", 50 * MIB, 5.0, 3)
    small = Candidate("small", 5 * MIB, 0.05, 3)
    assert choose([dear, small, cheap], MIB) == [leave(cheap)]


def test_a_frequent_one_stays_before_a_rare_one_of_its_size() -> None:
    often, seldom = Candidate("often", MIB, 1.0, 5.0), Candidate("seldom", MIB, 1.0, 0.5)
    assert choose([often, seldom], MIB) == [leave(seldom)]


def test_the_worthiest_is_spared_when_a_larger_one_makes_room_alone() -> None:
    candidates = [
        Candidate("tiny", MIB, 0.01, 1.0),
        Candidate("small", 2 * MIB, 0.1, 1.0),
        Candidate("large", 50 * MIB, 5.0, 1.0),
    ]
    assert [each.expert for each in choose(candidates, 51 * MIB) or ()] == ["tiny", "large"]


def parkable(name: str, *, frequency: float = 1.0) -> Candidate:
    """A hundred MiB of which ten are the process, thirty the context, sixty mapped."""
    ways = (Way(Step.CONTEXT, 30 * MIB, 0.03), Way(Step.PAGES, 90 * MIB, 0.5))
    return Candidate(name, 100 * MIB, 1.5, frequency, ways)


def test_one_that_can_be_parked_goes_only_as_far_as_it_must() -> None:
    for need, step in ((1, Step.CONTEXT), (31, Step.PAGES), (91, Step.PROCESS)):
        (victim,) = choose([parkable("a")], need * MIB) or ()
        assert victim.step is step
        assert victim.bytes >= need * MIB
    assert choose([parkable("a")], 101 * MIB) is None


def test_the_contexts_of_two_go_before_one_of_them_leaves() -> None:
    often, seldom = parkable("often", frequency=9.0), parkable("seldom", frequency=0.5)
    made = {each.expert: each.step for each in choose([often, seldom], 60 * MIB) or ()}
    assert made == {"seldom": Step.PAGES}
    made = {each.expert: each.step for each in choose([often, seldom], 115 * MIB) or ()}
    assert made == {"seldom": Step.PAGES, "often": Step.CONTEXT}


def test_parking_that_costs_nearly_a_load_is_passed_over() -> None:
    dear = Candidate("dear", 100 * MIB, 1.0, 1.0, (Way(Step.PAGES, 50 * MIB, 0.9),))
    assert choose([dear], MIB) == [leave(dear)]


steps = st.tuples(
    st.integers(2, 60), st.floats(0, 2), st.floats(0, 2), st.floats(0, 3), st.floats(0, 9)
)


@given(many=st.lists(steps, max_size=6), need=st.integers(0, 200))
def test_what_is_chosen_is_enough_and_nothing_of_it_is_idle_harm(
    many: list[tuple[int, float, float, float, float]], need: int
) -> None:
    """Whatever the figures, the victims free the need, and none of them could have been spared."""
    candidates = [
        Candidate(
            str(number),
            size * MIB,
            load,
            often,
            (Way(Step.CONTEXT, size * MIB // 3, context), Way(Step.PAGES, size * MIB // 2, pages)),
        )
        for number, (size, context, pages, load, often) in enumerate(many)
    ]
    victims = choose(candidates, need * MIB)
    if victims is None:
        assert sum(each.bytes for each in candidates) < need * MIB
        return
    assert len({each.expert for each in victims}) == len(victims)
    freed = sum(each.bytes for each in victims)
    assert freed >= need * MIB
    assert all(freed - each.bytes < need * MIB for each in victims)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "m", "n"]), st.integers(0, 50)),
        max_size=30,
    )
)
def test_the_sum_is_what_all_hold_with_shared_weights_once(
    steps: list[tuple[str, str, int]],
) -> None:
    ledger = Ledger(1000)
    loaded: dict[str, tuple[str, int]] = {}
    for expert, model, size in steps:
        if expert in loaded:
            ledger.release(expert)
            del loaded[expert]
        else:
            ledger.set(expert, size)
            if model:
                ledger.share(expert, model, 100)
            loaded[expert] = (model, size)
        models = {model for model, _ in loaded.values() if model}
        assert {each for each in "mn" if ledger.mapped(each)} == models
        assert ledger.used_bytes == 100 * len(models) + sum(size for _, size in loaded.values())
        assert ledger.used_bytes == sum(ledger.held(each) for each in "abcd")


def test_what_workers_have_in_common_is_used_but_no_loss_of_room() -> None:
    ledger = Ledger(100 * MIB)
    ledger.set_host("echo", 30 * MIB)
    ledger.set_common("echo", 34 * MIB)
    assert (ledger.used_bytes, ledger.room_bytes) == (34 * MIB, 70 * MIB)
    ledger.set_common("echo", 29 * MIB)
    assert ledger.used_bytes == 30 * MIB
    ledger.set_common("echo", 34 * MIB)
    ledger.set_common("echo", 0)
    assert ledger.used_bytes == 30 * MIB


def test_what_a_single_worker_has_in_common_with_its_host_is_no_room_for_anybody() -> None:
    ledger = Ledger(100 * MIB)
    ledger.set_host("echo", 30 * MIB)
    ledger.set_common("echo", 34 * MIB, 1)
    assert ledger.room_bytes == 66 * MIB
    ledger.set_common("echo", 40 * MIB, 3)  # what more of them have goes with the first to leave
    ledger.set_common("echo", 0)
    assert ledger.room_bytes == 66 * MIB
    assert Room(ledger, ()).admit(66 * MIB) == Fits()
    assert Room(ledger, ()).admit(67 * MIB) == Never(67 * MIB, 66 * MIB, ())
    ledger.set_host("other", 10 * MIB)
    ledger.set_common("other", 16 * MIB, 1)  # the most of one engine, not the sum
    assert ledger.room_bytes == 54 * MIB
    ledger.set_host("echo", 0)
    ledger.set_host("other", 0)
    assert ledger.room_bytes == 100 * MIB


def common(*residents: Resident, spare_share: float = 0.0) -> Room:
    """Return the books of 100 MiB with a host of 30, whose workers have 4 in common besides."""
    ledger = Ledger(100 * MIB, spare_share)
    ledger.set_host("echo", 30 * MIB)
    ledger.set_common("echo", 34 * MIB)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    return Room(ledger, residents)


def test_one_that_needs_what_the_others_have_in_common_has_them_all_leave() -> None:
    verdict = common(resident("a", 5), resident("b", 1)).admit(69 * MIB)
    assert isinstance(verdict, Evict)
    assert {each.expert for each in verdict.victims} == {"a", "b"}
    verdict = common(resident("a", 5), resident("b", 1, busy=True)).admit(69 * MIB)
    assert isinstance(verdict, Wait)
    assert set(verdict.victims) == {"a", "b"}
    assert common(resident("a", 5, leaving=True)).admit(69 * MIB) == Wait()
    assert common().admit(69 * MIB) == Fits()


def test_a_parked_one_that_needs_what_it_has_in_common_with_its_host_is_loaded_anew() -> None:
    verdict = common(resident("a", 5)).admit(69 * MIB, own="a", own_bytes=5 * MIB)
    assert isinstance(verdict, Evict)
    assert [each.expert for each in verdict.victims] == ["a"]
    pinned = common(resident("a", 5, pinned=True))
    assert pinned.admit(69 * MIB, own="a", own_bytes=5 * MIB) == Never(69 * MIB, 66 * MIB, ("a",))


def test_what_pinned_ones_have_in_common_cannot_be_had() -> None:
    pinned = resident("a", 5, pinned=True)
    assert common(pinned).admit(61 * MIB) == Fits()
    assert common(pinned).admit(62 * MIB) == Never(62 * MIB, 61 * MIB, ("a",))
    assert isinstance(common(pinned, resident("b", 1)).admit(62 * MIB), Evict)


@given(many=st.lists(sides, max_size=4), need=st.integers(1, 70), more=st.integers(0, 9))
def test_nobody_waits_for_nobody(
    many: list[tuple[int, bool, bool, bool, bool, bool]], need: int, more: int
) -> None:
    residents = [
        resident(str(n), size // 4, busy=b, pinned=p, leaving=going, wanted=w, fresh=f)
        for n, (size, b, p, going, w, f) in enumerate(many)
    ]
    ledger = Ledger(100 * MIB, 1 / 128)
    ledger.set_host("echo", 30 * MIB)
    ledger.set_common("echo", (30 + more) * MIB)
    for each in residents:
        ledger.set(each.candidate.expert, each.candidate.bytes)
    verdict = Room(ledger, residents).admit(need * MIB)
    if verdict == Wait():
        assert any(each.leaving for each in residents)


def test_shared_weights_are_not_counted_as_common_again() -> None:
    ledger = Ledger(200 * MIB)
    ledger.set_host("llama", 30 * MIB)
    for name in ("a", "b"):
        ledger.set(name, 10 * MIB)
        ledger.share(name, "m", 40 * MIB)
    ledger.set_common("llama", (30 + 2 + 40) * MIB)
    assert ledger.used_bytes == (30 + 2 + 40 + 10 + 10) * MIB
