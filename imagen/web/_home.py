"""What a home keeps for its page: the secret of its address, the port, and the
file that opens the browser.

Both stay the same from run to run, as a browser keeps drafts and thumbnails by
the address.
"""

from __future__ import annotations

import html
import re
import secrets
from pathlib import Path

import msgspec

from .._errors import ConfigurationError, StorageError
from .._system.atomic_files import write_atomically
from .._system.process_locks import ProcessLock, is_alive

__all__ = [
    "PageKey",
    "check_free",
    "claim_page",
    "read_key",
    "web_folder",
    "write_key",
    "write_opener",
]

# 256 bits, in the letters of URLs.
_SECRET_BYTES = 32
_LOCKS, _LOCK = "server", "page"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class PageKey(msgspec.Struct, frozen=True, kw_only=True):
    """Secret part of the address, and the port; 0 until one was chosen."""

    secret: str
    port: int = 0


_decode = msgspec.json.Decoder(PageKey).decode


def web_folder(home: Path) -> Path:
    """Return the folder of the page in a home."""
    return home / "web"


def read_key(home: Path) -> PageKey:
    """Return the key of a home, a new one where there is none. Blocking.

    Raises:
        ConfigurationError: the file is damaged.
        StorageError: it cannot be read.
    """
    path = _key_path(home)
    try:
        key = _decode(path.read_bytes())
    except FileNotFoundError:
        return PageKey(secret=secrets.token_urlsafe(_SECRET_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError):
        key = PageKey(secret="")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not _SECRET.fullmatch(key.secret) or not 0 <= key.port <= 65535:
        raise ConfigurationError(
            f"{path} is damaged: delete it, and the page gets a new address. Drafts in the"
            " browser are then left behind."
        )
    return key


def write_key(home: Path, key: PageKey) -> None:
    """Keep the key of a home, for its user alone. Blocking.

    Raises:
        StorageError: it cannot be written.
    """
    _write_privately(_key_path(home), msgspec.json.encode(key))


def write_opener(home: Path, url: str) -> Path:
    """Write the file that leads the browser to the page, for its user alone: an
    address in the arguments of a program can be seen by others. Blocking.

    Raises:
        StorageError: it cannot be written.
    """
    path = web_folder(home) / "open.html"
    page = (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0;url={html.escape(url)}"><title>imagen</title>'
        f'<a href="{html.escape(url)}">imagen</a>\n'
    )
    _write_privately(path, page.encode())
    return path


def check_free(home: Path) -> None:
    """Check that no other server has the page of a home: the batches that one
    runs are not there for another. Blocking.

    Raises:
        ConfigurationError: there is one.
    """
    if is_alive(web_folder(home) / _LOCKS, _LOCK):
        raise ConfigurationError(
            f"The page of this home is open already: {web_folder(home) / 'open.html'} leads to it."
            " End the other server first, or set another IMAGEN_HOME."
        )


def claim_page(home: Path) -> ProcessLock:
    """Take the page of a home until the lock is released, or the process dies.
    Blocking.

    Raises:
        ConfigurationError: another server has it.
        StorageError: the home cannot be written.
    """
    check_free(home)
    return ProcessLock(web_folder(home) / _LOCKS, _LOCK)


def _key_path(home: Path) -> Path:
    return web_folder(home) / "key.json"


def _write_privately(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data, mode=0o600)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error
