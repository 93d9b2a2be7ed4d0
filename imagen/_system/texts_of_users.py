"""Places that users write as texts: paths with a tilde, file URIs, data URLs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

from .._errors import InvalidRequestError
from .base64_text import read_base64

__all__ = ["decode_data_url", "is_file_uri", "path_of_uri", "user_path"]

_FILE: Final = re.compile(r"\s*file:", re.IGNORECASE)
_DRIVE: Final = re.compile(r"/?[A-Za-z][:|]([/\\]|$)")
_LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "[::1]")


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return a path; "~" and "~name" at its beginning are homes of users."""
    return Path(os.path.expanduser(text))


def is_file_uri(text: str) -> bool:
    """Return whether a text claims to be a file URI."""
    return _FILE.match(text) is not None


def path_of_uri(uri: str) -> Path:
    """Return the path that a file URI of this machine names (RFC 8089).

    Raises:
        InvalidRequestError: it names another machine, or a drive that this
            system does not have, or is no absolute path.
    """
    rest = uri.strip()[len("file:") :]
    host, path = "", rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        path = slash + path
    if sys.platform == "win32":  # pragma: no cover - the tests run on POSIX
        return Path(url2pathname(path))
    is_drive = _DRIVE.match(path) or _DRIVE.match(host)
    if is_drive or host.lower() not in _LOCAL_HOSTS or not path.startswith("/"):
        raise InvalidRequestError(f"{uri[:200]!r} {_uri_complaint(host, bool(is_drive))}")
    return Path(os.fsdecode(unquote_to_bytes(path)))


def _uri_complaint(host: str, is_drive: bool) -> str:
    if is_drive:
        return "names a drive of Windows, and this system has none: give the path of the file."
    if host.startswith("~") or host in (".", ".."):
        return f"is not an absolute path: give the path itself, such as {host}/image.png."
    if host.lower() not in _LOCAL_HOSTS:
        return (
            f"names a file on {host!r}: imagen opens files of this machine only, such as"
            " file:///home/me/image.png. Give the path under which it is mounted."
        )
    return "is not an absolute path: give one such as file:///home/me/image.png, or a path."


def decode_data_url(url: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a data URL (RFC 2397), as generously as browsers:
    wrapped, unpadded, URL-safe, or with percent signs.

    Raises:
        InvalidRequestError: it cannot be decoded, or exceeds `max_bytes`.
    """
    body = url.partition(",")[2]
    # Each byte takes at most three letters with percent signs; base64 is the
    # denser form, and line ends add little.
    if len(body) > 4 * max_bytes:
        raise _too_long(len(body), max_bytes)
    data = read_base64(url)
    if not data:
        raise _not_data()
    if len(data) > max_bytes:
        raise _too_long(len(data), max_bytes)
    return data


def _not_data() -> InvalidRequestError:
    return InvalidRequestError(
        "A data: URL must hold an image in base64: data:image/png;base64,..."
    )


def _too_long(found: int, most: int) -> InvalidRequestError:
    return InvalidRequestError(f"The data: URL has {found:,} bytes; an image may have {most:,}.")
