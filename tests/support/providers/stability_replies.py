"""Replies of Stability AI, and exchanges that get them."""

from __future__ import annotations

from typing import Any

from imagen.providers import (
    HttpResponse,
    stability,
)
from tests.support.exchanges import (
    IMAGE,
    Walk,
    call,
    input_image,
    reply,
)

MADE = HttpResponse(
    status=200,
    headers={"content-type": "image/png", "finish-reason": "SUCCESS", "seed": "7"},
    body=IMAGE,
)


FIRST, SECOND = input_image(color="red"), input_image(color="blue", format="JPEG")


def walk(model: str = "stable-image-core", *responses: HttpResponse, **fields: Any) -> Walk:
    return Walk(stability.draw(call(model, **fields)), *(responses or (MADE,)))


JOB = "f" * 64


WAITING = reply({"id": JOB, "status": "in-progress"}, 202)
