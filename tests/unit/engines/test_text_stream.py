import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.engines.text_stream import TextStream


def run(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = TextStream(stop)
    shown = []
    for piece in pieces:
        shown.append(stream.feed(piece))
        if stream.stopped:
            break
    shown.append(stream.finish())
    assert stream.text() == "".join(shown)
    return shown, stream.stopped


def test_a_code_point_split_over_tokens_is_shown_whole() -> None:
    shown, _ = run([b"\xf0\x9f", b"\x98", b"\x80!"])
    assert shown == ["", "", "😀!", ""]


def test_bytes_that_are_not_text_become_a_mark() -> None:
    assert run([b"a\xff", b"b\xe2\x82"])[0] == ["a�", "b", "�"]


def test_a_stop_word_across_pieces_never_leaks() -> None:
    shown, stopped = run([b"one ST", b"O", b"P two"], ("STOP",))
    assert (shown, stopped) == (["one ", "", "", ""], True)


def test_what_only_looked_like_a_stop_word_is_shown() -> None:
    shown, stopped = run([b"one ST", b"O", b"RM"], ("STOP",))
    assert ("".join(shown), stopped) == ("one STORM", False)


def test_a_beginning_of_a_stop_word_at_the_end_is_shown() -> None:
    assert "".join(run([b"one ST"], ("STOP",))[0]) == "one ST"


def test_the_first_of_several_stop_words_counts() -> None:
    assert "".join(run([b"a b c d"], ("d", "c", "zz"))[0]) == "a b "


@pytest.mark.parametrize("stop", [("",), ("x" * 300,), tuple("abcdefgh" * 5)])
def test_an_impossible_stop_word_names_its_field(stop: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError) as caught:
        TextStream(stop)
    assert caught.value.field == "options.sampling.stop"


@given(
    text=st.text(alphabet="ab😀é ", max_size=40),
    stop=st.lists(st.text(alphabet="ab😀", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 3), min_size=60, max_size=60),
)
def test_any_cutting_shows_the_text_up_to_its_first_stop_word(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    data, pieces = text.encode(), []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    pieces.append(data)
    places = [text.find(word) for word in stop if word in text]
    shown, stopped = run(pieces, tuple(stop))
    assert stopped == bool(places)
    if not stopped:
        assert "".join(shown) == text
    else:
        # A longer stop word may begin earlier but end later than the one that was met first.
        seen = "".join(shown)
        assert text.startswith(seen)
        assert any(text[len(seen) :].startswith(word) for word in stop)
        assert not any(word in seen for word in stop)
