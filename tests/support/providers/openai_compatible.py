"""Exchanges with servers that speak the API of OpenAI."""

from __future__ import annotations

from typing import Any

import imagen
from imagen.providers import PROVIDERS, HttpResponse
from tests.support.exchanges import (
    Walk,
    call,
    input_image,
)

XAI, OPENROUTER, SCHNELL = (
    "grok-imagine-image",
    "openrouter/gemini-3.1-flash-lite-image",
    "together/flux-1-schnell",
)


LOCAL = ["localai", "vllm-omni", "sglang", "sd-server"]


CAT, HAT = input_image(96, 64), input_image(32, 32, color="red", format="JPEG")


def walk(model: str | imagen.Model, *responses: HttpResponse, **fields: Any) -> Walk:
    asked = call(model, **fields)
    return Walk(PROVIDERS[asked.model.provider].operations["generate"](asked), *responses)


def walk_edit(
    model: str,
    *responses: HttpResponse,
    found: tuple[imagen.providers.EncodedImage, ...] = (CAT,),
    mask: imagen.providers.EncodedImage | None = None,
    count: int = 1,
    **fields: Any,
) -> Walk:
    request = imagen.Edit(
        images=("x",) * len(found),
        mask=None if mask is None else "x",
        **{"prompt": "make it green", **fields},
    )
    asked = call(model, request=request, images=found, mask=mask, count=count)
    return Walk(PROVIDERS[asked.model.provider].operations["edit"](asked), *responses)
