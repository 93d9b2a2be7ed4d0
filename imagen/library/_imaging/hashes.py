"""Perceptual hashes of 64 bits: similar images differ in few bits."""

from __future__ import annotations

from pathlib import Path

from ..._errors import ConfigurationError
from .decoding import open_image
from .transforms import flatten

__all__ = ["check_imagehash", "hash_distance", "perceptual_hash"]

# More than the 32 pixels that the hash uses, so that decoding a JPEG at reduced
# size changes nothing.
_SIDE = 128
_BITS = 64


def perceptual_hash(source: bytes | Path) -> int:
    """Return the pHash of an image as a signed 64-bit number, which SQLite can
    store. Blocking.

    Raises:
        ConfigurationError: the extra `similar` is not installed.
        InvalidRequestError: the image cannot be decoded.
        StorageError: the file cannot be read.
    """
    check_imagehash()
    import imagehash

    found = int(str(imagehash.phash(flatten(open_image(source, side=_SIDE)))), 16)
    return found - (1 << _BITS) if found >> (_BITS - 1) else found


def hash_distance(first: int, second: int) -> int:
    """Return the number of bits, of 64, in which two hashes differ: up to 4 the
    same image in another form, from 12 on unrelated images.
    """
    return ((first ^ second) & ((1 << _BITS) - 1)).bit_count()


def check_imagehash() -> None:
    """Check that images can be hashed. Blocking: the first call imports numpy
    and SciPy.

    Raises:
        ConfigurationError: the extra `similar` is not installed.
    """
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            'Similar images need imagehash: pip install "imagen-trio[similar]".'
        ) from error
