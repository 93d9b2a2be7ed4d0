"""A record in a file: it is found again, the pixels and what was there before
are as they were.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

import imagen
from imagen.metadata._embed import (
    embed_record,
    is_sealed,
    read_record,
    read_sidecar,
    sidecar_of,
    write_sidecar,
)
from tests.support.metadata_files import (
    EMBEDDABLE,
    EXIF,
    ICC,
    THEIR_XMP,
    coded_pixels,
    image_bytes,
    make_record,
    pixels,
    sealed,
    with_everything,
    with_png_chunk,
)

EVERY_KIND = pytest.mark.parametrize("kind", EMBEDDABLE)
IMAGES = {
    "png": image_bytes("png"),
    "png-alpha": image_bytes("png", "RGBA"),
    "png-palette": image_bytes("png", "P"),
    "jpeg": image_bytes("jpeg"),
    "jpeg-progressive": image_bytes("jpeg", progressive=True),
    "webp": image_bytes("webp"),
    "webp-lossless": image_bytes("webp", lossless=True),
    "webp-lossless-alpha": image_bytes("webp", "RGBA", lossless=True),
    "webp-alpha": image_bytes("webp", "RGBA"),
}


def open_image(data: bytes) -> PillowImage.Image:
    opened = PillowImage.open(BytesIO(data))
    opened.load()
    return opened


@pytest.mark.parametrize("name", IMAGES)
@settings(max_examples=15, deadline=None)
@given(prompt=st.text(), notes=st.text(max_size=20))
def test_any_prompt_comes_back_and_no_pixel_moves(name, prompt, notes):
    data = IMAGES[name]
    record = make_record(prompt, notes=notes)
    marked = embed_record(data, record)
    assert read_record(marked) == record
    assert coded_pixels(marked) == coded_pixels(data)


@pytest.mark.parametrize("name", IMAGES)
def test_every_reader_still_sees_the_same_image(name):
    marked = embed_record(IMAGES[name], make_record())
    assert pixels(marked) == pixels(IMAGES[name])
    before, after = open_image(IMAGES[name]), open_image(marked)
    assert (after.mode, after.size, after.format) == (before.mode, before.size, before.format)


def test_a_webp_head_says_whether_there_is_alpha():
    """Browsers and `webpinfo` go by the head; it is ours where the file had
    none.
    """
    for name, has_alpha in (
        ("webp", False),
        ("webp-lossless", False),
        ("webp-lossless-alpha", True),
    ):
        assert IMAGES[name][12:16] != b"VP8X"
        marked = embed_record(IMAGES[name], make_record())
        assert marked[12:16] == b"VP8X"
        assert bool(marked[20] & 0x10) == has_alpha


def test_the_segments_of_a_jpeg_stand_in_the_order_that_readers_expect():
    marked = embed_record(image_bytes("jpeg", exif=EXIF), make_record())
    places = [
        marked.index(name)
        for name in (b"JFIF\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"\xff\xdb")
    ]
    assert places == sorted(places)
    assert places[0] == 6


def test_the_record_of_a_png_stands_before_its_pixels():
    marked = embed_record(image_bytes("png"), make_record())
    assert marked.index(b"iTXtimagen\0") < marked.index(b"IDAT")
    with PillowImage.open(BytesIO(marked)) as opened:
        assert "imagen" in opened.info  # without decoding


def test_an_animation_keeps_its_frames():
    frames = [PillowImage.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for kind in ("WEBP", "PNG"):
        out = BytesIO()
        frames[0].save(
            out, kind, save_all=True, append_images=frames[1:], duration=50, lossless=True
        )
        marked = embed_record(out.getvalue(), make_record())
        assert open_image(marked).n_frames == 3
        assert read_record(marked) == make_record()


@EVERY_KIND
def test_what_the_provider_wrote_stays(kind):
    data = with_everything(kind)
    marked = embed_record(data, make_record())
    opened = open_image(marked)
    assert opened.info["icc_profile"] == ICC
    assert opened.getexif()[0x013B] == "Their artist"
    packet = opened.info["xmp"].decode()
    before_the_end = THEIR_XMP.index("</rdf:RDF>")
    assert packet.startswith(THEIR_XMP[:before_the_end])
    assert packet.endswith(THEIR_XMP[before_the_end:])
    assert (
        "lighthouse" not in packet.partition("<imagen:record>")[0]
    )  # the description is theirs, and said once
    assert read_record(marked) == make_record()


@EVERY_KIND
def test_embedding_again_replaces_our_record_and_nothing_else(kind):
    for data in (image_bytes(kind), with_everything(kind)):
        first, second = make_record("first", tags=("a",)), make_record("second", rating=3)
        once = embed_record(data, first)
        assert embed_record(once, first) == once
        assert embed_record(once, second) == embed_record(data, second)


@EVERY_KIND
def test_a_record_in_the_words_of_another_program_is_not_doubled(kind):
    """Programs that edit metadata write a packet anew, with names of their own."""
    marked = embed_record(image_bytes(kind), make_record())
    packet = open_image(marked).info["xmp"].decode()
    rewritten = packet.replace("imagen:", "q:").replace("xmlns:imagen", "xmlns:q")
    if kind == "png":
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", rewritten)
        data = image_bytes(kind, pnginfo=texts)
        assert read_record(embed_record(data, make_record("new"))) == make_record("new")
    else:
        data = image_bytes(kind, xmp=rewritten.encode())
        assert read_record(data) == make_record()
        assert embed_record(data, make_record("new")) is None


@EVERY_KIND
def test_a_sealed_file_is_left_alone(kind):
    data = sealed(image_bytes(kind), kind)
    assert is_sealed(data)
    assert not is_sealed(image_bytes(kind))
    assert embed_record(data, make_record()) is None


def test_a_manifest_that_lies_elsewhere_seals_as_well():
    data = sealed(image_bytes("jpeg"), "jpeg", remote_url="https://manifests.example/1")
    assert is_sealed(data)


def test_what_cannot_hold_a_record_is_left_to_a_sidecar():
    assert embed_record(image_bytes("gif", "P"), make_record()) is None
    assert embed_record(image_bytes("jpeg"), make_record("x" * 40_000)) is None
    assert embed_record(image_bytes("png")[:-5], make_record()) is None
    assert embed_record(image_bytes("jpeg")[:40], make_record()) is None
    assert embed_record(image_bytes("webp")[:-5], make_record()) is None
    assert embed_record(b"no image at all", make_record()) is None


@EVERY_KIND
def test_a_packet_that_is_none_is_left_to_a_sidecar(kind):
    for broken in (b"<x:xmpmeta", b"\xff\xfe\x00", THEIR_XMP.encode().replace(b"Their", b"\xe9")):
        if kind == "png":
            data = with_png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + broken)
        else:
            data = image_bytes(kind, xmp=broken)
        assert embed_record(data, make_record()) is None


def test_pillow_carries_the_record_along():
    png = open_image(embed_record(image_bytes("png"), make_record("naïve 🦊")))
    texts = PngInfo()
    for name, text in png.text.items():
        texts.add_itxt(name, text)
    out = BytesIO()
    png.resize((5, 5)).save(out, "PNG", pnginfo=texts)
    assert read_record(out.getvalue()) == make_record("naïve 🦊")
    for kind in ("jpeg", "webp"):
        opened = open_image(embed_record(image_bytes(kind), make_record("naïve 🦊")))
        out = BytesIO()
        opened.resize((5, 5)).save(out, kind.upper(), xmp=opened.info["xmp"])
        assert read_record(out.getvalue()) == make_record("naïve 🦊")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_text_that_another_program_wrote_anew_is_still_read(compressed):
    texts = PngInfo()
    texts.add_text(
        "imagen",
        open_image(embed_record(image_bytes("png"), make_record())).text["imagen"],
        zip=compressed,
    )
    assert read_record(image_bytes("png", pnginfo=texts)) == make_record()


# --- sidecars -----------------------------------------------------------------


def test_a_sidecar_lies_beside_the_image_and_holds_the_whole_record(tmp_path):
    path = tmp_path / "night.gif"
    record = make_record("x" * 100_000, tags=("<b>", "&"))
    assert write_sidecar(path, record) == tmp_path / "night.gif.xmp" == sidecar_of(path)
    assert read_sidecar(path) == record
    assert [file.name for file in tmp_path.iterdir()] == ["night.gif.xmp"]


def test_without_a_sidecar_there_is_no_record(tmp_path):
    assert read_sidecar(tmp_path / "night.png") is None


def test_a_sidecar_that_cannot_be_read_or_written_is_a_sentence(tmp_path):
    path = tmp_path / "night.png"
    sidecar_of(path).mkdir()
    with pytest.raises(imagen.StorageError, match=r"night\.png\.xmp"):
        read_sidecar(path)
    with pytest.raises(imagen.StorageError, match=r"night\.png\.xmp"):
        write_sidecar(path, make_record())
    assert [file.name for file in tmp_path.iterdir()] == ["night.png.xmp"]


def test_a_sidecar_without_end_is_refused(tmp_path):
    path = tmp_path / "night.png"
    with sidecar_of(path).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(imagen.InvalidRequestError, match="larger"):
        read_sidecar(path)


# --- what other programs see --------------------------------------------------


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("kind", [*EMBEDDABLE, "xmp"])
def test_exiftool_shows_what_the_image_is(kind, tmp_path):
    record = make_record('a "fox" <&> 🦊', tags=("sea", "night"), rating=4, software="0.1.0")
    if kind == "xmp":
        path = write_sidecar(tmp_path / "image", record)
    else:
        path = tmp_path / f"image.{kind}"
        path.write_bytes(embed_record(image_bytes(kind), record))
    shown = read_with_exiftool(path)
    assert shown["XMP:Description"] == 'a "fox" <&> 🦊'
    assert shown["XMP:CreatorTool"] == "imagen 0.1.0"
    assert shown["XMP:Subject"] == ["sea", "night"]
    assert shown["XMP:Rating"] == 4
    assert str(shown["XMP:DigitalSourceType"]).endswith("/trainedAlgorithmicMedia")
    assert (
        json.loads(str(shown["PNG:Imagen" if kind == "png" else "XMP:Record"]))["id"] == record.id
    )
    assert shown["ExifTool:Validate"] == "0 0 0"


def read_with_exiftool(path: Path) -> dict[str, object]:
    done = subprocess.run(
        ["exiftool", "-j", "-G", "-n", "-validate", "-all", str(path)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    (found,) = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("provider", "operation", "word"),
    [
        ("sketch", "generate", "/algorithmicMedia"),
        ("openai", "generate", "/trainedAlgorithmicMedia"),
        ("openai", "edit", "/compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_how_the_image_came_to_be_is_said_in_the_words_of_the_press(provider, operation, word):
    marked = embed_record(image_bytes("jpeg"), make_record(provider=provider, operation=operation))
    assert word.encode() in marked
