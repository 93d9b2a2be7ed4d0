"""The simulated edits of OpenAI refuse what the real ones refuse."""

from __future__ import annotations

import io
from typing import Any

import httpx2
import pybase64
import pytest
from PIL import Image

from imagen.testing.simulator import open_simulator
from tests.support.exchanges import input_image


def png(width: int = 64, height: int = 64, mode: str = "RGB", format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format)
    return file.getvalue()


def url_of(data: bytes) -> str:
    return f"data:image/png;base64,{pybase64.b64encode(data).decode()}"


def source(data: bytes) -> dict[str, str]:
    return {"image_url": url_of(data)}


GOOD: dict[str, Any] = {"model": "gpt-image-2", "prompt": "x", "images": [source(png())]}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"images": None}, "images", "missing_required_parameter"),
        ({"images": []}, "images", "missing_required_parameter"),
        ({"images": [source(png())] * 17}, "images", "invalid_value"),
        ({"images": [{}]}, "images[0].image_url", "invalid_value"),
        ({"images": [{"image_url": "https://x.example/1.png"}]}, "url", "invalid_value"),
        (
            {"images": [{"image_url": "data:image/png;base64,*"}]},
            "images[0].image_url",
            "invalid_image_file",
        ),
        ({"images": [source(b"<svg>")]}, "images[0].image_url", "invalid_image_file"),
        ({"images": [source(png(format="GIF"))]}, "images[0].image_url", "invalid_image_file"),
        (
            {"images": [source(png()), {"image_url": "x" * 20_971_521}]},
            "images[1].image_url",
            "string_above_max_length",
        ),
        ({"mask": source(png())}, "mask", "invalid_image_format"),
        ({"mask": source(png(32, 64, "RGBA"))}, "mask", "invalid_value"),
        ({"image": source(png())}, "image", "unknown_parameter"),
        ({"style": "vivid"}, "style", "unknown_parameter"),
        ({"response_format": "b64_json"}, "response_format", "unknown_parameter"),
        ({"input_fidelity": "high"}, "input_fidelity", "unknown_parameter"),
        ({"moderation": "none"}, "moderation", "invalid_value"),
        ({"size": "1000x1000"}, "size", "invalid_value"),
        ({"model": "gpt-image-1"}, "model", "invalid_value"),
        ({"prompt": ""}, "prompt", "invalid_value"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_wrong_edit_is_refused(fields, param, code):
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {simulator.key}"
        answer = await http.post(f"{simulator.base_url('openai')}/images/edits", json=GOOD | fields)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
        assert not simulator.bills


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([], "image"),
        ([("photo", ("a.png", png(), "image/png"))], "photo"),
        ([("image", ("a.svg", b"<svg>", "image/svg+xml"))], "image[0]"),
    ],
)
async def test_a_wrong_form_is_refused(files, param):
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {simulator.key}"
        form = [*files, ("prompt", (None, b"x")), ("model", (None, b"gpt-image-2"))]
        answer = await http.post(f"{simulator.base_url('openai')}/images/edits", files=form)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_form_may_hold_one_image_or_a_list_of_them():
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {simulator.key}"
        for names in (["image"], ["image[]", "image[]"]):
            files: list[Any] = [
                (name, ("a.png", input_image().data, "image/png")) for name in names
            ]
            fields = {"prompt": "12", "model": "gpt-image-1.5", "n": "2", "input_fidelity": "high"}
            form = [*files, *((name, (None, text.encode())) for name, text in fields.items())]
            answer = await http.post(f"{simulator.base_url('openai')}/images/edits", files=form)
            assert answer.status_code == 200
            assert len(answer.json()["data"]) == 2
            assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 194 * len(
                names
            )
