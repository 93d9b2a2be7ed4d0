"""Resizing, cropping, rotation and conversion of images."""

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
# Without a visible difference at arm's length; each format has its own scale.
_QUALITY: dict[ImageFormat, int] = {"png": 0, "jpeg": 85, "webp": 80, "avif": 65}
_KEPT_FORMATS: dict[str, ImageFormat] = {"image/jpeg": "jpeg", "image/webp": "webp"}
_WHITE = (255, 255, 255)


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """Transformation of an image: first `crop`, then `rotate`, then size, then
    format.

    Attributes:
        width: In pixels, from 16 to 16384.
        height: Likewise. "contain" needs only one of the two.
        fit: "contain" fits the whole image into width and height, "cover" fills
            them and cuts off the rest, "stretch" ignores the aspect ratio.
        enlarge: Allows upscaling; otherwise a smaller image gives a smaller
            result, unless it is an SVG, which is drawn in any size.
        crop: Left, top, width and height of the part to keep, in pixels of the
            upright image.
        rotate: Degrees clockwise.
        format: Format of the file; None keeps it, and a GIF or an SVG becomes a
            PNG. JPEG has no alpha: transparent pixels become white.
        quality: From 1 to 100, on the format's own scale; ignored for PNG,
            which is lossless.

    Raises:
        InvalidRequestError: a value is out of range.
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
                "Invalid width or height of a transform: expected 16 to 16384 pixels."
            )
        if self.fit not in ("contain", "cover", "stretch"):
            raise InvalidRequestError(
                f"Invalid fit {self.fit!r}: expected contain, cover or stretch."
            )
        if self.fit != "contain" and (self.width is None or self.height is None):
            raise InvalidRequestError(f'The fit "{self.fit}" needs both a width and a height.')
        if self.rotate not in (0, 90, 180, 270):
            raise InvalidRequestError("Invalid rotation: expected 0, 90, 180 or 270 degrees.")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise InvalidRequestError(
                "Invalid crop: expected left, top, width and height in pixels, none negative."
            )
        if self.format is not None and self.format not in _SUFFIXES:
            raise InvalidRequestError(
                f"Invalid format {self.format!r}: expected png, jpeg, webp or avif."
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidRequestError("Invalid quality: expected 1 to 100.")


def thumbnail(side: Literal[256, 512, 1024] = 512) -> Transform:
    """Return the transform of a thumbnail: the whole image within a square, as
    WebP. The few sizes make cache hits likely.

    Raises:
        InvalidRequestError: the size is not one of these.
    """
    if side not in (256, 512, 1024):
        raise InvalidRequestError(
            f"Invalid thumbnail size {side}: expected 256, 512 or 1024 pixels. A Transform takes"
            " any size."
        )
    return Transform(width=side, height=side, format="webp")


def suffix_of(transform: Transform, media_type: str) -> str:
    """Return the suffix of the transformed file, with its dot, for an image of
    this media type.
    """
    return _SUFFIXES[_format(transform, media_type)]


def apply_transform(source: bytes | Path, transform: Transform) -> bytes:
    """Transform an image. Of its metadata only the ICC profile is kept.
    Blocking.

    Args:
        source: The bytes of an image, or its file.

    Raises:
        InvalidRequestError: the image cannot be decoded, the crop exceeds it,
            or the result has too many pixels.
        ConfigurationError: this Pillow cannot write AVIF, or the image is an
            SVG and the extra `svg` is not installed.
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
    """Encode an image as a file.

    Raises:
        InvalidRequestError: the image is too large for the format.
        ConfigurationError: this Pillow cannot write the format.
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
    """Put a transparent image on white."""
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
    """Return the size below which an image need not be decoded; None if a crop
    needs the whole.
    """
    if transform.crop is not None or (transform.width is None and transform.height is None):
        return None
    # Twice the target, so that the result is as sharp as from the full size.
    return 2 * max(transform.width or 0, transform.height or 0)


def _crop(image: Pixels, crop: tuple[int, int, int, int]) -> Pixels:
    left, top, width, height = crop
    if left + width > image.width or top + height > image.height:
        raise InvalidRequestError(
            f"The crop {left},{top},{width},{height} exceeds the image of"
            f" {image.width}x{image.height}."
        )
    return image.crop((left, top, left + width, top + height))


def _rotate(image: Pixels, degrees: Literal[90, 180, 270]) -> Pixels:
    from PIL.Image import Transpose

    # Pillow rotates counter-clockwise.
    turns = {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}
    return image.transpose(turns[degrees])


def _resize(image: Pixels, transform: Transform) -> Pixels:
    size, part = _target(image.size, transform)
    if size == image.size and part is None:
        return image
    if size[0] * size[1] > MAX_PIXELS:
        raise InvalidRequestError(
            f"{size[0]}x{size[1]} is too large: expected at most {MAX_PIXELS:,} pixels."
        )
    from PIL.Image import Resampling

    # The gap lets Pillow reduce in two steps, which is several times as fast;
    # from 3 on the result looks the same.
    return image.resize(size, Resampling.LANCZOS, box=part, reducing_gap=3.0)


def _target(
    size: tuple[int, int], transform: Transform
) -> tuple[tuple[int, int], tuple[float, float, float, float] | None]:
    """Return the target size, and the part of the image to scale; None for the
    whole.
    """
    width, height = size
    if transform.fit == "cover" and transform.width is not None and transform.height is not None:
        shrink = max(transform.width / width, transform.height / height)
        # Bounded, as rounding may exceed the image.
        seen = min(width, transform.width / shrink), min(height, transform.height / shrink)
        left, top = (width - seen[0]) / 2, (height - seen[1]) / 2
        part = (left, top, left + seen[0], top + seen[1])
        if shrink > 1 and not transform.enlarge:
            return _sides(*seen), part
        return (transform.width, transform.height), part
    wanted = transform.width or 0, transform.height or 0
    if transform.fit == "stretch":
        return (
            wanted if transform.enlarge else (min(width, wanted[0]), min(height, wanted[1]))
        ), None
    shrink = min(
        ((target / side) for target, side in zip(wanted, size, strict=True) if target), default=1.0
    )
    if not transform.enlarge:
        shrink = min(shrink, 1.0)
    return _sides(width * shrink, height * shrink), None


def _sides(width: float, height: float) -> tuple[int, int]:
    # The short side of a very long image would round to zero.
    return max(1, round(width)), max(1, round(height))
