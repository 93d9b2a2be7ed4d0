"""A record comes out again, and what is left is what the provider sent, to the
byte.
"""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen.metadata._embed import embed_record, remove_record
from tests.support.metadata_files import EMBEDDABLE, image_bytes, make_record, with_everything

IMAGES = {
    **{f"{kind}-plain": image_bytes(kind) for kind in EMBEDDABLE},
    "jpeg-everything": with_everything("jpeg"),
    "webp-everything": with_everything("webp"),
    "webp-lossless": image_bytes("webp", lossless=True),
    "webp-alpha": image_bytes("webp", "RGBA"),
    "png-palette": image_bytes("png", "P"),
}


def marked(data: bytes, prompt: str = "a cat", into: bytes | None = None) -> bytes:
    """A copy with the record of these bytes."""
    record = msgspec.structs.replace(make_record(prompt), sha256=hashlib.sha256(data).hexdigest())
    found = embed_record(into or data, record)
    assert found is not None
    return found


@pytest.mark.parametrize("name", IMAGES)
@settings(max_examples=10, deadline=None)
@given(prompt=st.text())
def test_the_bytes_that_the_provider_sent_come_back(name, prompt):
    data = IMAGES[name]
    assert remove_record(marked(data, prompt)) == data
    # Also where a later record took the place of an earlier one.
    assert remove_record(marked(data, prompt, into=marked(data))) == data


@pytest.mark.parametrize("name", IMAGES)
def test_a_copy_that_was_changed_gives_nothing_back(name):
    data = bytearray(marked(IMAGES[name]))
    data[-20] ^= 1
    assert remove_record(bytes(data)) is None


def test_a_png_whose_own_packet_stood_elsewhere_is_not_guessed():
    assert remove_record(marked(with_everything("png"))) is None


@pytest.mark.parametrize("data", [*IMAGES.values(), b"", b"GIF89a", b"no image"], ids=len)
def test_a_file_without_a_record_gives_nothing_back(data):
    assert remove_record(data) is None
