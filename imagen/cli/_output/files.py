"""Files that a command writes where somebody wants them."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from ... import StorageError

__all__ = ["save_file"]


def save_file(path: Path, data: bytes) -> None:
    """Writes a file that is there whole, or not at all. Blocking.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"The file {path} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
