"""Copies carry the record of their image; what the library keeps stays as the
provider sent it.
"""

from __future__ import annotations

import datetime
import hashlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as PillowImage

import imagen
from imagen.metadata._record import request_of
from tests.support.custom_provider import Atelier, open_atelier
from tests.support.metadata_files import EMBEDDABLE, FORMATS, credentials, image_bytes, sealed


def make_image(data: bytes, kind: str = "png", **changes: object) -> imagen.Image:
    fields: dict[str, object] = {
        "id": "0123456789abcdef",
        "request": imagen.Generate(prompt="a lighthouse", seed=4, options={"mood": "calm"}),
        "media_type": FORMATS[kind],
        "width": 33,
        "height": 17,
        "size_bytes": len(data),
        "inline_data": data,
        "model": "gpt-image-2",
        "provider": "openai",
        "created_at": datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC),
        "tags": ("sea",),
        "rating": 3,
        "notes": "for the cover",
    }
    return imagen.Image(**{**fields, **changes})


@pytest.mark.parametrize("kind", EMBEDDABLE)
def test_a_copy_says_everything_about_its_image(kind, tmp_path):
    image = make_image(image_bytes(kind), kind)
    path = image.save(tmp_path / f"copy.{kind}")
    described = imagen.metadata.describe_file(path)
    assert described.record == image.record
    assert request_of(described.record) == image.request
    assert (described.record.tags, described.record.rating) == (("sea",), 3)
    assert described.record.sha256 == hashlib.sha256(image_bytes(kind)).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == [f"copy.{kind}"]


@pytest.mark.parametrize("kind", EMBEDDABLE)
def test_a_sealed_copy_is_as_the_provider_sent_it_with_the_record_beside(kind, tmp_path):
    data = sealed(image_bytes(kind), kind)
    image = make_image(data, kind)
    path = image.save(tmp_path / f"copy.{kind}")
    assert path.read_bytes() == data
    described = imagen.metadata.describe_file(path)
    assert described.provenance.state == "valid"
    assert described.record == image.record
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"copy.{kind}", f"copy.{kind}.xmp"]


def test_a_copy_without_a_record_has_the_very_bytes(tmp_path):
    image = make_image(image_bytes("png"))
    assert image.save(tmp_path / "copy.png", record=False).read_bytes() == image_bytes("png")


def test_a_copy_can_be_sealed(tmp_path):
    chain, key = credentials()
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    signer = imagen.metadata.ContentSigner(
        certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem"
    )
    image = make_image(sealed(image_bytes("png"), "png"))
    described = imagen.metadata.describe_file(image.save(tmp_path / "copy.png", signer=signer))
    assert described.record == image.record
    assert (described.provenance.state, described.provenance.ingredients) == ("valid", 1)
    assert not (tmp_path / "copy.png.xmp").exists()


def test_the_files_of_the_library_are_never_written_over(tmp_path):
    path = tmp_path / "kept.png"
    path.write_bytes(image_bytes("png"))
    image = make_image(image_bytes("png"), path=path, inline_data=None)
    assert image.save(path) == path
    assert image.save(tmp_path / "." / "kept.png").read_bytes() == image_bytes("png")


async def test_the_record_of_an_image_made_from_another_names_it_by_its_hash(tmp_path):
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        first = await client.generate("a fox")
        second = await client.edit("at night", first)
        kept = second.data
        record = imagen.metadata.describe_file(second.save(tmp_path / "copy.png")).record
        assert second.data == kept
    assert (record.operation, record.parent_id) == ("edit", first.id)
    (source,) = record.request["images"]
    assert source["sha256"] == first.sha256
    assert request_of(record) == second.request


@pytest.mark.parametrize(
    ("environ", "signs"),
    [
        ({}, False),
        ({"IMAGEN_C2PA_CERTIFICATE": "/tls/chain.pem", "IMAGEN_C2PA_KEY": "~/key.pem"}, True),
    ],
)
def test_the_environment_names_the_certificate(environ, signs, tmp_path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **environ})
    assert (settings.content_signer is not None) == signs
    if settings.content_signer is not None:
        assert settings.content_signer.key == Path("~/key.pem").expanduser()


@pytest.mark.parametrize("name", ["IMAGEN_C2PA_CERTIFICATE", "IMAGEN_C2PA_KEY"])
def test_half_of_a_certificate_and_key_is_refused(name, tmp_path):
    with pytest.raises(imagen.ConfigurationError, match="set both"):
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path), name: "x.pem"})


@pytest.mark.parametrize("with_record", [True, False])
def test_the_record_of_an_earlier_image_does_not_stay_beside_a_new_one(tmp_path, with_record):
    target = tmp_path / "copy.png"
    make_image(sealed(image_bytes("png"), "png")).save(target)
    assert (tmp_path / "copy.png.xmp").exists()
    make_image(image_bytes("png"), request=imagen.Generate(prompt="a boat")).save(
        target, record=with_record
    )
    assert [file.name for file in tmp_path.iterdir()] == ["copy.png"]
    assert imagen.metadata.describe_file(target).problems == ()


def test_the_sidecar_of_another_program_stays(tmp_path):
    sidecar = tmp_path / "copy.png.xmp"
    sidecar.write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", "utf-8")
    make_image(image_bytes("png")).save(tmp_path / "copy.png")
    assert sidecar.exists()


CONVERTED = {
    ".png": "PNG",
    ".PNG": "PNG",
    ".jpg": "JPEG",
    ".JPEG": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
}


@pytest.mark.parametrize("ending", CONVERTED)
@pytest.mark.parametrize("kind", FORMATS)
def test_the_ending_of_a_name_decides_the_format(ending, kind, tmp_path):
    image = make_image(image_bytes(kind, "P" if kind == "gif" else "RGB"), kind)
    path = image.save(tmp_path / f"copy{ending}")
    with PillowImage.open(path) as saved:
        assert (saved.format, saved.size) == (CONVERTED[ending], (33, 17))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".gif"])
def test_a_converted_copy_carries_the_record(ending, tmp_path):
    image = make_image(image_bytes("jpeg" if ending != ".jpg" else "png"))
    described = imagen.metadata.describe_file(image.save(tmp_path / f"copy{ending}"))
    assert described.record is not None
    assert (described.record.prompt, described.record.id) == (image.prompt, image.id)
    assert not described.problems


def test_a_converted_copy_is_upright_and_white_where_it_was_clear(tmp_path):
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    turned = make_image(image_bytes("jpeg", exif=exif), "jpeg")
    with PillowImage.open(turned.save(tmp_path / "copy.png")) as saved:
        assert saved.size == (17, 33)
    clear = BytesIO()
    PillowImage.new("RGBA", (4, 4), (0, 0, 0, 0)).save(clear, "PNG")
    with PillowImage.open(make_image(clear.getvalue()).save(tmp_path / "copy.jpg")) as saved:
        assert saved.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["copy", "copy.v2", "copy.part", "copy.2026-11-29"])
def test_a_name_that_means_no_format_gets_the_bytes(name, tmp_path):
    path = make_image(image_bytes("jpeg"), "jpeg").save(tmp_path / name, record=False)
    assert (path.name, path.read_bytes()) == (name, image_bytes("jpeg"))


@pytest.mark.parametrize(
    "name", ["copy.heic", "copy.svg", "copy.txt", "copy.PDF", "copy.jxl", "copy.mp4", "copy.ico"]
)
def test_a_name_that_means_another_format_is_refused(name, tmp_path):
    with pytest.raises(imagen.InvalidRequestError, match=r"an ending such as \.png"):
        make_image(image_bytes("png")).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = make_image(image_bytes("png")).save("~/copy.png")
    assert path == tmp_path / "copy.png"
    assert path.is_file()
