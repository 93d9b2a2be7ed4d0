"""Size and type of an image, read from its first bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.metadata._image_header import read_image_header
from tests.support.images import PNG
from tests.support.lengths import examples


def encoded(kind: str, mode: str, width: int, height: int, **options: object) -> bytes:
    from io import BytesIO

    from PIL import Image as PillowImage

    out = BytesIO()
    PillowImage.new(mode, (width, height)).save(out, kind, **options)
    return out.getvalue()


@given(st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_an_image_is_measured_by_its_head(width, height):
    ways = [
        ("PNG", "RGBA", {}),
        ("GIF", "P", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "RGB", {"exif": b"Exif\x00\x00" + bytes(3000), "comment": b"by hand"}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"exif": b"Exif\x00\x00" + bytes(30)}),
    ]
    for kind, mode, options in ways:
        found = read_image_header(encoded(kind, mode, width, height, **options))
        assert (found.width, found.height) == (width, height), (kind, options)
        assert found.media_type == f"image/{kind.lower()}"


HEADS = [
    PNG[:30],
    encoded("JPEG", "RGB", 9, 7)[:200],
    encoded("GIF", "P", 9, 7)[:12],
    *(
        encoded("WEBP", "RGBA", 9, 7, **options)[:40]
        for options in ({}, {"lossless": True}, {"exif": b"Exif"})
    ),
]


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(bytes.__add__, st.sampled_from(HEADS), st.binary(max_size=60)),
    )
)
@settings(max_examples=examples(300))
def test_any_bytes_are_an_image_or_a_provider_error(data):
    try:
        found = read_image_header(data)
        assert found.width > 0 < found.height
    except imagen.ProviderError as error:
        assert error.billed == "yes"


@given(st.sampled_from(HEADS), st.integers(0, 200), st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=examples(300))
def test_a_cut_or_bent_head_is_an_image_or_a_provider_error(head, cut, at, byte):
    bent = bytearray(head[:cut])
    if at < len(bent):
        bent[at] = byte
    try:
        read_image_header(bytes(bent))
    except imagen.ProviderError as error:
        assert error.billed == "yes"
