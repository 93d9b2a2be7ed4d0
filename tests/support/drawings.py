"""Images for the tests of this folder."""

from __future__ import annotations

import datetime
import hashlib
import struct
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageDraw

import imagen

HALVES = {"left": (220, 30, 30), "right": (30, 30, 220)}


def halves(size: tuple[int, int] = (64, 32), mode: str = "RGB") -> PillowImage.Image:
    """Red on the left, blue on the right: one sees where it was turned or cut."""
    image = PillowImage.new("RGB", size, HALVES["left"])
    image.paste(HALVES["right"], (size[0] // 2, 0, *size))
    return image.convert(mode)


def scene(seed: int, size: tuple[int, int] = (96, 96)) -> PillowImage.Image:
    """Something to tell images apart by."""
    image = PillowImage.new("RGB", size, (250, 250, 250))
    draw = ImageDraw.Draw(image)
    for step in range(6):
        at = (seed * 37 + step * 29) % 70
        across = (seed * 53 + step * 41) % 60
        shade = (seed * 97 + step * 61) % 200
        draw.ellipse((at, across, at + 30, across + 25), fill=(shade, 255 - shade, shade // 2))
    return image


def encoded(image: PillowImage.Image, format: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def decoded(data: bytes) -> PillowImage.Image:
    return PillowImage.open(BytesIO(data))


def bomb(width: int = 100_000, height: int = 100_000) -> bytes:
    """A PNG of some bytes that claims ten gigapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def image_of(
    data: bytes, folder: Path | None = None, *, prompt: str = "a test", id: str = "0a"
) -> imagen.Image:
    """An image as a library gives it, in a file where there is a folder."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = None
    if folder is not None:
        path = folder / f"{sha256}.png"
        path.write_bytes(data)
    return imagen.Image(
        id=id,
        request=imagen.Generate(prompt=prompt),
        media_type="image/png",
        width=64,
        height=32,
        size_bytes=len(data),
        stored_sha256=sha256 if folder else None,
        path=path,
        inline_data=None if folder else data,
        model="test",
        provider="test",
        created_at=datetime.datetime(2027, 11, 1, tzinfo=datetime.UTC),
    )
