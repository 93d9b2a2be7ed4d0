"""Other sizes, cuts and formats of an image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from ..._errors import ConfigurationError, InvalidRequestError
from ...metadata._image_header import read_image_header
from .decoding import MAX_PIXELS, open_image, read_image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = [
    "ImageFormat",
    "Transform",
    "apply_transform",
    "encode_image",
    "flatten",
    "suffix_of",
    "thumbnail",
]

Fit = Literal["contain", "cover", "stretch"]
ImageFormat = Literal["png", "jpeg", "webp", "avif"]

_SIDES = range(16, 16385)
_SUFFIXES: dict[ImageFormat, str] = {
    "png": ".png",
    "jpeg": ".jpg",
    "webp": ".webp",
    "avif": ".avif",
}
# Where nobody sees a difference at arm's length; each format counts on a scale
# of its own.
_QUALITY: dict[ImageFormat, int] = {"png": 0, "jpeg": 85, "webp": 80, "avif": 65}
_KEPT_FORMATS: dict[str, ImageFormat] = {"image/jpeg": "jpeg", "image/webp": "webp"}
_WHITE = (255, 255, 255)


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """What to make of an image: first `crop`, then `rotate`, then the size,
    then the format.

    Args:
        width: In pixels, from 16 to 16384.
        height: The same. With "contain" one of both is enough.
        fit: "contain" fits the whole image into width and height, "cover" fills
            them and cuts off what stands over, "stretch" bends it to them.
        enlarge: Whether it may get more pixels than it has; else the result is
            smaller than asked where the image is.
        crop: Left, top, width and height of the part that is kept, in pixels of
            the upright image.
        rotate: Degrees clockwise.
        format: Of the file; None keeps it, and a GIF becomes a PNG. JPEG has no
            alpha: what shows through becomes white.
        quality: From 1 to 100, by the format's own scale; a PNG is lossless.

    Raises:
        InvalidRequestError: a value is out of its bounds.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = "contain"
    enlarge: bool = False
    crop: tuple[int, int, int, int] | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    format: ImageFormat | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        if any(side is not None and side not in _SIDES for side in (self.width, self.height)):
            raise InvalidRequestError(
                "Width and height of a transform are from 16 to 16384 pixels."
            )
        if self.fit not in ("contain", "cover", "stretch"):
            raise InvalidRequestError(f"An image can contain, cover or stretch, not {self.fit!r}.")
        if self.fit != "contain" and (self.width is None or self.height is None):
            raise InvalidRequestError(f'The fit "{self.fit}" needs both a width and a height.')
        if self.rotate not in (0, 90, 180, 270):
            raise InvalidRequestError("An image is rotated by 0, 90, 180 or 270 degrees.")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise InvalidRequestError(
                "A crop is left, top, width and height in pixels, none of them below 0."
            )
        if self.format is not None and self.format not in _SUFFIXES:
            raise InvalidRequestError(
                f"The format is png, jpeg, webp or avif, not {self.format!r}."
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidRequestError("The quality is from 1 to 100.")


def thumbnail(side: Literal[256, 512, 1024] = 512) -> Transform:
    """The small image for an overview: whole, within a square, as WebP. Of few
    sizes, so that they are made once.

    Raises:
        InvalidRequestError: it is none of these sizes.
    """
    if side not in (256, 512, 1024):
        raise InvalidRequestError(
            f"Thumbnails have 256, 512 or 1024 pixels, not {side}; a Transform has any size."
        )
    return Transform(width=side, height=side, format="webp")


def suffix_of(transform: Transform, media_type: str) -> str:
    """The ending of the file that comes of it, with its dot, where the image
    has this media type.
    """
    return _SUFFIXES[_format(transform, media_type)]


def apply_transform(source: bytes | Path, transform: Transform) -> bytes:
    """Makes another image of one, without what its file says beside the pixels
    but for the ICC profile. Blocking.

    Args:
        source: The bytes of an image, or its file.

    Raises:
        InvalidRequestError: the image cannot be decoded, the crop lies outside
            of it, or there would be too many pixels.
        ConfigurationError: AVIF is asked for, and this Pillow lacks it.
        StorageError: the file cannot be read.
    """
    data = read_image(source) if isinstance(source, Path) else source
    image = open_image(data, side=_decoded_side(transform))
    profile = image.info.get("icc_profile")
    if transform.crop is not None:
        image = _crop(image, transform.crop)
    if transform.rotate != 0:
        image = _rotate(image, transform.rotate)
    image = _resize(image, transform)
    return encode_image(
        image,
        _format(transform, read_image_header(data).media_type),
        quality=transform.quality,
        profile=profile,
    )


def encode_image(
    image: Pixels, format: ImageFormat, *, quality: int | None = None, profile: bytes | None = None
) -> bytes:
    """The bytes of a file.

    Raises:
        InvalidRequestError: the format has no room for so many pixels.
        ConfigurationError: this Pillow lacks the format.
    """
    if format == "avif":
        _check_avif()
    if format == "jpeg":
        image = flatten(image)
    out = BytesIO()
    options: dict[str, bytes | int | bool | None] = {"icc_profile": profile}
    if format != "png":
        options["quality"] = _QUALITY[format] if quality is None else quality
    if format == "jpeg":
        options |= {"optimize": True, "progressive": True}
    try:
        image.save(out, format, **options)
    except (OSError, ValueError) as error:
        size = f"{image.width}x{image.height}"
        raise InvalidRequestError(
            f"An image of {size} cannot be written as {format}: {error}."
        ) from error
    return out.getvalue()


def flatten(image: Pixels) -> Pixels:
    """The image on white, where something shows through it."""
    import PIL.Image

    if image.mode != "RGBA":
        return image
    ground = PIL.Image.new("RGB", image.size, _WHITE)
    ground.paste(image, mask=image)
    return ground


def _format(transform: Transform, media_type: str) -> ImageFormat:
    return transform.format or _KEPT_FORMATS.get(media_type, "png")


def _check_avif() -> None:
    from PIL import features

    if not features.check("avif"):
        raise ConfigurationError(
            "This Pillow cannot write AVIF: install pillow 11.3 or newer, or choose webp."
        )


def _decoded_side(transform: Transform) -> int | None:
    """Below which size an image need not be decoded: a crop counts in pixels of
    the whole.
    """
    if transform.crop is not None or (transform.width is None and transform.height is None):
        return None
    # Twice as much as is wanted, so that the smaller image is as sharp as one
    # made from all of it.
    return 2 * max(transform.width or 0, transform.height or 0)


def _crop(image: Pixels, crop: tuple[int, int, int, int]) -> Pixels:
    left, top, width, height = crop
    if left + width > image.width or top + height > image.height:
        raise InvalidRequestError(
            f"The crop {left},{top},{width},{height} reaches beyond the image of"
            f" {image.width}x{image.height}."
        )
    return image.crop((left, top, left + width, top + height))


def _rotate(image: Pixels, degrees: Literal[90, 180, 270]) -> Pixels:
    from PIL.Image import Transpose

    # Pillow counts against the clock.
    turns = {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}
    return image.transpose(turns[degrees])


def _resize(image: Pixels, transform: Transform) -> Pixels:
    size, part = _target(image.size, transform)
    if size == image.size and part is None:
        return image
    if size[0] * size[1] > MAX_PIXELS:
        raise InvalidRequestError(
            f"{size[0]}x{size[1]} are more than {MAX_PIXELS:,} pixels: ask for less."
        )
    from PIL.Image import Resampling

    # The gap lets Pillow go down in two steps, which is several times as fast
    # and looks the same from 3 on.
    return image.resize(size, Resampling.LANCZOS, box=part, reducing_gap=3.0)


def _target(
    size: tuple[int, int], transform: Transform
) -> tuple[tuple[int, int], tuple[float, float, float, float] | None]:
    """The size that comes out, and the part of the image that goes into it,
    where that is not all of it.
    """
    width, height = size
    if transform.fit == "cover" and transform.width is not None and transform.height is not None:
        shrink = max(transform.width / width, transform.height / height)
        # Bounded, as a division may give a little more than there is.
        seen = min(width, transform.width / shrink), min(height, transform.height / shrink)
        left, top = (width - seen[0]) / 2, (height - seen[1]) / 2
        part = (left, top, left + seen[0], top + seen[1])
        if shrink > 1 and not transform.enlarge:
            return _sides(*seen), part
        return (transform.width, transform.height), part
    asked = transform.width or 0, transform.height or 0
    if transform.fit == "stretch":
        return (asked if transform.enlarge else (min(width, asked[0]), min(height, asked[1]))), None
    shrink = min(
        ((want / have) for want, have in zip(asked, size, strict=True) if want), default=1.0
    )
    if not transform.enlarge:
        shrink = min(shrink, 1.0)
    return _sides(width * shrink, height * shrink), None


def _sides(width: float, height: float) -> tuple[int, int]:
    # An image a thousand times as wide as it is high would else vanish.
    return max(1, round(width)), max(1, round(height))
