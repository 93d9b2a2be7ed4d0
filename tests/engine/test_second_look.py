"""A reader that finds words only may be wrong: its reply is searched for images."""

from __future__ import annotations

import msgspec
import pybase64
import pytest

import imagen
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG

IMAGE = {"inlineData": {"mimeType": "image/png", "data": pybase64.b64encode(PNG).decode()}}
WORDS = {"text": "Here you go:"}
USAGE = {"promptTokenCount": 8, "candidatesTokenCount": 1290, "totalTokenCount": 1298}


async def generate(home, candidate):
    body = msgspec.json.encode({"candidates": [candidate], "usageMetadata": USAGE})
    transport = ScriptedTransport(
        [ScriptedReply(chunks=(body,), headers={"content-type": "application/json"})]
    )
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), "GEMINI_API_KEY": "secret"})
    async with imagen.open_client(
        settings, transport=lambda access: transport, workers=InlineWorkers()
    ) as client:
        return await client.generate("a cat", model="gemini-nano-banana-2.1")


@pytest.mark.parametrize(
    "candidate",
    [
        {"error": {"parts": [WORDS, IMAGE]}, "finishReason": "STOP"},
        {"contents": {"parts": [WORDS, IMAGE]}, "finishReason": "STOP"},
        {"content": {"part": [WORDS, IMAGE]}, "finishReason": "STOP"},
        {"content": {"parts": [WORDS]}, "extra": [{"media": IMAGE}], "finishReason": "STOP"},
        {
            "content": {
                "parts": [{"text": f"data:image/png;base64,{IMAGE['inlineData']['data']}"}]
            },
            "finishReason": "STOP",
        },
    ],
    ids=["error", "contents", "part", "beside", "in words"],
)
async def test_an_image_under_another_name_is_found(candidate, tmp_path):
    image = await generate(tmp_path, candidate)
    assert image.data == PNG
    assert image.cost.source == "computed"


async def test_words_without_an_image_stay_a_failure(tmp_path):
    with pytest.raises(imagen.InvalidRequestError, match="answered in words") as caught:
        await generate(tmp_path, {"content": {"parts": [WORDS]}, "finishReason": "STOP"})
    assert caught.value.billed == "yes"
