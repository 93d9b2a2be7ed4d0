"""An SVG is drawn where the extra is installed; elsewhere a placeholder says so."""

from __future__ import annotations

import msgspec
import pytest

import imagen
from imagen.library import Renditions, Transform, apply_transform, contact_sheet, thumbnail
from imagen.testing import InlineWorkers
from tests.support.drawings import decoded, image_of
from tests.support.svg import HEAD, PLAIN, needs_renderer, no_renderer

__all__ = ["no_renderer"]

GREY = (236, 236, 236)
FILES = f'<svg {HEAD} width="10" height="20"><image href="/etc/passwd"/></svg>'.encode()


@pytest.fixture
def cache(tmp_path):
    return Renditions(tmp_path / "renditions", InlineWorkers())


def svg_image(folder, data=PLAIN):
    changes = {"media_type": "image/svg+xml", "width": 10, "height": 20}
    return msgspec.structs.replace(image_of(data, folder), **changes)


@needs_renderer
async def test_a_thumbnail_is_drawn_in_its_own_size(cache, tmp_path):
    shown = decoded(await cache.read(svg_image(tmp_path), thumbnail(256)))
    assert shown.size == (128, 256)
    assert shown.convert("RGB").getpixel((0, 0))[0] > 200
    assert decoded(await cache.read(svg_image(None), Transform())).format == "PNG"


@needs_renderer
def test_a_crop_counts_the_pixels_that_the_document_has():
    data = apply_transform(PLAIN, Transform(crop=(0, 10, 10, 10)))
    assert decoded(data).size == (10, 10)
    with pytest.raises(imagen.InvalidRequestError, match="exceeds the image of 10x20"):
        apply_transform(PLAIN, Transform(crop=(0, 10, 10, 11)))


@pytest.mark.parametrize(
    ("transform", "size"),
    [(thumbnail(256), (128, 256)), (Transform(), (10, 20)), (Transform(rotate=90), (20, 10))],
)
async def test_without_the_extra_a_placeholder_has_its_shape(
    cache, no_renderer, tmp_path, transform, size
):
    shown = decoded(await cache.read(svg_image(tmp_path), transform)).convert("RGB")
    assert shown.size == size
    assert max(abs(a - b) for a, b in zip(shown.getpixel((0, 0)), GREY, strict=True)) < 4
    assert len(shown.getcolors(1 << 20)) > 1


async def test_without_the_extra_a_fault_of_the_transform_is_still_said(cache, no_renderer):
    with pytest.raises(imagen.InvalidRequestError, match="exceeds the image of 10x20"):
        await cache.read(svg_image(None), Transform(crop=(0, 0, 11, 1)))


async def test_what_cannot_be_drawn_has_a_placeholder_too(cache, tmp_path):
    shown = decoded(await cache.read(svg_image(tmp_path, FILES), thumbnail(256)))
    assert shown.size == (128, 256)


@needs_renderer
async def test_a_placeholder_is_made_again_once_the_extra_is_there(cache, tmp_path, monkeypatch):
    image = svg_image(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("imagen.metadata._svg_drawing._RENDERER", "no_such_renderer")
        before = await cache.get(image, thumbnail(256))
    after = await cache.get(image, thumbnail(256))
    assert before != after
    assert decoded(after.read_bytes()).convert("RGB").getpixel((0, 0))[1] < 60


def test_a_contact_sheet_has_no_empty_cell_for_it(no_renderer, tmp_path):
    sheet = decoded(contact_sheet([svg_image(tmp_path)], side=64, columns=1))
    assert len(sheet.getcolors(1 << 20)) > 2
