"""Images in replies of unknown form."""

from __future__ import annotations

import base64
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.metadata._whole_image import cut_out_image
from imagen.providers import HttpResponse
from imagen.providers._replies.image_search import find_images
from tests.support.images import png

DATA = png(size=(16, 16))
TEXT = base64.b64encode(DATA).decode()
URL = f"data:image/png;base64,{TEXT}"
LINK = "https://files.example/made/1.png?signature=a%2Bb&expires=9"


def found(value: object) -> list[bytes | str]:
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return find_images(HttpResponse(status=200, body=body))


FORMS = {
    "the image itself": DATA,
    "a multipart head before it": b"--x\r\nContent-Type: image/png\r\n\r\n" + DATA,
    "no list": {"data": {"b64_json": TEXT}},
    "a list of texts": {"images": [TEXT]},
    "a bare list": [TEXT],
    "a bare object": {"image": TEXT},
    "artifacts": {"artifacts": [{"base64": TEXT, "finishReason": "SUCCESS"}]},
    "snake case": {"candidates": [{"content": {"parts": [{"inline_data": {"data": TEXT}}]}}]},
    "deep": {"result": {"response": {"outputs": [{"items": [{"payload": TEXT}]}]}}},
    "chat": {"choices": [{"message": {"content": f"Here it is: ![image]({URL})"}}]},
    "chat parts": {"choices": [{"message": {"images": [{"image_url": {"url": URL}}]}}]},
    "JSON in a text": {"body": msgspec.json.encode({"data": [{"b64_json": TEXT}]}).decode()},
    "an event": b"event: done\ndata: " + msgspec.json.encode({"b64_json": TEXT}) + b"\n\n",
    "lines of JSON": b'{"status": "started"}\n' + msgspec.json.encode({"image": TEXT}) + b"\n",
    "cut off behind the image": f'{{"data": [{{"b64_json": "{TEXT}"}}], "usage": {{"in'.encode(),
    "Markdown": f"Done!\n![a cat]({URL})".encode(),
}


@pytest.mark.parametrize("value", FORMS.values(), ids=FORMS.keys())
def test_an_image_is_found(value):
    (image,) = found(value)
    assert isinstance(image, bytes)
    assert image.endswith(DATA)


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>\n'
WORDS = SVG.decode()
SVG_URL = "data:image/svg+xml;base64," + base64.b64encode(SVG).decode()
SVG_FORMS = {
    "the document itself": SVG,
    "with a byte order mark": b"\xef\xbb\xbf" + SVG,
    "a multipart head before it": b"--x\r\nContent-Type: image/svg+xml\r\n\r\n" + SVG,
    "base64": {"data": [{"b64_json": base64.b64encode(SVG).decode()}]},
    "base64 of a bare root": {"image": base64.b64encode(SVG[SVG.find(b"<svg") :]).decode()},
    "base64 with a mark": {"image": base64.b64encode(b"\xef\xbb\xbf" + SVG).decode()},
    "a data URL": {"url": SVG_URL},
    "Markdown with a data URL": {"choices": [{"message": {"content": f"![a fox]({SVG_URL})"}}]},
    "a data URL of text": {"url": "data:image/svg+xml;utf8," + WORDS},
    "a quoted data URL": {"url": "data:image/svg+xml;charset=utf-8," + quote(WORDS)},
    "a text": {"svg": WORDS},
    "output of another name": {"output": {"vector": WORDS}},
    "a text in a list": {"images": [WORDS]},
    "Markdown": {"choices": [{"message": {"content": f"Done!\n```svg\n{WORDS}```"}}]},
    "Markdown alone": f"```xml\n{WORDS}```\n".encode(),
    "JSON in a text": {"body": msgspec.json.encode({"svg": WORDS}).decode()},
}


@pytest.mark.parametrize("value", SVG_FORMS.values(), ids=SVG_FORMS.keys())
def test_a_document_of_svg_is_found(value):
    (image,) = found(value)
    assert isinstance(image, bytes)
    assert cut_out_image(image).strip() in (SVG.strip(), SVG[SVG.find(b"<svg") :].strip())


@pytest.mark.parametrize(
    "value",
    [
        b"<!DOCTYPE html><html><body><svg><path/></svg>502 Bad Gateway</body></html>",
        {"error": {"message": WORDS}},
        f"<!DOCTYPE html><style>a {{ background: url({SVG_URL}) }}</style>Gone".encode(),
        b"<html><img src='https://cdn.example/logo.svg'><h1>Too many requests</h1></html>",
        {"message": f"<html><img src='{SVG_URL}'></html>"},
        {"error": {"icon": SVG_URL, "code": 3}},
        {"error": {"badge": base64.b64encode(SVG).decode()}},
        {"prompt": WORDS, "icon_of_status": WORDS},
        {"data": [{"thumbnail": WORDS}]},
        {"image": base64.b64encode(b'<?xml version="1.0"?><Error><Code>Gone</Code>').decode()},
    ],
    ids=str,
)
def test_markup_that_is_no_result_is_left_alone(value):
    assert found(value) == []


LINKS = {
    "images": {"images": [LINK]},
    "nested": {"output": {"image": {"url": LINK}}},
    "urls by size": {"image_urls": {"original": LINK}},
    "Markdown": {"choices": [{"message": {"content": f"![image]({LINK})"}}]},
    "a text": {"text": f"Your image: {LINK}"},
    "blanks": {"data": [{"url": f" {LINK}\n"}]},
    "a plain text": LINK.encode(),
}


@pytest.mark.parametrize("value", LINKS.values(), ids=LINKS.keys())
def test_a_link_is_found(value):
    assert found(value) == [LINK]


@pytest.mark.parametrize(
    "value",
    [
        {"input": {"image": URL}, "status": "succeeded"},
        {"parameters": {"init_images": [TEXT]}},
        {"type": "image_generation.partial_image", "b64_json": TEXT},
        {"parts": [{"thought": True, "inlineData": {"data": TEXT}}]},
        {"preview": TEXT, "thumbnail_url": LINK},
        {"urls": {"get": LINK}, "status_url": LINK, "cancel_url": LINK},
        {"docs": "https://docs.example/errors", "help": "https://docs.example/a"},
        {"data": ["c29tZSB0ZXh0IHRoYXQgaXMgbm8gaW1hZ2UgYXQgYWxs"]},
    ],
    ids=str,
)
def test_what_is_no_result_is_left_alone(value):
    assert found(value) == []


def test_each_image_is_found_once_and_in_its_order():
    other = base64.b64encode(png(size=(8, 8))).decode()
    assert found({"data": [{"b64": TEXT}, {"b64": other}, {"copy_of_image": TEXT}]}) == [
        DATA,
        base64.b64decode(other),
    ]


def test_the_number_of_images_is_bounded():
    links = [f"https://x.example/{number}.png" for number in range(10_000)]
    assert len(found({"images": links})) == 64


@given(st.binary())
def test_any_bytes_give_a_list(body):
    assert isinstance(found(body), list)


@pytest.mark.parametrize("name", ["status", "logs", "urls", "stream", "polling"])
def test_an_image_is_found_where_links_lead_elsewhere(name):
    assert found({name: [{"bytesBase64Encoded": TEXT, "url": LINK}]}) == [DATA]
