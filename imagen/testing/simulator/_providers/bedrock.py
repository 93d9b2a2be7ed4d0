"""Amazon Bedrock's runtime: POST model/{id}/invoke for Stability AI's models, as
of the user guide of 2026.
"""

from __future__ import annotations

import io
from decimal import Decimal
from urllib.parse import unquote

import msgspec

from .._core.edits import ImageError, open_image, read_base64
from .._core.faults import (
    Decline,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    Withheld,
)
from .._core.fields import BadRequestError, Fields
from .._core.jobs import Job
from .._core.messages import Drawing, Kind, Reply, json_reply

_USD = {
    "stability.stable-image-core-v1:1": Decimal("0.04"),
    "stability.stable-image-ultra-v1:1": Decimal("0.14"),
    "stability.sd3-5-large-v1:0": Decimal("0.08"),
}
_RATIOS = ["16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"]
_FIELDS = {"prompt", "negative_prompt", "aspect_ratio", "mode", "seed", "output_format"}


class Bedrock(msgspec.Struct, frozen=True, kw_only=True):
    """One region, for keys of the Bedrock API."""

    name: str = "bedrock"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        invokes = path.startswith("/model/") and path.endswith("/invoke")
        return "create" if method == "POST" and invokes else "other"

    def answer(self, job: Job) -> Reply | Drawing:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return _error(403, "AccessDeniedException", "Authentication failed.")
        model = unquote(job.path.removeprefix("/model/").removesuffix("/invoke"))
        if self.kind(job.received.method, job.path) != "create" or model not in _USD:
            return _error(404, "ResourceNotFoundException", "Could not resolve the model.")
        try:
            return self._draw(job, model)
        except BadRequestError as refusal:
            return _error(400, "ValidationException", str(refusal))

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Too many requests. Please try again in {wait:g}s."
                    if told == "text"
                    else "Too many requests."
                )
                reply = _error(429, "ThrottlingException", text)
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return msgspec.structs.replace(reply, headers=reply.headers + headers)
            case QuotaExhausted():
                return _error(400, "ServiceQuotaExceededException", "The quota is used up.")
            case Overloaded():
                return _error(503, "ServiceUnavailableException", "Try again.")
            case NotAllowed():
                return _error(403, "AccessDeniedException", "You may not use the model.")
            case Refused():
                text = "This request has been blocked by our content filters."
                return _error(400, "ValidationException", text)
            case _:
                return _error(500, "InternalServerException", "Internal error.")

    def _draw(self, job: Job, model: str) -> Drawing:
        fields = Fields(job.received.body)
        varies = "sd3-5" in model
        fields.refuse_unknown(_FIELDS | ({"image", "strength"} if varies else set()))
        fields.prompt(longest=10000)
        mode = fields.choice("mode", ("text-to-image", "image-to-image"), "text-to-image")
        if (mode == "image-to-image") is not ("image" in fields):
            raise BadRequestError("mode and image belong together", param="mode", code=None)
        seed = fields.integer("seed", 0, 2**32 - 1, 0) or job.chance.getrandbits(32)
        strength = fields.number("strength", 0, 1)
        format = fields.choice("output_format", ("png", "jpeg"), "png")
        width, height = _shape(fields.choice("aspect_ratio", _RATIOS, "1:1"))
        image = _read_image(fields) if varies and "image" in fields else None
        usd = _USD[model] if job.usd_per_image is None else job.usd_per_image

        def paint() -> Reply:
            if isinstance(job.fault, Withheld):
                reasons: list[str | None] = ["Filter reason: output image"]
                return json_reply({"seeds": [seed], "finish_reasons": reasons, "images": [""]})
            if image is None:
                content = job.draw(width, height, format=format)
            else:
                content = _blend(job, image, strength or 0.0, format)
            payload = {
                "seeds": [seed],
                "finish_reasons": [None],
                "images": [job.as_base64(content)],
            }
            return json_reply(payload)

        return Drawing(model=model, images=1, usd=usd, paint=paint)


def _shape(ratio: str) -> tuple[int, int]:
    wide, _, high = ratio.partition(":")
    factor = (int(wide) / int(high)) ** 0.5
    return round(1024 * factor / 16) * 16, round(1024 / factor / 16) * 16


def _read_image(fields: Fields) -> bytes:
    try:
        data = read_base64(fields.text("image"))
        open_image(data)
    except ImageError as error:
        raise BadRequestError(str(error), param="image", code=None) from error
    return data


def _blend(job: Job, image: bytes, strength: float, format: str) -> bytes:
    from PIL import Image

    old = open_image(image).convert("RGB")
    drawn = job.draw(old.width, old.height)
    if job.spoiled:
        return drawn
    file = io.BytesIO()
    Image.blend(old, open_image(drawn).convert("RGB"), strength).save(file, format.upper())
    return file.getvalue()


def _error(status: int, kind: str, text: str) -> Reply:
    header = ("x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/")
    return json_reply({"message": text}, status=status, headers=(header,))


SIMULATED = (Bedrock(),)
