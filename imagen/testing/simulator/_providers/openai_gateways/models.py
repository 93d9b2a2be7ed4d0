"""Models behind gateways: their fields, and how their images are drawn; each
gateway has a table of these.

A gateway's models differ in everything but the way to them. The tables were
written from the gateways' pages, and not from the catalog, so that an entry of
the catalog that is wrong fails against them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from ..._core.edits import ImageError, draw_edit, open_image
from ..._core.jobs import Job

if TYPE_CHECKING:
    from PIL import Image

_MEGAPIXEL = 1024 * 1024
_DEFAULT_SIDE = 1024
_SIDES = {
    "0.25": 512,
    "512": 512,
    "0.5": 512,
    "768": 768,
    "1": 1024,
    "1.5": 1536,
    "2": 2048,
    "4": 4096,
    "1mp": 1024,
    "4mp": 2048,
}
PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_FORMATS = {"jpg": "jpeg"}

Shape = Literal["size", "sides", "ratio", "input"]
Mask = Literal["white", "black", "alpha"]


class WrongInputError(Exception):
    """A field is refused; `kind` is fal.ai's name for the reason."""

    def __init__(self, field: str, message: str, kind: str = "value_error") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.kind = kind


class Takes(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    Attributes:
        required: fields that must be present, beside `prompt` if it is among
            `texts`.
        numbers: fields with the least and the most that they take; those of
            `whole` are integers.
        choices: fields for one of some words, or of some numbers.
        images: fields for one image each; `lists` for several, with the most of
            them.
        mask: the field for a mask, and how the area to change looks in it.
        shape: source of the size: one field, two, a ratio with or without a
            resolution, or the input image.
        default_size: the size if none is given.
        count: the field for the number of images.
        scale: the field for the enlargement, and its default.
        strength: the field for the change of the image, and True if more of it
            is closer to the source.
        usd: the price by the megapixels of an image (begun ones are whole) and
            of those that came in.
        usd_by: the price of an image by the fields, where these decide it.
        usd_per_input: the price of each image that came in.
        usd_per_unit: of what the gateway counts; None if it counts megapixels.
        least_pixels: of a size that is given in pixels.
        single: True if the reply holds one image, not a list.
    """

    required: tuple[str, ...] = ("prompt",)
    texts: tuple[str, ...] = ("prompt",)
    numbers: Mapping[str, tuple[float, float]] = {}
    whole: tuple[str, ...] = (
        "seed",
        "num_inference_steps",
        "steps",
        "num_images",
        "num_outputs",
        "number_of_images",
    )
    flags: tuple[str, ...] = ()
    choices: Mapping[str, tuple[object, ...]] = {}
    images: tuple[str, ...] = ()
    lists: Mapping[str, int] = {}
    mask: tuple[str, Mask] | None = None
    shape: Shape = "input"
    default_size: tuple[int, int] = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    default_format: str = "png"
    count: str | None = None
    scale: tuple[str, float] | None = None
    strength: tuple[str, bool] | None = None
    cuts_out: bool = False
    usd: Callable[[int, int], Decimal] = lambda out, into: Decimal("0.05")
    usd_by: Callable[[Mapping[str, object]], Decimal] | None = None
    usd_per_input: Decimal = Decimal(0)
    usd_per_unit: Decimal | None = None
    least_pixels: int = 1
    single: bool = False


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """An input that is fit to be drawn; lengths in pixels."""

    takes: Takes
    fields: Mapping[str, object]
    inputs: tuple[bytes, ...]
    mask: bytes | None
    width: int
    height: int
    format: str
    count: int

    @property
    def megapixels(self) -> int:
        """Return the megapixels of one image, rounded up."""
        return megapixels(self.width, self.height)

    @property
    def usd(self) -> Decimal:
        """For all of them."""
        into = sum(megapixels(*open_image(data).size) for data in self.inputs)
        takes = self.takes
        each = takes.usd_by(self.fields) if takes.usd_by else takes.usd(self.megapixels, into)
        return each * self.count + takes.usd_per_input * len(self.inputs)


def megapixels(width: int, height: int) -> int:
    """Begun ones count as whole."""
    return math.ceil(width * height / _MEGAPIXEL)


# --- reading ------------------------------------------------------------------


def read_ask(takes: Takes, fields: Mapping[str, object], fetch: Callable[[str], bytes]) -> Ask:
    """Read an input as strictly as a strict model does. `fetch` returns the
    bytes of a link or data: URL.

    Raises:
        WrongInputError: a field is missing, unknown, or invalid.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in takes.required:
        if not fields.get(name):
            raise WrongInputError(name, "Field required", "missing")
    for name, value in fields.items():
        _check_field(takes, name, value)
    named = [name for name in takes.images if name in fields]
    listed = [
        (name, place) for name in takes.lists for place, _ in enumerate(_list(fields.get(name)))
    ]
    inputs = [_read_image(name, fields[name], fetch) for name in named]
    inputs += [_read_image(name, _list(fields[name])[place], fetch) for name, place in listed]
    mask = None
    if takes.mask is not None and takes.mask[0] in fields:
        mask = _read_image(takes.mask[0], fields[takes.mask[0]], fetch)
        if open_image(mask).size != open_image(inputs[0]).size:
            raise WrongInputError(takes.mask[0], "The mask must have the size of the image.")
    width, height = _read_size(takes, fields, inputs)
    format = str(fields.get("output_format", takes.default_format))
    count = fields.get(takes.count, 1) if takes.count else 1
    assert isinstance(count, int)
    return Ask(
        takes=takes,
        fields=fields,
        inputs=tuple(inputs),
        mask=mask,
        width=width,
        height=height,
        format=_FORMATS.get(format, format),
        count=count,
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _check_field(takes: Takes, name: str, value: object) -> None:
    if name in takes.numbers or name == takes.count:
        low, high = takes.numbers.get(name, (1, 4))
        kinds = int if name in takes.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise WrongInputError(name, "Input should be a valid number", "int_type")
        assert isinstance(value, (int, float))
        if value < low:
            raise WrongInputError(
                name, f"Input should be greater than or equal to {low:g}", "greater_than_equal"
            )
        if value > high:
            raise WrongInputError(
                name, f"Input should be less than or equal to {high:g}", "less_than_equal"
            )
    elif name in takes.choices:
        # 1 and True are the same to Python, and not to JSON.
        if not any(
            value == choice and type(value) is type(choice) for choice in takes.choices[name]
        ):
            raise WrongInputError(name, f"Input should be one of {takes.choices[name]}", "one_of")
    elif name in takes.flags:
        if not isinstance(value, bool):
            raise WrongInputError(name, "Input should be a valid boolean", "bool_type")
    elif name in takes.lists:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise WrongInputError(name, "Input should be a valid list", "list_type")
        if not 1 <= len(value) <= takes.lists[name]:
            raise WrongInputError(name, f"At most {takes.lists[name]} items", "sequence_too_long")
    elif (
        name in takes.texts
        or name in takes.images
        or (takes.mask is not None and name == takes.mask[0])
    ):
        if not isinstance(value, str):
            raise WrongInputError(name, "Input should be a valid string", "string_type")
    elif name != "image_size" or takes.shape != "size":
        raise WrongInputError(name, "Extra inputs are not permitted", "extra_forbidden")


def _read_image(name: str, url: object, fetch: Callable[[str], bytes]) -> bytes:
    assert isinstance(url, str)
    try:
        data = fetch(url)
        open_image(data)
    except ImageError as error:
        raise WrongInputError(
            name, f"The image could not be loaded: {error}", "image_load_error"
        ) from None
    return data


def _read_size(takes: Takes, fields: Mapping[str, object], inputs: list[bytes]) -> tuple[int, int]:
    """Width and height of the image that comes out."""
    first = open_image(inputs[0]).size if inputs else None
    if takes.scale is not None:
        name, default = takes.scale
        factor = float(str(fields.get(name, default)).removesuffix("x"))
        assert first is not None
        return round(first[0] * factor), round(first[1] * factor)
    if takes.shape == "sides":
        sides = tuple(fields.get(name) for name in ("width", "height"))
        if (
            all(isinstance(side, int) for side in sides)
            and fields.get("aspect_ratio", "custom") == "custom"
        ):
            width, height = sides
            assert isinstance(width, int)
            assert isinstance(height, int)
            return width, height
    if takes.shape == "size" and "image_size" in fields:
        width, height = _read_image_size(fields["image_size"])
        if width * height < takes.least_pixels:
            raise WrongInputError("image_size", f"At least {takes.least_pixels} pixels")
        return width, height
    if "aspect_ratio" in takes.choices and fields.get("aspect_ratio", "1:1") not in (
        "auto",
        "match_input_image",
    ):
        return _read_ratio(takes, fields)
    return first or takes.default_size


def _read_image_size(size: object) -> tuple[int, int]:
    if isinstance(size, str) and size in PRESETS:
        return PRESETS[size]
    if isinstance(size, dict) and size.keys() == {"width", "height"}:
        width, height = size["width"], size["height"]
        if (
            type(width) is int
            and type(height) is int
            and 0 < width <= 14142
            and 0 < height <= 14142
        ):
            return width, height
    raise WrongInputError(
        "image_size",
        f"Input should be one of {', '.join(PRESETS)}, or a width and a height",
        "one_of",
    )


def _read_ratio(takes: Takes, fields: Mapping[str, object]) -> tuple[int, int]:
    word = str(fields.get("resolution") or fields.get("megapixels") or "").casefold()
    side = _SIDES.get(word.removesuffix("sq").removesuffix("k").strip(), takes.default_size[0])
    across, down = map(float, str(fields.get("aspect_ratio", "1:1")).split(":"))
    return round((side * side * across / down) ** 0.5), round((side * side * down / across) ** 0.5)


# --- drawing ------------------------------------------------------------------


def paint(job: Job, ask: Ask) -> list[bytes]:
    """Return images that show what was made of the inputs."""
    return [_paint_one(job, ask) for _ in range(job.count(ask.count))]


def black(ask: Ask) -> bytes:
    """Return the black image that replaces one that a filter withholds."""
    from PIL import Image

    return _save(Image.new("RGB", (ask.width, ask.height)), ask.format)


def _paint_one(job: Job, ask: Ask) -> bytes:
    if not ask.inputs:
        return job.draw(ask.width, ask.height, format=ask.format)
    images = [open_image(data) for data in ask.inputs]
    if ask.takes.scale is None and not ask.takes.cuts_out and ask.takes.strength is None:
        mask = None if ask.mask is None else _white(ask)
        return draw_edit(job, images, ask.width, ask.height, mask=mask, format=ask.format)
    if ask.mask is not None:
        return draw_edit(job, images, ask.width, ask.height, mask=_white(ask), format=ask.format)
    content = job.draw(ask.width, ask.height)
    return (
        content if job.spoiled else _save(_work_on(ask, images[0], open_image(content)), ask.format)
    )


def _work_on(ask: Ask, image: Image.Image, drawn: Image.Image) -> Image.Image:
    """Enlarged, cut out, or mixed with a new image."""
    from PIL import Image

    if ask.takes.cuts_out:
        cut = image.convert("RGBA")
        cut.putalpha(Image.new("L", cut.size, 128))
        return cut
    old = image.convert("RGB").resize((ask.width, ask.height))
    if ask.takes.strength is None or ask.takes.strength[0] not in ask.fields:
        return old if ask.takes.scale else drawn.convert("RGB")
    name, nearer = ask.takes.strength
    share = ask.fields[name]
    assert isinstance(share, (int, float))
    return Image.blend(old, drawn.convert("RGB"), 1 - share if nearer else share)


def _white(ask: Ask) -> Image.Image:
    """Return the mask with white where the image changes."""
    from PIL import ImageOps

    assert ask.mask is not None
    assert ask.takes.mask is not None
    image, form = open_image(ask.mask), ask.takes.mask[1]
    if form == "alpha":
        return ImageOps.invert(image.convert("RGBA").getchannel("A"))
    grey = image.convert("L")
    return grey if form == "white" else ImageOps.invert(grey)


def _save(canvas: Image.Image, format: str) -> bytes:
    file = io.BytesIO()
    # Lossless if the format can be, so that colours can be compared.
    canvas.save(
        file, format.upper(), **({"quality": 95} if format == "jpeg" else {"lossless": True})
    )
    return file.getvalue()
