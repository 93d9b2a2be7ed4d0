"""Any bytes give an answer or one sentence, in bounded time and memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.metadata import describe_file
from imagen.metadata._c2pa.manifest import read_provenance
from imagen.metadata._embed import embed_record, is_sealed, read_record
from imagen.metadata._foreign.reading import read_foreign
from imagen.metadata._formats.exif import read_user_comment
from imagen.metadata._formats.xmp import merge_packet, read_packet, write_packet
from imagen.metadata._record import decode_record
from tests.support.lengths import examples
from tests.support.metadata_files import (
    EMBEDDABLE,
    THEIR_XMP,
    coded_pixels,
    image_bytes,
    make_record,
    png_chunk,
    sealed,
    with_everything,
    with_png_chunk,
)

MEBIBYTE = 1 << 20
SEEDS = [
    *(
        image_bytes(kind, "P" if kind == "gif" else "RGB", size=(4, 4))
        for kind in (*EMBEDDABLE, "gif")
    ),
    *(embed_record(image_bytes(kind, size=(4, 4)), make_record()) for kind in EMBEDDABLE),
    *(with_everything(kind) for kind in EMBEDDABLE),
    *(sealed(image_bytes(kind, size=(4, 4)), kind) for kind in EMBEDDABLE),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file in which bytes were changed, cut out or put in, its end cut
    off.
    """
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["flip", "cut", "insert", "length", "truncate"]))
        match change:
            case "flip":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
            case "length":
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
                )
            case "truncate":
                del data[max(at, 1) :]
        data = data or bytearray(b"\0")
    return bytes(data)


@settings(max_examples=examples(300), deadline=None)
@given(damaged())
def test_a_damaged_file_gives_an_answer_or_a_sentence(data):
    is_sealed(data)
    read_foreign(data)
    for read in (read_record, lambda data: embed_record(data, make_record())):
        try:
            read(data)
        except imagen.ImagenError as error:
            assert error.message


@settings(max_examples=60, deadline=None)
@given(damaged())
def test_a_damaged_seal_is_never_a_valid_one_of_other_bytes(data):
    found = read_provenance(data)
    if found is not None and found.state in ("valid", "trusted"):
        # The manifest has room that no hash covers, so bytes of it may differ;
        # those of the image may not.
        assert coded_pixels(data) in {coded_pixels(seed) for seed in SEEDS if is_sealed(seed)}


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\xff\xff\0\0WEBP", b"GIF89a"]),
)
def test_noise_behind_a_signature_is_survived(tail, signature):
    data = signature + tail
    is_sealed(data)
    read_foreign(data)
    embed_record(data, make_record())
    read_provenance(data)


@given(st.text(max_size=300))
def test_any_text_is_a_packet_or_none(text):
    read_packet(text)
    merge_packet(text, make_record())
    merge_packet(THEIR_XMP.replace("Their words", text), make_record())


@settings(max_examples=examples(200))
@given(st.binary(max_size=300))
def test_any_bytes_are_exif_or_none(noise):
    read_user_comment(noise)
    read_user_comment(b"II*\0" + noise)
    read_user_comment(b"MM\0*" + noise)


@contextmanager
def at_most(size_bytes: int) -> Iterator[None]:
    """Fails where more memory than this was in use at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_compressed_text_that_unfolds_without_end_is_passed_over(kind):
    packer = zlib.compressobj(9)
    block = b"\0" * MEBIBYTE
    packed = b"".join(packer.compress(block) for _ in range(256)) + packer.flush()
    head = b"imagen\0\0" if kind == b"zTXt" else b"imagen\0\1\0\0\0"
    bomb = with_png_chunk(kind, head + packed)
    with at_most(32 * MEBIBYTE):
        assert read_record(bomb) is None


def test_many_small_bombs_are_few():
    packed = zlib.compress(b"\0" * (4 * MEBIBYTE), 9)
    chunks = b"".join(png_chunk(b"zTXt", b"k%d\0\0" % number + packed) for number in range(500))
    data = image_bytes("png")
    with at_most(64 * MEBIBYTE):
        assert read_record(data[:33] + chunks + data[33:]) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_that_grow_are_refused(encoding):
    entities = '<!ENTITY a "' + "x" * 100 + '">'
    for number in range(20):
        entities += f'<!ENTITY {chr(98 + number)} "{f"&{chr(97 + number)};" * 10}">'
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [{entities}]>' + THEIR_XMP.partition("?>")[2].replace(
        "Their words", "&u;"
    )
    assert read_packet(bomb.encode(encoding)) is None
    assert read_packet(bomb) is None


def test_a_packet_with_a_document_type_is_refused():
    assert read_packet(THEIR_XMP)
    assert read_packet("<!DOCTYPE x>" + THEIR_XMP.partition("?>")[2]) is None


def test_an_external_entity_is_not_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the secret", "utf-8")
    packet = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret.as_uri()}">]>' + THEIR_XMP.partition("?>")[
        2
    ].replace("Their words", "&s;")
    assert read_packet(packet) is None


def test_a_packet_nested_without_end_is_refused():
    deep = THEIR_XMP.replace("Their words", "<a>" * 100_000 + "</a>" * 100_000)
    assert read_packet(deep) is None


def test_a_text_keyword_without_end_is_none():
    assert read_record(with_png_chunk(b"tEXt", b"imagen" * 10_000)) is None
    assert read_record(with_png_chunk(b"iTXt", b"imagen\0\0\0en")) is None
    assert read_record(with_png_chunk(b"iTXt", b"imagen\0")) is None


def test_a_damaged_record_is_a_sentence():
    with pytest.raises(imagen.InvalidRequestError, match="cannot read"):
        read_record(with_png_chunk(b"tEXt", b'imagen\0{"id": 1}'))


def test_a_directory_that_claims_every_entry_is_read_to_its_end():
    assert read_user_comment(b"II*\0" + struct.pack("<I", 8) + b"\xff\xff" + b"\0" * 100) is None


def test_what_is_no_image_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(imagen.InvalidRequestError, match=r"notes\.txt is not an image"):
        describe_file(path)
    with pytest.raises(imagen.StorageError, match="cannot be read"):
        describe_file(tmp_path)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with at_most(600 * MEBIBYTE), pytest.raises(imagen.InvalidRequestError, match="256 MiB"):
        describe_file(path)


def test_a_record_nested_without_end_is_a_sentence():
    with pytest.raises(imagen.InvalidRequestError, match="record"):
        decode_record('{"request": ' + '{"a":' * 50_000)


def test_a_packet_full_of_descriptions_without_an_end_takes_no_longer_than_its_length():
    head, opening, rest = write_packet(make_record()).partition("<rdf:Description")
    opening += rest.partition(">")[0] + ">"
    packet = head + opening * (2 * MEBIBYTE // len(opening))
    began = time.process_time()
    assert merge_packet(packet, make_record()) is None
    # It takes some hundredths of a second; the square of it took a minute.
    assert time.process_time() - began < 10
