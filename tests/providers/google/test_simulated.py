"""The simulated Google: what it refuses, which a wrong client would have sent,
and its list of models.
"""

from __future__ import annotations

import httpx2
import pybase64
import pytest

import imagen
from imagen._transport.driver import ExchangeObserver
from imagen.providers import PROVIDERS
from imagen.providers.google import _adapter as google
from imagen.testing.simulator import open_simulator
from tests.support.drivers import open_driver
from tests.support.images import png
from tests.support.providers.google import CHEAP, open_client

# Some of the models that are looked at have a last day, and a warning that
# names it.
pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")

LARGE = "gemini-nano-banana-2.1"
IMAGEN = "vertex/imagen-4.0-generate-001"


def config(**fields: object) -> dict[str, object]:
    return {"generationConfig": fields}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (CHEAP, {"n": 2}, "Unknown name"),
        (CHEAP, config(imageConfig={"imageSize": "1K"}), "image_size"),
        (
            CHEAP,
            config(imageConfig={"imageOutputOptions": {"mimeType": "image/png"}}),
            "Unknown name",
        ),
        (LARGE, config(imageConfig={"imageSize": "2k"}), "2k"),
        (LARGE, config(imageConfig={"imageSize": "512"}), "512"),
        (LARGE, config(imageConfig={"aspectRatio": "3:1"}), "3:1"),
        (LARGE, config(seed=2**31), "seed"),
        (LARGE, config(responseModalities=["image"]), "modalities"),
        (LARGE, {"safetySettings": [{"category": "HARM", "threshold": "OFF"}]}, "category"),
        (IMAGEN, {"aspectRatio": "21:9"}, "21:9"),
        (IMAGEN, {"addWatermark": True}, "watermark"),
        (IMAGEN, {"n": 2}, "Unknown name"),
    ],
)
async def test_the_service_refuses_what_it_does_not_know(tmp_path, model, options, said):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match=said):
            await client.generate("a cat", model=model, options=options)
        assert len(simulator.received) == 1
        assert not simulator.bills


async def test_an_older_model_takes_three_images(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match="at most 3"):
            await client.edit("a hat", *[png()] * 4, model="gemini-2.5-flash-image")
        assert not simulator.received


async def test_the_list_has_the_living_image_models(tmp_path):
    async with open_simulator() as simulator:
        provider = PROVIDERS["google"]
        async with open_driver(
            simulator.base_url("google"), provider=provider, key=simulator.key
        ) as driver:
            found = await driver.run(google.list_models(), ExchangeObserver())
        assert {model.wire_name for model in found} == {
            LARGE,
            CHEAP,
            "gemini-3-pro-image",
            "gemini-2.5-flash-image",
        }
        assert simulator.received[0].headers["x-goog-api-key"] == simulator.key
        assert "authorization" not in simulator.received[0].headers
        assert not simulator.bills


# --- asked without the adapter ------------------------------------------------


async def post(provider: str, path: str, body: object) -> tuple[int, str]:
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        headers = {"x-goog-api-key": simulator.key, "authorization": f"Bearer {simulator.key}"}
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        response = await http.post(
            f"{simulator.base_url(provider)}/models/{path}", headers=headers, **content
        )
        assert bool(simulator.bills) == (response.status_code == 200)
        return response.status_code, response.json().get("error", {}).get("status", "OK")


def asked(*parts: object, **more: object) -> dict[str, object]:
    return {"contents": [{"parts": list(parts)}], **more}


CAT = {"text": "a cat"}
PNG = {"mimeType": "image/png", "data": pybase64.b64encode(png()).decode()}
WRONG = (400, "INVALID_ARGUMENT")
FINE = (200, "OK")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (asked(CAT), FINE),
        (asked({"inlineData": PNG}, CAT), FINE),
        (b"{", WRONG),
        ([], WRONG),
        ({"contents": []}, WRONG),
        ({"contents": "a cat"}, WRONG),
        ({"contents": [{"role": "system", "parts": [CAT]}]}, WRONG),
        (asked({"text": ""}), WRONG),
        (asked({"image": "x"}), WRONG),
        (asked({"inlineData": {**PNG, "mimeType": "image/gif"}}), WRONG),
        (asked({"inlineData": {**PNG, "mimeType": "image/jpeg"}}), WRONG),
        (asked({"inlineData": {**PNG, "data": "*"}}), WRONG),
        (asked(*[{"inlineData": PNG}] * 15), WRONG),
        (asked(CAT, generationConfig=7), WRONG),
        (asked(CAT, generationConfig={"candidateCount": 2}), WRONG),
        (asked({"text": "x" * 20_000_001}), WRONG),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_wrong_body_is_refused(body, expected):
    assert await post("google", f"{CHEAP}:generateContent", body) == expected


@pytest.mark.parametrize(
    "body", [{}, {"instances": []}, {"instances": [{"prompt": ""}]}, {"instance": [CAT]}], ids=str
)
async def test_a_prediction_needs_its_prompt(body):
    assert await post("vertex", "imagen-4.0-generate-001:predict", body) == WRONG


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("google", "imagen-4.0-generate-001:predict"),
        ("google", "gemini-3.1-flash-image:generateContent"),
        ("vertex", "gemini-3.1-flash-image:generateContent"),
        ("google", "nothing:generateContent"),
        ("google", CHEAP),
    ],
)
async def test_what_is_gone_is_not_found(provider, path):
    assert await post(provider, path, asked(CAT)) == (404, "NOT_FOUND")
