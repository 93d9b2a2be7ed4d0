"""Input images are sent as a person sees them, and unchanged if every reader
sees the same.
"""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

import imagen
from imagen.metadata._formats.jpeg import jpeg_channels
from imagen.metadata._seen import as_seen
from tests.support.images import GREEN, RED, near

TURNS = range(2, 9)


def photo(size=(48, 32), mode="RGB"):
    """Return an image that is red at its left and green at its right."""
    image = PillowImage.new("RGB", size, GREEN)
    image.paste(RED, (0, 0, size[0] // 4, size[1]))
    return image.convert(mode)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return exif


def deep_grey(left, right):
    """Return an image of 16 bits with two values."""
    row = struct.pack("<48H", *[left] * 24, *[right] * 24)
    return PillowImage.frombytes("I;16", (48, 32), row * 32)


def shown(data):
    with PillowImage.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def with_chunk(data, kind, body):
    """Return a PNG with one more chunk before its pixels."""
    at = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:at] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[at:]


PLAIN = {
    "png": encoded(photo()),
    "palette": encoded(photo(mode="P")),
    "palette with tRNS": encoded(photo(mode="P"), transparency=0),
    "one bit": encoded(photo(mode="1")),
    "grey": encoded(photo(mode="L")),
    "grey with alpha": encoded(photo(mode="LA")),
    "alpha": encoded(photo(mode="RGBA")),
    "jpeg": encoded(photo(), "JPEG"),
    "grey jpeg": encoded(photo(mode="L"), "JPEG"),
    "progressive jpeg": encoded(photo(), "JPEG", progressive=True),
    "upright jpeg": encoded(photo(), "JPEG", exif=turned(1)),
    "orientation of no meaning": encoded(photo(), "JPEG", exif=turned(9)),
    "webp": encoded(photo(), "WEBP"),
    "gif": encoded(photo(mode="P"), "GIF"),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_an_image_that_every_reader_shows_alike_is_sent_byte_for_byte(data):
    seen = as_seen(data)
    assert (seen.data, seen.is_changed) == (data, False)
    assert (seen.width, seen.height) == (48, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_turned_image_is_sent_upright(kind, orientation):
    seen = as_seen(encoded(photo(), kind, exif=turned(orientation)))
    image = shown(seen.data)
    assert image.size == (seen.width, seen.height) == ((48, 32) if orientation < 5 else (32, 48))
    # EXIF 2.32: the side of the person on which column 0 of the file is shown.
    corners = {2: (47, 0), 3: (47, 0), 4: (0, 0), 5: (0, 0), 6: (0, 0), 7: (0, 47), 8: (0, 47)}
    assert near(image.getpixel(corners[orientation]), RED, tolerance=40)
    assert as_seen(seen.data) == seen.__class__(
        data=seen.data, media_type=seen.media_type, width=seen.width, height=seen.height
    )


def test_a_turned_photo_stays_a_photo_and_keeps_its_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    seen = as_seen(encoded(photo(), "JPEG", exif=turned(6), icc_profile=profile))
    assert seen.media_type == "image/jpeg"
    with PillowImage.open(io.BytesIO(seen.data)) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_orientation_is_read_in_any_byte_order_and_type(order, kind):
    value = struct.pack(
        f"{order}HH" if kind == 3 else f"{order}I", *((6, 0) if kind == 3 else (6,))
    )
    head = b"II*\0" if order == "<" else b"MM\0*"
    exif = head + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)
    seen = as_seen(with_chunk(encoded(photo()), b"eXIf", exif))
    assert (seen.width, seen.height) == (32, 48)


def test_the_orientation_is_read_from_the_text_of_imagemagick_and_from_xmp():
    raw = b"Exif\0\0" + turned(6).tobytes().removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(text)
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
        ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    for data in (
        with_chunk(encoded(photo()), b"zTXt", body),
        encoded(photo(), "JPEG", xmp=packet.encode()),
    ):
        seen = as_seen(data)
        assert (seen.width, seen.height) == (32, 48)


def test_sixteen_bits_of_grey_become_eight():
    image = deep_grey(600, 0x8000)
    seen = as_seen(encoded(image))
    assert seen.media_type == "image/png"
    assert [shown(seen.data).getpixel((x, 4))[0] for x in (4, 40)] == [2, 128]


def test_one_clear_value_of_sixteen_bits_stays_clear():
    image = deep_grey(0x8000, 0x8001)
    data = with_chunk(encoded(image), b"tRNS", struct.pack(">H", 0x8001))
    with PillowImage.open(io.BytesIO(as_seen(data).data)) as sent:
        assert [sent.getpixel((x, 4)) for x in (4, 40)] == [
            (128, 128, 128, 255),
            (128, 128, 128, 0),
        ]


def test_the_colours_of_a_press_become_those_of_a_screen():
    seen = as_seen(encoded(photo(mode="CMYK"), "JPEG"))
    assert (seen.media_type, jpeg_channels(seen.data)) == ("image/jpeg", 3)
    assert near(shown(seen.data).getpixel((4, 4)), RED, tolerance=24)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("BMP", "image/png"),
        ("TIFF", "image/png"),
        ("AVIF", "image/jpeg"),
        ("JPEG2000", "image/jpeg"),
    ],
)
def test_a_format_that_providers_do_not_take_becomes_one_that_they_do(kind, media_type):
    seen = as_seen(encoded(photo(), kind))
    assert (seen.media_type, seen.width, seen.height) == (media_type, 48, 32)
    assert near(shown(seen.data).getpixel((40, 4)), GREEN, tolerance=24)


def test_a_clear_image_of_such_a_format_stays_clear():
    clear = PillowImage.new("RGBA", (48, 32), (9, 9, 9, 0))
    assert as_seen(encoded(clear, "AVIF")).media_type == "image/png"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "0 bytes are not a PNG"),
        (b"%PDF-1.7", "not a PNG, JPEG, WebP or GIF image, nor one that Pillow converts"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "The SVG is damaged"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG"),
        (encoded(photo(), "JPEG", exif=turned(6))[:-300], "damaged"),
        (b"BM" + bytes(60), "not a PNG|damaged"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(data, sentence):
    with pytest.raises(imagen.InvalidRequestError, match=sentence):
        as_seen(data)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded():
    with pytest.raises(imagen.InvalidRequestError, match="claims 48x32"):
        as_seen(encoded(photo(), "BMP"), max_pixels=1000)


def test_a_heic_image_without_its_package_names_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(imagen.InvalidRequestError, match=r"imagen-trio\[heic\]"):
        as_seen(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
