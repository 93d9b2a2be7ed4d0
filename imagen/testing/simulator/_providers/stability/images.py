"""Effects of Stability AI's endpoints, simple but real, so that sizes, masks
and the order of inputs are visible.
"""

import io
import math
from typing import TYPE_CHECKING

from ..._core.jobs import Job

if TYPE_CHECKING:
    from PIL import Image

_MEGAPIXEL = 1_000_000


def fitted(ratio: float, pixels: float, step: int = 64) -> tuple[int, int]:
    """Return sides with about `pixels` in all."""
    width, height = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
    return max(1, round(width / step)) * step, max(1, round(height / step)) * step


def generated(job: Job, ratio: str, megapixels: float) -> bytes:
    """An image of a ratio such as "16:9"."""
    across, down = map(int, ratio.split(":"))
    return job.draw(*fitted(across / down, megapixels * _MEGAPIXEL))


def blended(job: Job, source: bytes, share: float, *, keep_size: bool = False) -> bytes:
    """Return the source blended with something new; of about one megapixel if
    it need not keep its size.
    """
    image = _open(source).convert("RGB")
    if not keep_size:
        image = image.resize(fitted(image.width / image.height, _MEGAPIXEL))
    return _over(job, image.size, lambda new: _blend(image, new, share))


def repainted(job: Job, source: bytes, mask: bytes | None) -> bytes:
    """Return the source, new where the mask is white, or where it is
    transparent itself.
    """
    from PIL import Image, ImageOps

    image = _open(source)
    area = (
        ImageOps.invert(image.convert("RGBA").getchannel("A"))
        if mask is None
        else _open(mask).convert("L")
    )
    area = area.resize(image.size)
    return _over(job, image.size, lambda new: Image.composite(new, image.convert("RGB"), area))


def recentred(job: Job, source: bytes) -> bytes:
    """Return the source with its middle changed, in place of the searched
    object.
    """
    image = _open(source).convert("RGB")
    width, height = image.size

    def change(new: "Image.Image") -> "Image.Image":
        box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
        image.paste(new.crop(box), box)
        return image

    return _over(job, image.size, change)


def extended(job: Job, source: bytes, left: int, up: int, right: int, down: int) -> bytes:
    """The source with something new around it."""
    image = _open(source).convert("RGB")

    def change(new: "Image.Image") -> "Image.Image":
        new.paste(image, (left, up))
        return new

    return _over(job, (image.width + left + right, image.height + up + down), change)


def cut_out(source: bytes) -> bytes:
    """The middle of the source; around it everything is transparent."""
    from PIL import Image

    image = _open(source).convert("RGBA")
    box = (image.width // 4, image.height // 4, image.width * 3 // 4, image.height * 3 // 4)
    canvas = Image.new("RGBA", image.size, (0, 0, 0, 0))
    canvas.paste(image.crop(box), box)
    return _png(canvas)


def before(job: Job, subject: bytes, background: bytes | None) -> bytes:
    """The middle of the subject before something new, or before another image."""
    image = _open(subject).convert("RGB")
    width, height = image.size
    box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)

    def change(new: "Image.Image") -> "Image.Image":
        behind = new if background is None else _open(background).convert("RGB").resize(image.size)
        behind.paste(image.crop(box), box)
        return behind

    return _over(job, image.size, change)


def enlarged(source: bytes, factor: float) -> bytes:
    """The source, larger."""
    image = _open(source)
    return _png(image.resize((round(image.width * factor), round(image.height * factor))))


def enlarged_to(source: bytes, pixels: float) -> bytes:
    """Return the source enlarged to about `pixels`."""
    image = _open(source)
    return enlarged(source, max(1.0, math.sqrt(pixels / (image.width * image.height))))


def styled(job: Job, source: bytes | None, style: bytes, share: float, ratio: str = "1:1") -> bytes:
    """The source, or something new, with so large a share of the style's
    colour.
    """
    base = generated(job, ratio, 1.0) if source is None else source
    if base.startswith(b"<"):
        return base
    image = _open(base).convert("RGB")
    if source is not None:
        image = image.resize(fitted(image.width / image.height, _MEGAPIXEL))
    colour = _open(style).convert("RGB").resize((1, 1)).resize(image.size)
    return _png(_blend(image, colour, share))


def converted(data: bytes, format: str) -> bytes:
    """Return the image in another format; other bytes are unchanged."""
    if format == "png" or data.startswith(b"<"):
        return data
    image = _open(data)
    file = io.BytesIO()
    (image.convert("RGB") if format == "jpeg" else image).save(file, format.upper())
    return file.getvalue()


def _over(job: Job, size: tuple[int, int], change: "Change") -> bytes:
    drawn = job.draw(*size)
    return drawn if drawn.startswith(b"<") else _png(change(_open(drawn).convert("RGB")))


def _blend(one: "Image.Image", other: "Image.Image", share: float) -> "Image.Image":
    from PIL import Image

    return Image.blend(one, other, share)


def _open(data: bytes) -> "Image.Image":
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _png(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Image.Image], Image.Image]
