"""Steps an exchange by hand: scripted answers in, steps out, with no event loop
and no network.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pybase64
import pytest
from PIL import Image

import imagen
from imagen._requests.translation import translate
from imagen.providers import (
    PROVIDERS,
    Cancellable,
    Compute,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    PartialImage,
    Progress,
    ReadChunk,
    Wait,
)
from tests.support.paths import SHARED

IMAGE = b"\x89PNG\r\n\x1a\n and some more bytes"
IMAGE_BASE64 = pybase64.b64encode(IMAGE).decode()
CATALOG = imagen.providers.load_catalog()


class Walk:
    """One exchange on its way: what it asked for, and what it made of the
    answers.

    `responses` answer its requests in their order, `chunks` its reads of a
    streamed body, which ends when they do.
    """

    def __init__(
        self,
        exchange: imagen.providers.Exchange,
        *responses: HttpResponse,
        chunks: Iterable[bytes] = (),
    ) -> None:
        self.steps: list[object] = []
        self._exchange = exchange
        self._responses = iter(responses)
        self._chunks = iter(chunks)

    def run(self) -> GeneratedImages:
        """Steps to the end; what the exchange raises comes out."""
        answer: HttpResponse | bytes | None = None
        while True:
            try:
                step = self._exchange.send(answer)
            except StopIteration as done:
                result: GeneratedImages = done.value
                return result
            self.steps.append(step)
            answer = self._answer(step)

    def fail(self) -> imagen.ImagenError:
        """Steps to an error, which is given."""
        with pytest.raises(imagen.ImagenError) as caught:
            self.run()
        return caught.value

    def _answer(self, step: object) -> HttpResponse | bytes | None:
        match step:
            case HttpRequest():
                response = next(self._responses, None)
                assert response is not None, f"there is no answer to {step!r}"
                return response
            case ReadChunk():
                return next(self._chunks, b"")
            case Compute(call=compute):
                return compute()
            case PartialImage() | Progress() | JobAccepted() | Cancellable() | Wait():
                return None
        raise AssertionError(f"{step!r} was not expected")

    @property
    def requests(self) -> list[HttpRequest]:
        return [step for step in self.steps if isinstance(step, HttpRequest)]

    @property
    def partials(self) -> list[PartialImage]:
        return [step for step in self.steps if isinstance(step, PartialImage)]

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the last request that has any."""
        return json.loads([request.body for request in self.requests if request.body][-1])


def call(
    model: str | imagen.Model = "gpt-image-2",
    *,
    count: int = 1,
    prompt: str = "a cat",
    request: imagen.Request | None = None,
    images: tuple[imagen.providers.EncodedImage, ...] = (),
    mask: imagen.providers.EncodedImage | None = None,
    references: tuple[imagen.providers.EncodedImage, ...] = (),
    settings: dict[str, Any] | None = None,
    **fields: Any,
) -> imagen.providers.Call:
    """What the engine would hand to an exchange: a generation, or the `request`
    of another operation, translated.
    """
    entry = CATALOG.find(model) if isinstance(model, str) else model
    sent, _ = translate(
        imagen.Generate(prompt=prompt, **fields) if request is None else request, entry
    )
    provider = PROVIDERS[entry.provider]
    return imagen.providers.Call(
        request=sent,
        model=entry,
        count=count,
        images=images,
        mask=mask,
        references=references,
        settings={**provider.settings, **(settings or {})},
    )


def input_image(
    width: int = 64, height: int = 64, *, color: object = "teal", format: str = "PNG"
) -> imagen.providers.EncodedImage:
    """An image to work on."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, format)
    return imagen.providers.EncodedImage(
        data=file.getvalue(), media_type=f"image/{format.lower()}", width=width, height=height
    )


def mask_image(width: int = 64, height: int = 64) -> imagen.providers.EncodedImage:
    """A mask whose left half is white, which is the half to change."""
    file = io.BytesIO()
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (0, 0, width // 2, height))
    mask.save(file, "PNG")
    return imagen.providers.EncodedImage(
        data=file.getvalue(), media_type="image/png", width=width, height=height
    )


def reply(body: object, status: int = 200, **headers: str) -> HttpResponse:
    """An answer; anything but bytes becomes JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(
        status=status, headers={"content-type": "application/json", **names}, body=content
    )


def images(count: int = 1, **more: object) -> dict[str, object]:
    """The body of a generation that went well."""
    return {"created": 1, "data": [{"b64_json": IMAGE_BASE64}] * count, **more}


STREAM = HttpResponse(status=200, headers={"content-type": "text/event-stream; charset=utf-8"})


def sse(*events: dict[str, object], newline: str = "\n") -> bytes:
    """A stream of events as it is on the wire."""
    frames = [
        f"event: {event.get('type', 'error')}{newline}data: {json.dumps(event)}" for event in events
    ]
    return "".join(frame + newline * 2 for frame in frames).encode()


def partial(number: int = 0, **more: object) -> dict[str, object]:
    """The event of a preview."""
    event = {
        "type": "image_generation.partial_image",
        "b64_json": IMAGE_BASE64,
        "partial_image_index": number,
    }
    return {**event, **more}


def completed(**more: object) -> dict[str, object]:
    """The event of an image."""
    return {"type": "image_generation.completed", "b64_json": IMAGE_BASE64, **more}


def recorded(name: str, provider: str = "openai") -> dict[str, Any]:
    """One recording; a test that needs it is skipped where the recordings are
    not beside the checkout.
    """
    path = SHARED / "recorded" / provider / name
    if not path.exists():
        pytest.skip("the recorded replies are not beside this checkout")
    return json.loads(path.read_text("utf-8"))


def schema(spec: str, name: str) -> dict[str, Any]:
    """A request schema out of a published specification, as JSON Schema; skips
    like `recorded`.
    """
    path = SHARED / "specs" / f"{spec}.json"
    if not path.exists():
        pytest.skip("the published specifications are not beside this checkout")
    document = json.loads(path.read_text("utf-8"))
    return {
        **_without_nullable(document["components"]["schemas"][name]),
        "components": _without_nullable(document["components"]),
    }


def _without_nullable(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(node, list):
        return [_without_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _without_nullable(value) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def outcome(error: imagen.ImagenError) -> tuple[type, str, bool, str, float | None]:
    """What a caller decides by."""
    return type(error), error.code, error.retryable, error.billed, error.retry_after_seconds
