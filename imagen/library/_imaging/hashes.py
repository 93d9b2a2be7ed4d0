"""How an image looks, in 64 bits: images that look alike have hashes that
differ in few of them.
"""

from __future__ import annotations

from pathlib import Path

from ..._errors import ConfigurationError
from .decoding import open_image
from .transforms import flatten

__all__ = ["check_imagehash", "hash_distance", "perceptual_hash"]

# More than the 32 pixels that the hash looks at, so that what is left out of a
# JPEG changes nothing.
_SIDE = 128
_BITS = 64


def perceptual_hash(source: bytes | Path) -> int:
    """The pHash of an image, as a signed number of 64 bits, which SQLite can
    hold. Blocking.

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
    """In how many of 64 bits two hashes differ: up to 4 the same image in
    another form, from 12 on nothing in common.
    """
    return ((first ^ second) & ((1 << _BITS) - 1)).bit_count()


def check_imagehash() -> None:
    """Makes sure that images can be hashed. Blocking: the first time it imports
    numpy and SciPy.

    Raises:
        ConfigurationError: the extra `similar` is not installed.
    """
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            'Similar images need imagehash: pip install "imagen-trio[similar]".'
        ) from error
