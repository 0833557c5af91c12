from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import BoardProfile, Machine, RamShare
from aiosd.domain.reading import CgroupLimit, CgroupLimits
from aiosd.policy.memory.caps import DAEMON_BYTES, ram_cap

NO_LIMITS = CgroupLimits()


def machine(ram_bytes: int) -> Machine:
    return Machine(
        ram_bytes=ram_bytes,
        cores=4,
        isa=frozenset(),
        architecture="aarch64",
        kernel="6.6",
        cpu_model="",
        board_model="",
        word_bits=64,
    )


def profile(share: float = 0.5, reserve_bytes: int = 200_000_000) -> BoardProfile:
    return BoardProfile(
        name="test", summary="x", ram=RamShare(share=share, reserve_bytes=reserve_bytes)
    )


def limited(limit_bytes: int) -> CgroupLimits:
    return CgroupLimits(2, (CgroupLimit("/sys/fs/cgroup/a/memory.max", limit_bytes),))


def test_a_large_board_gets_its_share() -> None:
    cap = ram_cap(profile(), machine(8_000_000_000), NO_LIMITS)
    assert cap.cap_bytes == 4_000_000_000
    assert cap.reason == "profile test: 50% of 8000 MB"


def test_a_small_board_keeps_the_reserve() -> None:
    cap = ram_cap(profile(share=0.9), machine(450_000_000), NO_LIMITS)
    assert cap.cap_bytes == 250_000_000
    assert cap.reason == "profile test: 450 MB less 200 MB for the system"


def test_the_owners_setting_goes_before_the_profile() -> None:
    cap = ram_cap(profile(), machine(8_000_000_000), NO_LIMITS, setting=7_000_000_000)
    assert (cap.cap_bytes, cap.reason) == (7_000_000_000, "the setting (7000 MB)")


def test_a_setting_beyond_the_machine_is_cut_and_says_so() -> None:
    cap = ram_cap(profile(), machine(1_000_000_000), NO_LIMITS, setting=2_000_000_000)
    assert cap.cap_bytes == 1_000_000_000
    assert "all RAM of this machine (1000 MB), which is less than the setting" in cap.reason


def test_a_cgroup_limit_binds_less_what_the_daemon_needs() -> None:
    cap = ram_cap(profile(), machine(8_000_000_000), limited(500_000_000), setting=600_000_000)
    assert cap.cap_bytes == 500_000_000 - DAEMON_BYTES
    assert "/sys/fs/cgroup/a/memory.max (500 MB)" in cap.reason


def test_a_board_that_is_smaller_than_its_reserve_gets_nothing() -> None:
    assert ram_cap(profile(), machine(100_000_000), NO_LIMITS).cap_bytes == 0


sizes = st.integers(0, 1 << 40)


@given(
    ram=sizes,
    share=st.floats(0.01, 0.95),
    reserve=sizes,
    limit=st.none() | sizes,
    setting=st.none() | st.integers(-(1 << 40), 1 << 40),
)
def test_no_cap_is_negative_or_beyond_the_machine_or_its_cgroup(
    ram: int, share: float, reserve: int, limit: int | None, setting: int | None
) -> None:
    limits = NO_LIMITS if limit is None else limited(limit)
    cap = ram_cap(profile(share, reserve), machine(ram), limits, setting)
    assert 0 <= cap.cap_bytes <= ram
    assert limit is None or cap.cap_bytes <= max(0, limit - DAEMON_BYTES)
    assert setting is None or cap.cap_bytes <= max(0, setting)
    assert cap.reason
