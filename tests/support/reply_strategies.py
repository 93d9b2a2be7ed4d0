"""Hypothesis strategies of replies, well-formed and damaged."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from imagen.providers import HttpResponse
from tests.support.exchanges import (
    IMAGE_BASE64,
)

USER_ERROR = "image_generation_user_error"


USAGE = {
    "input_tokens": 14,
    "output_tokens": 272,
    "output_tokens_details": {"image_tokens": 272, "text_tokens": 0},
}


ITEM = {"b64_json": IMAGE_BASE64, "revised_prompt": "a cat", "generation_id": "d6-4f"}


GOOD: dict[str, Any] = {"created": 1, "size": "1024x1024", "data": [ITEM], "usage": USAGE}


BAD: dict[str, Any] = {
    "error": {
        "message": "Please try again in 12s.",
        "type": USER_ERROR,
        "param": "prompt",
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": "input", "categories": ["other"]},
    }
}


LINKED = {"created": 1, "data": [{"url": "https://files.example/1.png"}]}


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [
            10**400,
            -(10**400),
            10**18,
            1e308,
            -0.0,
            float("nan"),
            float("inf"),
            "",
            "NaN",
            [],
            {},
            [[]],
        ]
    ),
    st.text(max_size=8),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.integers(1, 3000).map("@deep@{}".format),
)


statuses = st.sampled_from(
    [
        200,
        200,
        200,
        201,
        204,
        301,
        307,
        400,
        401,
        402,
        403,
        404,
        408,
        409,
        418,
        429,
        500,
        502,
        503,
        520,
        599,
    ]
)


headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "retry-after-ms", "x-request-id"]),
    st.one_of(st.text(max_size=12), st.sampled_from(["text/event-stream", "1e999", "0", "."])),
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be put into a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [before, *(path for key, item in inner for path in paths(item, (*before, key)))]


def placed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = placed(value[path[0]], path[1:], new)
    return copy


@st.composite
def wrong_fields(draw: Any, samples: tuple[Any, ...]) -> bytes:
    """A good answer in which one field, or several, hold something else."""
    value = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 3))):
        value = placed(value, draw(st.sampled_from(paths(value))), draw(odd_values))
    text = json.dumps(value)
    return re.sub(
        r'"@deep@(\d+)"', lambda found: "[" * int(found[1]) + "]" * int(found[1]), text
    ).encode()


@st.composite
def mutated(draw: Any, samples: tuple[bytes, ...]) -> bytes:
    """A good answer with bits flipped, pieces cut out and pieces put in."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "insert", "end", "repeat"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 50))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
            case "end":
                del data[at:]
            case "repeat":
                data[at:at] = data[at : at + 40] * draw(st.integers(1, 5))
    return bytes(data)


JSON_SAMPLES = (GOOD, BAD, LINKED)


bodies = st.one_of(
    st.binary(max_size=200),
    wrong_fields(JSON_SAMPLES),
    mutated(tuple(json.dumps(sample).encode() for sample in JSON_SAMPLES)),
    st.integers(1, 100_000).map(lambda depth: b'{"data":' + b"[" * depth),
    st.sampled_from(
        [
            b'{"data":[{"b64_json":"\\ud800"}]}',
            b'{"error":"\\udfff"}',
            b'{"data":NaN}',
            b"\xef\xbb\xbf{}",
        ]
    ),
)


def json_bodies(samples: tuple[Any, ...], *, nested: str | None = None) -> st.SearchStrategy[bytes]:
    """Bodies like `samples`, whole and damaged; with `nested`, also that field nested too deep."""
    encoded = tuple(json.dumps(sample).encode() for sample in samples)
    kinds = [
        st.binary(max_size=100),
        wrong_fields(samples),
        mutated(encoded),
        st.sampled_from(encoded),
    ]
    if nested is not None:
        start = b'{"%s":' % nested.encode()
        kinds.append(st.integers(1, 100_000).map(lambda depth: start + b"[" * depth))
    return st.one_of(kinds)


def http_replies(
    content: st.SearchStrategy[bytes],
    more: st.SearchStrategy[dict[str, str]] | None = None,
) -> st.SearchStrategy[HttpResponse]:
    """Replies of any status with any headers; `more` draws further headers."""
    return st.builds(
        lambda status, body, some, others: HttpResponse(
            status=status, headers={**some, **others}, body=body
        ),
        statuses,
        content,
        headers,
        st.just({}) if more is None else more,
    )
