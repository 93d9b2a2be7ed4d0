"""Checking a request for OpenAI's GPT image models, field by field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import msgspec

from ..._core.edits import ImageError, open_image, read_data_url
from ..._core.fields import BadRequestError, Fields
from ..._core.forms import FormError, parse_form
from ..._core.jobs import Job
from .models import OpenAIModel, Usage

if TYPE_CHECKING:
    from PIL import Image

_MOST_IMAGES = 16
_LONGEST_URL = 20_971_520
_MOST_MASK_BYTES = 4_000_000
_MOST_IMAGE_BYTES = 50_000_000
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


class EditInputs:
    """Images of an edit, opened, and its mask, white where the first image
    changes.
    """

    def __init__(self, images: list[Image.Image], mask: Image.Image | None) -> None:
        self.images = images
        self.mask = mask


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request for GPT image models that has passed every check, `auto`
    resolved.
    """

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
    edit: EditInputs | None = None

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def read_edit(job: Job) -> tuple[Fields, EditInputs]:
    """Reads an edit in either of its two forms, the fields still unchecked.

    Raises:
        BadRequestError: an image is missing, is none, or is too large, or the
            mask does not suit the first one.
    """
    if "json" in job.received.headers.get("content-type", ""):
        fields = Fields(job.received.body)
        sources = fields.get("images")
        if not isinstance(sources, list) or not sources:
            raise BadRequestError(
                "Missing required parameter: 'images'.",
                param="images",
                code="missing_required_parameter",
            )
        named = [
            (f"images[{at}].image_url", _referred(source, at)) for at, source in enumerate(sources)
        ]
        mask = (
            None
            if fields.get("mask") is None
            else ("mask.image_url", _referred(fields.get("mask"), 0))
        )
    else:
        try:
            texts, files = parse_form(job.received.headers, job.received.body)
        except FormError as error:
            raise BadRequestError(str(error), param=None, code=None) from error
        if unknown := files.keys() - {"image", "image[]", "mask"}:
            raise BadRequestError(
                f"Unknown parameter: '{min(unknown)}'.",
                param=min(unknown),
                code="unknown_parameter",
            )
        fields = Fields.of_form(texts)
        uploads = files.get("image", [])[:1] or files.get("image[]", [])
        if not uploads:
            raise BadRequestError(
                "Missing required parameter: 'image'.",
                param="image",
                code="missing_required_parameter",
            )
        named = [(f"image[{at}]", file.data) for at, file in enumerate(uploads)]
        mask = ("mask", files["mask"][0].data) if "mask" in files else None
    if len(named) > _MOST_IMAGES:
        raise BadRequestError("At most 16 images are taken.", param="images", code="invalid_value")
    images = [_opened(data, param, _MOST_IMAGE_BYTES) for param, data in named]
    return fields, EditInputs(images, None if mask is None else _read_mask(*mask, images[0]))


def _referred(source: object, at: int) -> bytes:
    url = source.get("image_url") if isinstance(source, dict) else None
    if not isinstance(url, str) or len(url) > _LONGEST_URL:
        raise BadRequestError(
            f"Invalid 'images[{at}]': expected an image_url of at most {_LONGEST_URL} characters.",
            param=f"images[{at}].image_url",
            code="invalid_value" if url is None else "string_above_max_length",
        )
    if url.startswith("https://"):
        # In the words of a recorded reply: the simulator has no network behind
        # it.
        raise BadRequestError(
            "Error while downloading file. Upstream status code: 404.",
            param="url",
            code="invalid_value",
        )
    try:
        return read_data_url(url)
    except ImageError:
        _refuse_image(f"images[{at}].image_url")


def _opened(data: bytes, param: str, most_bytes: int) -> Image.Image:
    if len(data) >= most_bytes:
        raise BadRequestError("The image is too large.", param=param, code="image_too_large")
    try:
        return open_image(data)
    except ImageError:
        _refuse_image(param)


def _refuse_image(param: str) -> NoReturn:
    raise BadRequestError(
        "Invalid image data.",
        param=param,
        code="invalid_image_file",
        kind="image_generation_user_error",
    )


def _read_mask(param: str, data: bytes, image: Image.Image) -> Image.Image:
    """Return a mask that is white where the alpha channel is empty, i.e. where
    the image changes.
    """
    from PIL import ImageOps

    mask = _opened(data, param, _MOST_MASK_BYTES)
    if mask.format != "PNG" or "A" not in mask.getbands():
        raise BadRequestError(
            "The mask must be a PNG with an alpha channel.",
            param="mask",
            code="invalid_image_format",
        )
    if mask.size != image.size:
        raise BadRequestError(
            "The mask must have the size of the first image.", param="mask", code="invalid_value"
        )
    return ImageOps.invert(mask.getchannel("A"))


def read_ask(job: Job, fields: Fields, model: OpenAIModel, edit: EditInputs | None = None) -> Ask:
    """Check a request for a GPT image model.

    Raises:
        BadRequestError: a field is unknown, of the wrong type, out of its
            range, or does not go with another.
    """
    known = _NEWEST_FIELDS if model.complexity else _FIELDS
    if edit is not None:
        known |= {"images", "mask", *(("input_fidelity",) if model.chooses_fidelity else ())}
    fields.refuse_unknown(known)
    fields.choice("input_fidelity", ("high", "low"), "low")
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
    inputs = 0 if edit is None else len(edit.images)
    usage = model.usage(
        prompt, model.image_tokens(width, height, quality), partials=partials, inputs=inputs
    )
    # The prompt and its images are read once, whatever the number of images.
    further = msgspec.structs.replace(usage, text_in=0, image_in=0, text_out=0)
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
        usages=(
            (usage, *(further for _ in range(1, images)))[:images]
            if job.usd_per_image is None
            else None
        ),
        edit=edit,
    )


def read_size(size: str, allowed: tuple[str, ...]) -> tuple[int, int]:
    """Raises `BadRequestError` unless the size is listed, or, with no list,
    keeps gpt-image-2's rules.
    """
    read = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    width, height = (int(read[1]), int(read[2])) if read else (0, 0)
    rule = (
        f"Supported sizes are {', '.join(allowed)}, and auto."
        if allowed
        else (
            "Both sides must be multiples of 16, the ratio between 1:3 and 3:1, no side longer than"
            " 3840, and the area between 655360 and 8294400 pixels."
        )
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
        raise BadRequestError(
            message, param="size", code="invalid_value", kind="image_generation_user_error"
        )
    return width, height


def _refuse_together(name: str, other: str) -> None:
    raise BadRequestError(
        f"'{name}' cannot be used with {other}.", param=name, code="unsupported_parameter"
    )
