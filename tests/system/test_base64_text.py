"""base64 as encoders write it."""

from __future__ import annotations

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen._system.base64_text import read_base64

DATA = bytes(range(256)) + b"\xff\xfe\xfd?"
PLAIN = base64.b64encode(DATA).decode()

FORMS = {
    "plain": PLAIN,
    "lines of 60 (Ruby)": "\n".join(textwrap.wrap(PLAIN, 60)) + "\n",
    "lines of 76 with CRLF (MIME)": "\r\n".join(textwrap.wrap(PLAIN, 76)),
    "tabs and form feeds": "\t".join(textwrap.wrap(PLAIN, 10)) + "\f",
    "URL-safe without padding": base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "padded block by block": "".join(
        base64.b64encode(DATA[at : at + 4]).decode() for at in range(0, len(DATA), 4)
    ),
    "too much padding": PLAIN + "==",
    "in quotes": f'"{PLAIN}"',
    "encoded twice as JSON": PLAIN.replace("/", "\\/"),
    "data URL": f"data:image/png;base64,{PLAIN}",
    "data URL, capitals and parameters": f" DATA:image/PNG;name=a.png;BASE64,\n{PLAIN}",
    "data URL, percent-encoded": "data:image/png;base64," + PLAIN.replace("+", "%2B"),
    "data URL without base64": "data:application/octet-stream,"
    + "".join(f"%{byte:02x}" for byte in DATA),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_read(text):
    assert read_base64(text) == DATA


@pytest.mark.parametrize("text", ["%%%", "A*A=", "caf\u00e9", "<html>", "https://x/a.png"])
def test_what_is_no_base64_is_none(text):
    assert read_base64(text) is None


@given(st.text())
def test_any_text_gives_bytes_or_none(text):
    assert isinstance(read_base64(text), bytes | None)
