"""Bodies of replies are framed as h11 frames them, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen._transport.http1_body import body_reader

CHUNKED = {"transfer-encoding": "chunked"}
CUTS = st.lists(st.integers(0, 400), max_size=6)


def blocks_of(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    return [wire[a:b] for a, b in pairwise(places)]


def read(headers, blocks, *, status=200, method="GET"):
    """Data, fault and state after all blocks and the end of the connection."""
    reader = body_reader(method, status, headers)
    data = b""
    for block in [*blocks, b""]:
        if reader.ended or reader.fault:
            break
        data += reader.feed(block)
    return data, reader


def read_by_h11(head: bytes, blocks):
    """Data and True if h11 finds the whole body."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    data, rest = b"", [*blocks, b""]
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(rest.pop(0))
            elif isinstance(event, h11.Data):
                data += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return data, True
    except h11.RemoteProtocolError:
        return data, False


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


@given(
    st.lists(st.binary(min_size=1, max_size=80), max_size=5),
    st.sampled_from([b"", b";a=b", b" ;x"]),
    st.sampled_from([b"", b"trailer: yes\r\n"]),
    CUTS,
)
def test_chunks_are_read_however_they_are_cut(parts, extension, trailer, cuts):
    wire = b"".join(chunk(part, extension) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    data, reader = read(CHUNKED, blocks_of(wire, cuts))
    assert (data, reader.ended, reader.is_clean, reader.fault) == (b"".join(parts), True, True, "")


@given(st.lists(st.sampled_from([b"3\r\nabc\r\n", b"0", b"\r\n", b"a", b"\n", b"zz", b"-1"])), CUTS)
def test_faulty_chunks_are_faults_as_in_h11(pieces, cuts):
    wire = b"".join(pieces)
    blocks = blocks_of(wire, cuts)
    data, reader = read(CHUNKED, blocks)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    known, whole = read_by_h11(head, blocks)
    assert reader.ended is whole
    assert bool(reader.fault) is not whole
    assert data == known


@given(st.integers(0, 300), st.binary(max_size=300), CUTS)
def test_a_body_of_known_size(size, wire, cuts):
    data, reader = read({"content-length": str(size)}, blocks_of(wire, cuts))
    assert data == wire[:size]
    assert reader.ended is (len(wire) >= size)
    assert bool(reader.fault) is (len(wire) < size)
    if size and not cuts:
        assert reader.is_clean is (len(wire) <= size)


@given(st.binary(max_size=300), CUTS)
def test_a_body_without_a_size_ends_with_its_connection(wire, cuts):
    data, reader = read({}, blocks_of(wire, cuts))
    assert (data, reader.ended, reader.is_clean) == (wire, True, False)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_replies_have_no_body(method, status):
    data, reader = read({"content-length": "5"}, [], status=status, method=method)
    assert (data, reader.ended, reader.is_clean) == (b"", True, True)


def test_data_before_a_fault_is_handed_over():
    data, reader = read(CHUNKED, [b"3\r\nabc\r\nzz\r\n"])
    assert data == b"abc"
    assert reader.fault == "a chunk has no size"


def test_a_line_without_end_is_a_fault():
    reader = body_reader("GET", 200, CHUNKED)
    for _ in range(20):
        reader.feed(b"1" * 1000)
    assert "too long" in reader.fault


def test_bytes_behind_the_end_keep_the_connection_from_another_use():
    for headers, wire in [(CHUNKED, b"0\r\n\r\nHTTP"), ({"content-length": "1"}, b"xHTTP")]:
        _, reader = read(headers, [wire])
        assert reader.ended
        assert not reader.is_clean
