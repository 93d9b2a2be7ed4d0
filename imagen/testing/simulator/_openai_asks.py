"""Checking a request for OpenAI's GPT image models, field by field."""

import re

import msgspec

from ._fields import BadRequestError, Fields
from ._jobs import Job
from ._openai_models import OpenAIModel, Usage

_FIELDS = frozenset(
    (
        "prompt",
        "model",
        "n",
        "size",
        "quality",
        "output_format",
        "output_compression",
        "background",
        "moderation",
        "stream",
        "partial_images",
        "user",
    )
)
_NEWEST_FIELDS = _FIELDS | {"complexity", "frame_count", "frame_duration_ms"}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request for GPT image models that has passed every check, `auto` resolved."""

    model: OpenAIModel
    prompt: str
    images: int
    width: int
    height: int
    quality: str
    format: str
    background: str
    frames: int
    partials: int
    usages: tuple[Usage, ...] | None  # one per image; None where the price is fixed

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def read_ask(job: Job, fields: Fields, model: OpenAIModel) -> Ask:
    """Check a request for a GPT image model.

    Raises:
        BadRequestError: a field is unknown, of the wrong type, out of its range, or does not go with another.
    """
    fields.refuse_unknown(_NEWEST_FIELDS if model.complexity else _FIELDS)
    prompt = fields.prompt(longest=model.longest_prompt)
    images = job.count(fields.integer("n", 1, model.most_images, 1))
    size = fields.text("size", "auto")
    width, height = (1024, 1024) if size == "auto" else read_size(size, model.sizes)
    quality = fields.choice("quality", ("auto", *model.qualities), "auto")
    quality = model.auto_quality if quality == "auto" else quality
    format = fields.choice("output_format", model.formats, "png")
    fields.integer("output_compression", 0, 100, 100)
    if "output_compression" in fields and format not in ("jpeg", "webp"):
        _refuse_together("output_compression", f"output_format '{format}'")
    background = fields.choice("background", ("auto", "opaque", "transparent"), "auto")
    if background == "transparent" and not (model.transparent and format in ("png", "webp")):
        message = f"A transparent background is not available for {model.id} with {format}."
        raise BadRequestError(message, param="background", code="invalid_value")
    fields.choice("moderation", ("auto", "low"), "auto")
    fields.text("user")
    streamed = fields.flag("stream")
    partials = fields.integer("partial_images", 0, 3, 0)
    if "partial_images" in fields and not streamed:
        _refuse_together("partial_images", "stream left out")
    if streamed and format == "gif":
        _refuse_together("stream", "output_format 'gif'")
    if model.complexity:
        fields.choice("complexity", ("low", "medium", "high"), "high")
    frames = fields.integer("frame_count", 2, 16, 9)
    fields.integer("frame_duration_ms", 20, 655_350, 200)
    for name in ("frame_count", "frame_duration_ms"):
        if name in fields and format != "gif":
            _refuse_together(name, f"output_format '{format}'")
    usage = model.usage(prompt, model.image_tokens(width, height, quality), partials=partials)
    # The prompt is read once, whatever the number of images.
    further = msgspec.structs.replace(usage, text_in=0)
    return Ask(
        model=model,
        prompt=prompt,
        images=images,
        width=width,
        height=height,
        quality=quality,
        format=format,
        background="opaque" if background == "auto" else background,
        frames=frames if format == "gif" else 1,
        partials=partials,
        usages=(usage, *(further for _ in range(1, images)))[:images] if job.usd_per_image is None else None,
    )


def read_size(size: str, allowed: tuple[str, ...]) -> tuple[int, int]:
    """Raises `BadRequestError` unless the size is listed, or, with no list, keeps gpt-image-2's rules."""
    read = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    width, height = (int(read[1]), int(read[2])) if read else (0, 0)
    rule = (
        f"Supported sizes are {', '.join(allowed)}, and auto."
        if allowed
        else "Both sides must be multiples of 16, the ratio between 1:3 and 3:1, no side longer than 3840, "
        "and the area between 655360 and 8294400 pixels."
    )
    fits = (
        size in allowed
        if allowed
        else width % 16 == height % 16 == 0
        and max(width, height) <= min(3840, 3 * min(width, height))
        and 655_360 <= width * height <= 8_294_400
    )
    if not fits:
        message = f"Invalid size '{size}'. {rule}"
        raise BadRequestError(message, param="size", code="invalid_value", kind="image_generation_user_error")
    return width, height


def _refuse_together(name: str, other: str) -> None:
    raise BadRequestError(f"'{name}' cannot be used with {other}.", param=name, code="unsupported_parameter")
