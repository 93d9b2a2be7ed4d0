"""Images that decoders accept, made quickly: PNG by hand, the others with
Pillow when asked for.
"""

import colorsys
import io
import random
import struct
import zlib
from functools import lru_cache

MEDIA_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}


_HUES = 24
_CHUNK_FRAME_BYTES = 12  # length, name and checksum around a chunk's data
_SEED_BYTES = 8


def make_image(
    format: str,
    width: int,
    height: int,
    *,
    seed: int = 0,
    size_bytes: int | None = None,
    frames: int = 1,
) -> bytes:
    """An image in one of 24 colours.

    Args:
        format: png, jpeg, webp, gif or svg.
        seed: chooses the colour. A png also carries it, so that two of them are
            never the same bytes.
        size_bytes: for png, the wanted length of the file, reached with
            incompressible noise. Other formats ignore it, and a png that needs
            more than this is as long as it must be.
        frames: for gif.
    """
    if format == "png":
        return png(width, height, seed=seed, size_bytes=size_bytes)
    red, green, blue = _colour(seed % _HUES)
    if format == "svg":
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
            f'<rect width="100%" height="100%" fill="#{red:02x}{green:02x}{blue:02x}"/></svg>'
        ).encode()

    from PIL import Image  # costs a tenth of a second to import; most simulations are PNG only

    drawn, *more = (
        Image.new("RGB", (width, height), (red, green, (blue + 8 * at) % 256))
        for at in range(frames)
    )
    file = io.BytesIO()
    drawn.save(file, format.upper(), **({"save_all": True, "append_images": more} if more else {}))
    return file.getvalue()


def png(width: int, height: int, *, seed: int = 0, size_bytes: int | None = None) -> bytes:
    """An RGB PNG: as many rows of noise as `size_bytes` has room for, the rest
    in one colour.
    """
    own = _chunk(b"seEd", (seed % (1 << 64)).to_bytes(_SEED_BYTES, "big"))
    return _pixels(width, height, seed % _HUES, size_bytes) + own + _END


@lru_cache(maxsize=_HUES)
def _pixels(width: int, height: int, hue: int, size_bytes: int | None) -> bytes:
    """The file up to its last two chunks.

    Cached, because 1.5 MB take 10 ms to make, and a benchmark should wait for
    the client, not for us.
    """
    row = b"\x00" + bytes(_colour(hue)) * width
    # Rows in one colour pack to about half a per cent at level 1; leave twice
    # that and the frame for them.
    reserved_bytes = 4096 + len(row) * height // 100
    noise_rows = (
        0 if size_bytes is None else min(height, max(0, size_bytes - reserved_bytes) // len(row))
    )
    chance = random.Random(hue)
    noise = bytearray(chance.randbytes(len(row) * noise_rows))
    noise[:: len(row)] = bytes(noise_rows)  # each row begins with its filter, which is 0 for none
    plain = row * (height - noise_rows)
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(plain) + packer.flush()
    checksum = zlib.adler32(plain, zlib.adler32(noise))
    pixels = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", b"\x78\x01" + _stored(noise) + packed + struct.pack(">I", checksum))
    )
    # Rows do not come out even: a private chunk of noise makes up the rest.
    tail_bytes = _CHUNK_FRAME_BYTES + _SEED_BYTES + len(_END)
    missing = (
        0 if size_bytes is None else size_bytes - len(pixels) - tail_bytes - _CHUNK_FRAME_BYTES
    )
    return (
        pixels + _chunk(b"noIs", chance.randbytes(missing))
        if missing >= 0 and size_bytes
        else pixels
    )


def _colour(hue: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue / _HUES, 0.6, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
    )


_END = _chunk(b"IEND", b"")


def _stored(data: bytes | bytearray) -> bytes:
    """Return stored Deflate blocks: trying to compress 1.5 MB of noise takes 60
    ms.
    """
    blocks = (data[at : at + 65535] for at in range(0, len(data), 65535))
    return b"".join(
        struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block for block in blocks
    )
