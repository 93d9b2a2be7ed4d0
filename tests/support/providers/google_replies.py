"""Replies of Google, and exchanges that get them."""

from __future__ import annotations

from imagen.providers import HttpResponse
from tests.support.exchanges import (
    IMAGE_BASE64,
    reply,
)

CHEAP = "gemini-3.1-flash-lite-image"


IMAGEN = "vertex/imagen-4.0-generate-001"


def drawn(*parts: dict[str, object], **more: object) -> dict[str, object]:
    """The body of an answer that went well."""
    image = {"inlineData": {"mimeType": "image/png", "data": IMAGE_BASE64}}
    return {"candidates": [{"content": {"parts": [*parts, image]}, "finishReason": "STOP"}], **more}


def predicted(*items: object) -> dict[str, object]:
    return {"predictions": list(items)}


ITEM = {"mimeType": "image/png", "bytesBase64Encoded": IMAGE_BASE64}


def listed(*names: str, token: str = "") -> HttpResponse:
    models = [
        {"name": f"models/{name}", "displayName": name.title(), "version": "1"} for name in names
    ]
    return reply({"models": models, **({"nextPageToken": token} if token else {})})
