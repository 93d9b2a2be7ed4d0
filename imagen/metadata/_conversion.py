"""Conversion of an image to the format that the ending of a file name means."""

from __future__ import annotations

import mimetypes
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from .._errors import InvalidRequestError
from ._embed import kind_of
from ._formats.svg import SVG
from ._seen import one_line, pixels_of

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = ["convert_to", "media_type_for"]

_ENDINGS: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".jp2": "image/jp2",
}
# Without the files of this machine, on which the answer would depend.
_TYPES: Final = mimetypes.MimeTypes()
# Formats of images that the table of Python 3.11 lacks, and documents.
_OTHER_ENDINGS: Final = (
    *(".heic", ".heif", ".jxl", ".psd", ".svg", ".svgz", ".ico", ".dng", ".exr", ".tga"),
    *(".txt", ".pdf", ".html", ".htm", ".json", ".zip", ".eps"),
)
_OPAQUE: Final = ("image/jpeg", "image/bmp")
_OPTIONS: Final[dict[str, dict[str, int | bool]]] = {
    "image/png": {"compress_level": 3},
    "image/jpeg": {"quality": 95, "subsampling": 0},
    "image/webp": {"quality": 95},
    "image/avif": {"quality": 90},
}


def media_type_for(path: PurePath, own: str) -> str | None:
    """Return the media type that the ending of a file name means; None if it
    means no format, as in "lighthouse" or "lighthouse.v2".

    Args:
        own: Media type of the image, as pixels do not become an SVG.

    Raises:
        InvalidRequestError: it means a format that imagen does not write.
    """
    ending = path.suffix.lower()
    if own == SVG and ending == ".svg":
        return SVG
    found = _ENDINGS.get(ending)
    if found is None and _means_a_format(ending):
        raise InvalidRequestError(
            f"imagen does not write {ending} files: save {path.name} with an ending such as .png,"
            " .jpg, .webp, .avif or .tif."
        )
    return found


def _means_a_format(ending: str) -> bool:
    known = _TYPES.types_map[True].get(ending) or _TYPES.types_map[False].get(ending) or ""
    return ending in _OTHER_ENDINGS or known.startswith(("image/", "video/", "audio/"))


def convert_to(data: bytes, media_type: str) -> bytes:
    """Encode an image anew, upright and with its ICC profile; of an animation
    the first frame. Returns the same bytes if they have the format. Blocking.

    Raises:
        InvalidRequestError: the image cannot be decoded, or Pillow cannot write
            the format.
        ConfigurationError: it is an SVG, and the extra `svg` is not installed.
    """
    if kind_of(data) == media_type:
        return data
    image = pixels_of(data)
    profile = image.info.get("icc_profile")
    if media_type in _OPAQUE and image.mode == "RGBA":
        image = _on_white(image)
    file = BytesIO()
    try:
        image.save(
            file, _pillow_name(media_type), icc_profile=profile, **_OPTIONS.get(media_type, {})
        )
    except (KeyError, OSError, ValueError) as error:
        raise InvalidRequestError(
            f"Pillow cannot write this image as {media_type}: {one_line(error)}. Save it as PNG or"
            " JPEG."
        ) from error
    return file.getvalue()


def _pillow_name(media_type: str) -> str:
    name = media_type.removeprefix("image/").upper()
    return "JPEG2000" if name == "JP2" else name


def _on_white(image: Pixels) -> Pixels:
    import PIL.Image

    white = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(white, image).convert("RGB")
