"""The data reader: any bytes in any chunks give what a reader byte by byte gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.gateway import data as data_module
from delivery.gateway.data import DataReader
from delivery.gateway.refusal import Refusal

PREFIX = b"Received: x\r\n"
pieces = st.sampled_from(
    [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"..", b"a", b"bc", b"\x00", b"\xff"]
)
streams = st.lists(pieces, max_size=40).map(b"".join)


def reference(stream: bytes) -> tuple[bytes, bytes]:
    """What RFC 5321 says, one byte at a time: the lines up to the dot, unstuffed; and what follows."""
    position, content, line = 0, b"", b""
    while position < len(stream):
        line += stream[position : position + 1]
        position += 1
        if line.endswith(b"\r\n"):
            if line == b".\r\n":
                return content, stream[position:]
            content += line.removeprefix(b".")
            line = b""
    raise AssertionError("no end of data")


def settled(content: bytes) -> bytes:
    """Every line end CRLF: of CR CR LF one line end, of any other CR or LF alone one, too."""
    result, position = b"", 0
    while position < len(content):
        for ending in (b"\r\r\n", b"\r\n", b"\r", b"\n"):
            if content.startswith(ending, position):
                result += b"\r\n"
                position += len(ending)
                break
        else:
            result += content[position : position + 1]
            position += 1
    return result


def read(stream: bytes, cuts: list[int], limit: int = 1000) -> tuple[DataReader, bytes]:
    reader = DataReader(PREFIX, limit)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        rest = reader.feed(stream[start:end])
        if rest is not None:
            return reader, rest + stream[end:]
    raise AssertionError("no end of data")


@given(streams, streams, st.lists(st.integers(0, 200), max_size=12))
def test_any_chunks_give_what_one_byte_at_a_time_gives(body: bytes, after: bytes, cuts: list[int]) -> None:
    stream = body + b"\r\n.\r\n" + after
    content, rest = reference(stream)

    reader, left = read(stream, cuts)

    assert left == rest
    assert bytes(reader.content(refuse_bare=False)) == PREFIX + settled(content)


@given(streams, st.lists(st.integers(0, 200), max_size=12))
def test_bare_line_ends_are_refused_where_set(body: bytes, cuts: list[int]) -> None:
    stream = body + b"\r\n.\r\n"
    content, _rest = reference(stream)
    reader, _left = read(stream, cuts)

    left_over = content.replace(b"\r\n", b"")
    if b"\r" in left_over or b"\n" in left_over:
        with pytest.raises(Refusal, match=r"^554 5\.6\.0"):
            reader.content(refuse_bare=True)
    else:
        assert bytes(reader.content(refuse_bare=True)) == PREFIX + content


@given(streams, streams, st.lists(st.integers(0, 200), max_size=12), st.integers(0, 30))
def test_too_large_is_refused_at_its_true_end(body: bytes, after: bytes, cuts: list[int], limit: int) -> None:
    stream = body + b"\r\n.\r\n" + after
    content, rest = reference(stream)

    reader, left = read(stream, cuts, limit)

    assert left == rest
    if len(settled(content)) > limit:
        with pytest.raises(Refusal, match=r"^552 5\.3\.4"):
            reader.content(refuse_bare=False)
    else:
        assert bytes(reader.content(refuse_bare=False)) == PREFIX + settled(content)


@given(streams, st.lists(st.integers(0, 200), max_size=12), st.integers(0, 30))
def test_a_forgotten_message_is_read_to_its_true_end(body: bytes, cuts: list[int], when: int) -> None:
    stream = body + b"\r\n.\r\nQUIT"
    _content, rest = reference(stream)
    reader = DataReader(PREFIX, 1000)
    left = None
    for position in range(len(stream)):
        if position == when:
            reader.refuse("452 4.3.1 full")
        left = reader.feed(stream[position : position + 1])
        if left is not None:
            left += stream[position + 1 :]
            break

    assert left == rest


def test_what_is_too_large_is_not_kept() -> None:
    reader = DataReader(PREFIX, 1000)
    for _ in range(100):
        reader.feed(b"x" * 10_000)
    assert len(reader) < 100


@pytest.mark.parametrize(
    "ending",
    [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\x00.\r\n", b"\r\n.\r\r\n"],
)
def test_nothing_but_crlf_dot_crlf_ends_the_data(ending: bytes) -> None:
    reader = DataReader(PREFIX, 1000)
    assert reader.feed(b"Subject: x\r\n\r\nfirst" + ending + b"MAIL FROM:<evil@else.example>\r\n") is None
    assert reader.feed(b".\r\n") == b""


@given(streams)
def test_what_is_stored_cannot_end_early_when_it_is_sent_on(body: bytes) -> None:
    """Stuffed again by RFC 5321 4.5.2, the stored bytes hold one end of data: the last bytes."""
    reader, _rest = read(body + b"\r\n.\r\n", [])
    sent = (b"\r\n" + bytes(reader.content(refuse_bare=False))).replace(b"\r\n.", b"\r\n..") + b".\r\n"
    for ending in (b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n"):
        assert sent.find(ending) in (-1, len(sent) - len(ending))


@pytest.mark.parametrize("bare", [b"\r", b"\n", b"\r\r\n"])
@pytest.mark.parametrize("at", [-2, -1, 0])
def test_line_ends_are_seen_wherever_the_pieces_meet(bare: bytes, at: int) -> None:
    filling = b"x" * (data_module._PIECE - len(PREFIX) + at)
    for ending, refused in ((b"\r\n", False), (bare, True)):
        reader = DataReader(PREFIX, 1 << 20)
        assert reader.feed(filling + ending + b"more\r\n.\r\n") == b""
        if refused:
            with pytest.raises(Refusal):
                reader.content(refuse_bare=True)
        else:
            assert bytes(reader.content(refuse_bare=True)) == PREFIX + filling + ending + b"more\r\n"
