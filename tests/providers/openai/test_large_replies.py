"""Large images are cut out of a reply; what is read is the same."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen.providers._replies.decoding import MALFORMED
from imagen.providers.openai import _wire

IMAGE = base64.b64encode(bytes(range(256)) * 300).decode()
TEXTS = st.one_of(st.sampled_from([IMAGE, IMAGE[:100], ""]), st.text(max_size=12))
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "b64_json": st.one_of(TEXTS, st.none(), st.integers()),
        "revised_prompt": st.sampled_from(['say "b64_json": "now"', "\\", "é"]),
        "url": st.just("https://a.example/b64_json"),
    },
)


def read(decode, body):
    """What a decoder makes of a body, to compare."""
    try:
        reply = decode(body)
    except MALFORMED as error:
        return type(error)
    items = [(bytes(item.b64_json), item.url, item.revised_prompt) for item in reply.data or []]
    return items, bytes(reply.usage)


@settings(max_examples=200)
@given(
    st.lists(ITEMS, max_size=4),
    st.sampled_from([{}, {"b64_json": IMAGE}, {"usage": {"b64_json": "x"}}]),
    st.booleans(),
)
def test_a_reply_reads_the_same(items, more, ascii_only):
    data = [{"b64_json": IMAGE}, *items]
    body = json.dumps({"data": data, **more}, ensure_ascii=ascii_only).encode()
    assert read(_wire._decode_images, body) == read(_wire._decode_reply, body)


@pytest.mark.parametrize(
    "body",
    [
        '{"data":[{"b64_json":"%s","b64_json":"%s"}]}',
        '{"data":[{"b64_json":"%s\\"}]}',
        '{"data":[{"b64_json":"%s","b64_json":"","b64_json":"\\"%s"}]}',
        '{"data":[{"b64_json":"%s',
        '{"data":[{"b64_json":"%s"}',
        '{"data":[{"b64_json" : "%s"},{"b64_json":null}]}',
        '{"b64_json":"%s","data":[{"b64_json":""}]}',
    ],
)
def test_a_reply_in_doubt_is_parsed_whole(body):
    wire = body.replace("%s", IMAGE).encode()
    assert read(_wire._decode_images, wire) == read(_wire._decode_reply, wire)
