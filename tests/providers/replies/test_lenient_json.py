"""JSON that is not quite JSON."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.providers._replies.lenient_json import repair_json

GOOD = {"data": [{"a": "x"}], "n": 1}
TEXT = msgspec.json.encode(GOOD)

AROUND = {
    "byte order mark": b"\xef\xbb\xbf" + TEXT,
    "UTF-16": TEXT.decode().encode("utf-16"),
    "UTF-16 without a mark": TEXT.decode().encode("utf-16-le"),
    "UTF-32": TEXT.decode().encode("utf-32"),
    "a guard": b")]}',\n" + TEXT,
    "JSONP": b"callback(" + TEXT + b");",
    "HTML behind": TEXT + b"<br>done",
    "NULs behind": TEXT + bytes(8),
    "two values": TEXT + b"\n" + TEXT,
}


@pytest.mark.parametrize("body", AROUND.values(), ids=AROUND.keys())
def test_what_stands_around_a_value_is_left_out(body):
    repaired = repair_json(body)
    assert repaired is not None
    assert msgspec.json.decode(repaired) == GOOD


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"NaN", None),
        (b"-Infinity", None),
        (b"1e999", None),
        (b"9" * 5000, None),
        (b"12.5", 12.5),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (b'"caf\xe9"', "caf\ufffd"),
        (b'"a\nb\tc"', "a\nb\tc"),
        (b"[" * 100 + b"]" * 100, None),
    ],
    ids=str,
)
def test_a_value_that_is_none_is_replaced(value, read):
    repaired = repair_json(b'{"before": 1, "odd": ' + value + b', "after": [2]}')
    assert repaired is not None
    found = msgspec.json.decode(repaired)
    assert (found["before"], found["after"]) == (1, [2])
    if not value.startswith(b"[["):
        assert found["odd"] == read


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":['])
@pytest.mark.parametrize("closed", [True, False])
def test_a_value_of_any_depth_ends(opening, closed):
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"a":[': b"]}]"}[opening]
    body = b'{"x": ' + opening * 100_000 + b"1" + (closing * 100_000 if closed else b"") + b"}"
    repaired = repair_json(body)
    assert (repaired is not None) == closed


@pytest.mark.parametrize("body", [b"", b"plain text", b"\x00\x01", b'{"cut": [1, 2', b'"text"'])
def test_what_is_no_object_is_none(body):
    assert repair_json(body) is None


@given(st.binary())
def test_any_bytes_give_json_or_none(body):
    repaired = repair_json(body)
    assert repaired is None or msgspec.json.decode(repaired) is not None
