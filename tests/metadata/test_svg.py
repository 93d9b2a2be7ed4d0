"""SVG documents: found, measured, kept whole, judged, and drawn."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

import imagen
from imagen.metadata._embed import kind_of
from imagen.metadata._formats.svg import find_svg, read_svg
from imagen.metadata._image_header import read_image_header
from imagen.metadata._only_pixels import holds_only_pixels
from imagen.metadata._seen import as_seen
from imagen.metadata._svg_drawing import draw_svg
from imagen.metadata._whole_image import cut_out_image
from tests.metadata.test_saving import make_image
from tests.support.images import PNG
from tests.support.svg import (
    ENTITIES,
    HEAD,
    PLAIN,
    SCRIPT,
    SIZES,
    SQUARE,
    needs_renderer,
    no_renderer,
)

__all__ = ["no_renderer"]


@pytest.mark.parametrize(("text", "size"), SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_document_is_measured_as_a_browser_does(text, size, encoding):
    data = text.replace("UTF-8", encoding.removesuffix("-sig")).encode(encoding)
    assert kind_of(data) == "image/svg+xml"
    found = read_image_header(cut_out_image(data))
    assert (found.media_type, found.width, found.height) == ("image/svg+xml", *size)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html><body><svg width='1' height='1'></svg></body></html>",
        b"<html><svg/></html>",
        b"<svgz/>",
        b"<!-- <svg/> -->",
        b"<!--" * 50_000,
        b"<?xml?>" * 50_000,
        b'{"text": "<svg/>"}',
        b'[{"svg": "<svg/>"}]',
        b"",
        b"<",
        ENTITIES,
    ],
)
def test_what_is_no_document_or_declares_entities_is_no_image(data):
    with pytest.raises(imagen.ProviderError, match="not an image"):
        cut_out_image(data)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-1],
        PLAIN[: len(PLAIN) // 2],
        PLAIN.replace(b"</svg>", b"</svg"),
        PLAIN.replace(b"/>", b">"),
        PLAIN.replace(b"#f00", b"\xff\xff"),
        b"<svg><g></svg></g>",
        b"<svg>&nbsp;</svg>",
        b"<svg>a < b</svg>",
    ],
)
def test_a_document_without_its_end_or_form_is_no_image(data):
    with pytest.raises(imagen.ProviderError, match=r"end is missing|not an image"):
        cut_out_image(data)


@pytest.mark.parametrize("before", [b"", b"\r\n\r\n", b"Here it is:\n```svg\n", b"1f40\r\n"])
@pytest.mark.parametrize("after", [b"", b"\n```\nEnjoy.", b"\0\0", b"<svg/>", b"\r\n0\r\n"])
def test_stray_bytes_around_a_document_are_left_out(before, after):
    assert cut_out_image(before + PLAIN + after) == PLAIN


def test_a_comment_behind_the_root_and_the_head_of_another_format_inside_stay():
    data = b"<svg><!-- GIF89a --><g/></svg>\n<!-- made by hand -->\n"
    assert cut_out_image(data) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_not(data):
    assert find_svg(data) in (None, *range(len(data)))
    found = read_svg(data)
    assert found is None or 0 < found.end <= len(data)


# --- what browsers would do with it -------------------------------------------

ACTIVE = {
    "a script": "<script>alert(1)</script>",
    "a script with a prefix": '<s:script xmlns:s="x">alert(1)</s:script>',
    "a handler": '<rect onload="alert(1)"/>',
    "a handler in capitals": '<rect OnClick="alert(1)"/>',
    "HTML": "<foreignObject><iframe/></foreignObject>",
    "a link": '<a href="https://example.com"><rect/></a>',
    "a link to a script": '<a xlink:href=" JavaScript:alert(1)"><rect/></a>',
    "an animated link": '<set attributeName="href" to="javascript:alert(1)"/>',
    "another image": '<image href="https://example.com/a.png"/>',
    "a document inside": '<image href="data:image/svg+xml,%3Csvg/%3E"/>',
    "a style from elsewhere": "<style>@import 'https://example.com/a.css';</style>",
    "a style in pieces": "<style>@imp<![CDATA[ort 'https://example.com']]></style>",
    "a fill from elsewhere": '<rect fill="url(https://example.com/#a)"/>',
    "a style with escapes": "<style>@\\69mport 'x';</style>",
    "another base": '<use xml:base="https://example.com/" href="#a"/>',
    "an instruction": "<?xml-stylesheet href='https://example.com/a.css'?>",
}
INERT = {
    "shapes": "<g><path d='M0 0'/><circle r='1'/></g>",
    "a gradient": "<defs><linearGradient id='a'><stop/></linearGradient></defs>"
    "<rect fill='url(#a)' style='stroke:url( \"#a\" )'/>",
    "a use": "<symbol id='a'/><use href='#a'/><use xlink:href='#a'/>",
    "pixels": '<image href="data:image/png;base64,iVBORw0KGgo="/>',
    "a style": "<style>.a { fill: red }</style>",
    "a filter": "<filter id='a'><feGaussianBlur stdDeviation='2'/></filter>",
    "words": "<title>a &amp; b</title><text>on &lt;script&gt;</text>",
}


@pytest.mark.parametrize("inside", ACTIVE.values(), ids=ACTIVE.keys())
def test_what_acts_or_shows_what_is_elsewhere_is_known(inside):
    found = read_svg(f"<svg {HEAD}>{inside}</svg>".encode())
    assert found is not None
    assert not found.is_inert


def test_a_handler_by_the_document_type_is_known():
    declared = b'<!DOCTYPE svg [<!ATTLIST svg onload CDATA "alert(1)">]><svg></svg>'
    found = read_svg(declared)
    assert found is not None
    assert not found.is_inert


@pytest.mark.parametrize("inside", INERT.values(), ids=INERT.keys())
def test_what_only_draws_is_inert(inside):
    found = read_svg(f"<svg {HEAD}>{inside}</svg>".encode())
    assert found is not None
    assert found.is_inert
    assert not found.needs_files


def test_no_document_counts_as_bare_pixels():
    assert not holds_only_pixels(PLAIN)


# --- drawing ------------------------------------------------------------------


@needs_renderer
def test_a_document_is_drawn_in_its_size_and_in_any_other():
    def drawn(**options):
        with PillowImage.open(BytesIO(draw_svg(PLAIN, **options))) as image:
            return image.size, image.convert("RGB").getpixel((0, 0))

    assert drawn(max_pixels=1 << 20) == ((10, 20), (255, 0, 0))
    assert drawn(max_pixels=1 << 20, side=400) == ((200, 400), (255, 0, 0))
    assert drawn(max_pixels=50, side=400) == ((5, 10), (255, 0, 0))


@needs_renderer
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_a_document_of_any_encoding_is_drawn(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><svg {HEAD} width="9"><!-- é -->{SQUARE}'
    assert draw_svg(f"{text}</svg>".encode(encoding), max_pixels=1 << 20)


@needs_renderer
@pytest.mark.parametrize(
    "inside",
    ["<g>" * 100_000 + "</g>" * 100_000, '<image href="data:image/png;base64,AA">', "<y:g/>"],
    ids=["deep", "broken", "prefix"],
)
def test_what_stops_the_renderer_is_an_error_and_stops_nothing_else(inside):
    with pytest.raises(imagen.InvalidRequestError, match="The SVG"):
        draw_svg(f"<svg {HEAD}>{inside}</svg>".encode(), max_pixels=1 << 20)


@pytest.mark.parametrize("element", ["image", "use", "feImage"])
@pytest.mark.parametrize("attribute", ["href", "xlink:href"])
def test_a_file_of_this_machine_is_never_read(element, attribute, tmp_path):
    file = tmp_path / "secret.png"
    file.write_bytes(PNG)
    for link in (str(file), file.as_uri(), "secret.png", "../secret.png"):
        inside = f'<{element} width="9" height="9" {attribute}="{link}"/>'
        text = f'<svg {HEAD} xmlns:xlink="http://www.w3.org/1999/xlink">{inside}</svg>'
        with pytest.raises(imagen.InvalidRequestError, match="shows other files"):
            draw_svg(text.encode(), max_pixels=1 << 20)


@needs_renderer
def test_a_document_inside_of_another_reads_no_file_either(tmp_path):
    file = tmp_path / "red.png"
    PillowImage.new("RGB", (10, 10), (255, 0, 0)).save(file)

    def drawn(inside: str) -> tuple[int, ...]:
        inner = f'<svg {HEAD} width="10" height="10">{inside}</svg>'.encode()
        link = f"data:image/svg+xml;base64,{base64.b64encode(inner).decode()}"
        text = f'<svg {HEAD} width="10" height="10"><image width="10" height="10" href="{link}"/>'
        data = draw_svg(f"{text}</svg>".encode(), max_pixels=1 << 20)
        with PillowImage.open(BytesIO(data)) as image:
            return image.convert("RGBA").getpixel((5, 5))

    assert drawn('<rect width="10" height="10" fill="#0f0"/>') == (0, 255, 0, 255)
    for name in (str(file), file.as_uri()):
        assert drawn(f'<image width="10" height="10" href="{name}"/>')[3] == 0


@needs_renderer
@pytest.mark.parametrize("words", ["raise SystemExit(3)", "import time; time.sleep(9)"])
def test_a_renderer_that_stops_or_hangs_is_ended(words, monkeypatch):
    monkeypatch.setattr("imagen.metadata._svg_drawing._PROGRAM", words)
    monkeypatch.setattr("imagen.metadata._svg_drawing._SECONDS", 0.5)
    with pytest.raises(imagen.InvalidRequestError, match="The SVG cannot be drawn"):
        draw_svg(PLAIN, max_pixels=1 << 20)


@needs_renderer
def test_the_renderer_is_not_given_the_keys_of_providers(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "do-not-tell")
    program = "import os, sys; sys.exit('key' if 'OPENAI_API_KEY' in os.environ else 'none')"
    monkeypatch.setattr("imagen.metadata._svg_drawing._PROGRAM", program)
    with pytest.raises(imagen.InvalidRequestError, match="cannot be drawn: none"):
        draw_svg(PLAIN, max_pixels=1 << 20)


@needs_renderer
def test_a_machine_that_starts_no_process_says_so(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(imagen.InvalidRequestError, match="no process can be started"):
        draw_svg(PLAIN, max_pixels=1 << 20)


@needs_renderer
def test_an_input_is_seen_as_pixels():
    seen = as_seen(PLAIN)
    assert (seen.media_type, seen.width, seen.height) == ("image/png", 512, 1024)
    assert as_seen(PLAIN, max_pixels=50).height == 10


def test_without_the_extra_a_drawing_names_it(no_renderer, tmp_path):
    image = make_image(PLAIN, media_type="image/svg+xml", width=10, height=20)
    for draw in (
        lambda: as_seen(PLAIN),
        lambda: image.save(tmp_path / "copy.png"),
        lambda: imagen.library.apply_transform(PLAIN, imagen.library.thumbnail()),
    ):
        with pytest.raises(imagen.ConfigurationError, match=r"imagen-trio\[svg\]"):
            draw()


# --- copies -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["copy.svg", "copy.SVG", "copy"])
def test_a_copy_keeps_its_bytes_and_has_its_record_beside(name, tmp_path):
    image = make_image(SCRIPT, media_type="image/svg+xml", width=10, height=20)
    path = image.save(tmp_path / name)
    assert path.read_bytes() == SCRIPT
    described = imagen.metadata.describe_file(path)
    assert described.record == image.record
    assert described.sidecar == tmp_path / f"{name}.xmp"
    assert (described.media_type, described.width, described.height) == ("image/svg+xml", 10, 20)
    assert not described.sealed


@needs_renderer
def test_a_copy_in_pixels_is_drawn_and_has_its_record_inside(tmp_path):
    image = make_image(PLAIN, media_type="image/svg+xml", width=10, height=20)
    path = image.save(tmp_path / "copy.png")
    with PillowImage.open(path) as saved:
        assert saved.size == (10, 20)
    assert imagen.metadata.describe_file(path).record.prompt == image.prompt


def test_a_notebook_shows_an_image_and_runs_nothing():
    shown = make_image(SCRIPT, media_type="image/svg+xml")._repr_html_()
    assert '<img src="data:image/svg+xml;base64,' in shown
    assert "script" not in shown
