"""Everything that can be read out of a file, in one answer."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from imagen.metadata import describe_file
from imagen.metadata._embed import embed_record, write_sidecar
from tests.support.metadata_files import (
    EMBEDDABLE,
    image_bytes,
    make_record,
    sealed,
    with_everything,
    with_png_chunk,
)


@pytest.mark.parametrize("kind", EMBEDDABLE)
def test_a_file_with_everything_is_described(kind, tmp_path):
    data = embed_record(with_everything(kind), make_record())
    path = tmp_path / f"night.{kind}"
    path.write_bytes(data)
    described = describe_file(path)
    assert (described.media_type, described.width, described.height) == (f"image/{kind}", 33, 17)
    assert (described.size_bytes, described.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert described.record == make_record()
    assert (described.sidecar, described.foreign, described.provenance) == (None, None, None)
    assert not described.sealed
    assert {"ICC", "EXIF", "photoshop:Credit", "dc:description", "xmp:CreatorTool"} <= set(
        described.keys
    )
    assert described.problems == ()
    assert msgspec.json.encode(described, enc_hook=str)


def test_a_seal_is_among_the_keys(tmp_path):
    for kind in EMBEDDABLE:
        path = tmp_path / f"night.{kind}"
        path.write_bytes(sealed(image_bytes(kind), kind))
        assert "C2PA" in describe_file(path).keys


def test_the_sidecar_of_another_image_is_not_believed(tmp_path):
    path = tmp_path / "night.gif"
    path.write_bytes(image_bytes("gif", "P"))
    write_sidecar(path, make_record(sha256="00" * 32))
    described = describe_file(path)
    assert described.record is None
    assert described.sidecar is None
    assert "another image" in described.problems[0]
    write_sidecar(path, make_record(sha256=described.sha256))
    assert describe_file(path).record == make_record(sha256=described.sha256)


def test_the_record_in_the_file_goes_before_the_one_beside_it(tmp_path):
    path = tmp_path / "night.png"
    path.write_bytes(embed_record(image_bytes("png"), make_record("in the file")))
    write_sidecar(path, make_record("beside it"))
    assert describe_file(path).record.prompt == "in the file"


def test_a_damaged_record_is_told_and_hides_nothing_else(tmp_path):
    path = tmp_path / "night.png"
    path.write_bytes(with_png_chunk(b"tEXt", b"imagen\0{}", with_everything("png")))
    described = describe_file(path)
    assert described.record is None
    assert "cannot read" in described.problems[0]
    assert "ICC" in described.keys


def test_names_of_metadata_are_few_and_short(tmp_path):
    path = tmp_path / "night.png"
    data = image_bytes("png")
    for number in range(300):
        data = with_png_chunk(b"tEXt", b"%03d" % number + b"k" * 70 + b"\0text", data)
    path.write_bytes(data)
    assert len(describe_file(path).keys) == 100
