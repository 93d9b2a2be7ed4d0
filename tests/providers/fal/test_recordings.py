"""What models at fal.ai were recorded to answer, read by the adapter."""

from __future__ import annotations

from decimal import Decimal

import pytest

import imagen
from imagen._results.prices import cost_of, quote_request
from imagen.providers import GeneratedImage, fal
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, recorded, reply
from tests.support.paths import SHARED
from tests.support.providers.fal import COMPLETED, FILE, SUBMITTED

LINK = "https://v3b.fal.media/files/b/example/example"

# The recording, the model that it is of (or that reads it), and its cost.
RECORDED = [
    ("flux-3.json", "fal/flux-3", "0.048"),
    ("gpt-image-1.5-edit.json", "fal/gpt-image-2", None),
    ("grok-imagine-image.json", "fal/grok-imagine", "0.02"),
    ("hunyuan-image-v3-edit.json", "fal/flux-2-pro", "0.03"),
    ("nano-banana-2.json", "fal/nano-banana-2", "0.08"),
    ("nano-banana-2-edit.json", "fal/nano-banana-2", "0.08"),
    ("nano-banana-pro.json", "fal/nano-banana-pro", "0.15"),
    ("qwen-image.json", "fal/qwen-image", "0.02"),
    ("qwen-image-3.json", "fal/qwen-image-3", "0.04"),
    ("qwen-image-edit.json", "fal/qwen-image", "0.02"),
    ("seedream-v5-lite.json", "fal/seedream-5-lite", "0.035"),
    ("seedream-v5-lite-edit.json", "fal/seedream-5-lite", "0.035"),
    ("wan-2.7.json", "fal/wan-2.7", "0.03"),
]


@pytest.mark.parametrize(("name", "model", "usd"), RECORDED)
def test_a_recorded_result_gives_its_image_and_its_cost(name, model, usd):
    response = recorded(name, "2026-11-28/fal")["response"]
    result = reply(response["body"], response["status"], **response["headers"])
    walk = Walk(fal.run(call(model)), SUBMITTED, COMPLETED, result, FILE)
    made = walk.run()
    (image,) = made.images
    assert isinstance(image, GeneratedImage)
    assert image.data == IMAGE
    assert walk.requests[-1].url.startswith(LINK)
    assert image.seed == response["body"].get("seed")
    assert made.units == Decimal(response["headers"]["x-fal-billable-units"])
    entry, request = CATALOG.find(model), imagen.Generate(prompt="a cat")
    if usd is not None:
        assert cost_of(entry, request, made).usd == Decimal(usd)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (name, model)
        for name, model, usd in RECORDED
        if usd is not None and not name.startswith(("hunyuan", "qwen-image-edit"))
    ],
)
def test_a_recorded_cost_is_what_was_quoted(name, model):
    response = recorded(name, "2026-11-28/fal")["response"]
    units = Decimal(response["headers"]["x-fal-billable-units"])
    entry, request = CATALOG.find(model), imagen.Generate(prompt="a cat")
    quote = quote_request(entry, request)
    made = imagen.providers.GeneratedImages(images=(GeneratedImage(data=IMAGE),), units=units)
    assert cost_of(entry, request, made).usd == quote.expected_usd


def test_every_recording_of_fal_is_read():
    recorded("flux-3.json", "2026-11-28/fal")
    folder = SHARED / "recorded" / "2026-11-28" / "fal"
    assert {path.name for path in folder.iterdir()} == {name for name, _, _ in RECORDED}


@pytest.mark.parametrize("images", [[], None, "x", {}])
def test_the_one_image_is_found_beside_an_empty_list(images):
    body = {"image": {"url": f"{LINK}.png", "width": 8, "height": 8}, "images": images}
    made = Walk(fal.run(call("fal/fibo-1.5")), SUBMITTED, COMPLETED, reply(body), FILE).run()
    (image,) = made.images
    assert isinstance(image, GeneratedImage)
    assert image.data == IMAGE
