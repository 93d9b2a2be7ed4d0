"""The simulated imitations of OpenAI are as different as the real ones."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from imagen.testing.simulator import (
    NotAllowed,
    Overloaded,
    RateLimited,
    ServerError,
    open_simulator,
)

PNG = "data:image/png;base64,iVBORw0KGgo="
GENERATE, EDIT = "images/generations", "images/edits"
GROK: dict[str, Any] = {"model": "grok-imagine-image", "prompt": "x"}
GEMINI: dict[str, Any] = {"model": "google/gemini-3.1-flash-lite-image", "prompt": "x"}
FLUX: dict[str, Any] = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "x"}
PROMPT: dict[str, Any] = {"prompt": "x"}


@pytest.mark.parametrize(
    ("name", "path", "body", "status", "said"),
    [
        ("xai", GENERATE, {**GROK, "size": "1024x1024"}, 400, "Argument not supported: size"),
        ("xai", GENERATE, {**GROK, "quality": "high"}, 400, "Argument not supported: quality"),
        ("xai", GENERATE, {**GROK, "resolution": "1K"}, 400, "1K"),
        ("xai", GENERATE, {**GROK, "aspect_ratio": "5:4"}, 400, "5:4"),
        ("xai", EDIT, GROK, 400, "Missing image"),
        ("xai", EDIT, {**GROK, "image": {"url": PNG}}, 400, "type"),
        (
            "xai",
            EDIT,
            {**GROK, "images": [{"type": "image_url", "url": PNG}] * 4},
            400,
            "At most 3",
        ),
        ("xai", GENERATE, {**GROK, "model": "dall-e-3"}, 404, "does not exist"),
        ("openrouter", GENERATE, GEMINI, 404, "Not Found"),
        ("openrouter", "images", {**GEMINI, "response_format": "b64_json"}, 400, "response_format"),
        ("openrouter", "images", {**GEMINI, "input_references": [PNG]}, 400, "list of objects"),
        (
            "openrouter",
            "images",
            {**GEMINI, "input_references": [{"type": "image_url", "url": PNG}]},
            400,
            "Invalid",
        ),
        ("openrouter", "images", {**GEMINI, "model": "x/y"}, 404, "does not exist"),
        ("together", GENERATE, {**FLUX, "size": "1024x1024"}, 400, "size"),
        ("together", GENERATE, {**FLUX, "response_format": "b64_json"}, 400, "b64_json"),
        ("together", GENERATE, {**FLUX, "width": 4096}, 400, "width"),
        ("together", GENERATE, {**FLUX, "image_url": PNG}, 400, "At most 0"),
        ("together", EDIT, FLUX, 404, "Not Found"),
        ("localai", EDIT, PROMPT, 404, "Not Found"),
        ("localai", GENERATE, {**PROMPT, "model": "other"}, 400, "not loaded"),
        ("localai", GENERATE, {**PROMPT, "file": PNG}, 400, "base64"),
        ("localai", GENERATE, {**PROMPT, "num_inference_steps": 3}, 400, "num_inference_steps"),
        ("vllm_omni", GENERATE, {**PROMPT, "response_format": "url"}, 422, "url"),
        ("vllm_omni", EDIT, PROMPT, 400, "multipart"),
        ("sglang", GENERATE, {**PROMPT, "response_format": "url"}, 422, "url"),
        ("sglang", GENERATE, {**PROMPT, "quality": "high"}, 422, "quality"),
        ("sglang", GENERATE, {**PROMPT, "size": "large"}, 422, "WIDTHxHEIGHT"),
        ("sd_server", GENERATE, {**PROMPT, "response_format": "b64_json"}, 400, "response_format"),
        ("sd_server", GENERATE, {**PROMPT, "seed": 3}, 400, "seed"),
        (
            "sd_server",
            GENERATE,
            {"prompt": "<sd_cpp_extra_args>{</sd_cpp_extra_args>"},
            400,
            "extra_args",
        ),
        (
            "sd_server",
            GENERATE,
            {"prompt": '<sd_cpp_extra_args>{"a":1}</sd_cpp_extra_args>'},
            400,
            "extra_args",
        ),
    ],
    ids=lambda value: str(value)[-40:],
)
async def test_what_the_real_one_refuses_is_refused(name, path, body, status, said):
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {simulator.key}"
        answer = await http.post(f"{simulator.base_url(name)}/{path}", json=body)
        assert answer.status_code == status
        assert said in answer.text
        assert not simulator.bills


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("xai", {"error": str, "code": str}),
        ("openrouter", {"error": dict}),
        ("together", {"error": dict}),
        ("localai", {"error": dict}),
        ("vllm_omni", {"detail": str}),
        ("sglang", {"detail": str}),
        ("sd_server", {"error": str}),
    ],
)
async def test_errors_have_the_form_of_each(name, form):
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = "Bearer wrong"
        answer = await http.post(f"{simulator.base_url(name)}/images/generations", json=PROMPT)
        assert answer.status_code == 401
        assert {field: type(value) for field, value in answer.json().items()} == form


@pytest.mark.parametrize(
    "name", ["xai", "openrouter", "together", "localai", "vllm_omni", "sglang", "sd_server"]
)
async def test_faults_are_said_with_the_status_of_each(name):
    faults = [NotAllowed(), Overloaded(), ServerError(), RateLimited(), RateLimited(told="text")]
    async with (
        open_simulator(faults=faults) as simulator,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        http.headers["authorization"] = f"Bearer {simulator.key}"
        path = "images" if name == "openrouter" else GENERATE
        answers = [
            await http.post(f"{simulator.base_url(name)}/{path}", json=PROMPT) for _ in faults
        ]
        assert [answer.status_code for answer in answers] == [403, 503, 500, 429, 429]
        assert [answer.headers.get("retry-after") for answer in answers[3:]] == ["12", None]
        assert not simulator.bills
