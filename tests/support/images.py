"""Small images for tests, and the pixels of images that came."""

from __future__ import annotations

import io

from PIL import Image as PillowImage

import imagen

Colour = tuple[int, int, int]

RED: Colour = (200, 20, 20)
GREEN: Colour = (20, 160, 20)
WHITE: Colour = (255, 255, 255)


def png(colour: Colour = (200, 30, 60), size: tuple[int, int] = (8, 8)) -> bytes:
    """Return a real, tiny image in one colour."""
    file = io.BytesIO()
    PillowImage.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


PNG = png()


def large_png(colour: Colour = RED, size: tuple[int, int] = (256, 256)) -> bytes:
    """Return an image that every provider accepts as input."""
    return png(colour, size)


def left_mask(size: tuple[int, int] = (256, 256)) -> bytes:
    """Return a mask whose left half is white."""
    file = io.BytesIO()
    mask = PillowImage.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    mask.save(file, "PNG")
    return file.getvalue()


def opened(image: imagen.Image) -> PillowImage.Image:
    """Return the decoded image, in its own mode."""
    decoded = PillowImage.open(io.BytesIO(image.data))
    decoded.load()
    return decoded


def opened_rgb(image: imagen.Image) -> PillowImage.Image:
    """Return the decoded image as RGB."""
    return opened(image).convert("RGB")


def near(one: object, other: Colour, *, tolerance: int = 8) -> bool:
    """Return whether two colours look the same, e.g. after JPEG compression."""
    assert isinstance(one, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(one[:3], other, strict=True))
