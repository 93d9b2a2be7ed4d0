"""Replies and images that are paid, or may be, and could not be read.

Each attempt has a folder::

    set-aside/ATTEMPT/reply-1.bin     body of the first reply, as it came
    set-aside/ATTEMPT/replies.json    status, content type and URL of each reply
    set-aside/ATTEMPT/image-1.bin     bytes that are no whole image
    set-aside/ATTEMPT/receipt.json    receipt that the database did not take

They stay until the attempt is reconciled. The key is not in them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from .._errors import StorageError
from .._system.atomic_files import write_atomically
from .._system.threads import Workers
from .._transport.received import ReceivedReply
from ..providers._steps import HttpResponse

__all__ = ["SetAside"]

_INDEX = "replies.json"
_RECEIPT = "receipt.json"
_ATTEMPT = re.compile(r"[0-9A-Za-z_-]{1,64}")


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Reply in the index; `url` is relative to the base URL where the request
    was.
    """

    method: str
    url: str
    status: int
    content_type: str
    file: str


_decode_index = msgspec.json.Decoder(list[_Entry]).decode


class SetAside:
    """Folder of the set-aside replies of one home."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self._folder = folder
        self._workers = workers

    async def keep_replies(self, attempt_id: str, replies: Sequence[ReceivedReply]) -> Path:
        """Write the replies of an attempt, and return their folder.

        Raises:
            StorageError: the disk does not take them.
        """
        return await self._workers.run(lambda: self._write_replies(attempt_id, replies))

    async def keep_image(self, attempt_id: str, data: bytes) -> Path:
        """Write bytes that are no whole image, and return their path.

        Raises:
            StorageError: the disk does not take them.
        """
        return await self._workers.run(lambda: self._write_image(attempt_id, data))

    async def images(self) -> Sequence[Path]:
        """Return the files of the images that were kept, of all attempts."""
        return await self._workers.run(self._list_images)

    async def drop_image(self, path: Path) -> None:
        """Remove one of the `images`, and leave what else is set aside."""
        await self._workers.run(lambda: _remove(path))

    async def keep_receipt(self, attempt_id: str, receipt: str) -> None:
        """Write the receipt of an attempt that the database did not take.

        Raises:
            StorageError: the disk does not take it either.
        """
        path = self._folder / attempt_id / _RECEIPT
        await self._workers.run(lambda: self._write(path, receipt.encode()))

    async def read_receipt(self, attempt_id: str) -> str | None:
        """Return the receipt that was kept here; None if there is none."""
        return await self._workers.run(lambda: self._read_receipt(attempt_id))

    async def drop_receipt(self, attempt_id: str) -> None:
        """Remove the receipt of an attempt, and leave what else is set aside."""
        await self._workers.run(lambda: _remove(self._folder / attempt_id / _RECEIPT))

    async def drop(self, attempt_id: str) -> None:
        """Remove what an attempt set aside: it has been read."""
        await self._workers.run(
            lambda: shutil.rmtree(self._folder / attempt_id, ignore_errors=True)
        )

    async def read(self, attempt_id: str) -> Sequence[ReceivedReply]:
        """Return the set-aside replies of an attempt, oldest first; empty if
        there are none.
        """
        return await self._workers.run(lambda: self._read(attempt_id))

    def _read_receipt(self, attempt_id: str) -> str | None:
        if not _ATTEMPT.fullmatch(attempt_id):
            return None
        try:
            return (self._folder / attempt_id / _RECEIPT).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def _list_images(self) -> Sequence[Path]:
        found = sorted(self._folder.glob("*/image-*.bin"))
        return [path for path in found if _ATTEMPT.fullmatch(path.parent.name)]

    def _write_replies(self, attempt_id: str, replies: Sequence[ReceivedReply]) -> Path:
        folder = self._folder / attempt_id
        index: list[_Entry] = []
        for number, reply in enumerate(replies, 1):
            name = f"reply-{number}.bin"
            self._write(folder / name, b"".join(reply.chunks))
            index.append(
                _Entry(
                    method=reply.method,
                    url=reply.url,
                    status=reply.status,
                    content_type=reply.headers.get("content-type", ""),
                    file=name,
                )
            )
        self._write(folder / _INDEX, msgspec.json.format(msgspec.json.encode(index)))
        return folder

    def _write_image(self, attempt_id: str, data: bytes) -> Path:
        folder = self._folder / attempt_id
        number = len(list(folder.glob("image-*.bin"))) + 1
        path = folder / f"image-{number}.bin"
        self._write(path, data)
        return path

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise StorageError(
                f"A reply cannot be set aside in {self._folder}: {error.strerror or error}."
            ) from error

    def _read(self, attempt_id: str) -> Sequence[ReceivedReply]:
        if not _ATTEMPT.fullmatch(attempt_id):
            return []
        folder = self._folder / attempt_id
        try:
            index = _decode_index((folder / _INDEX).read_bytes())
            return [_load(folder, entry) for entry in index]
        except (OSError, msgspec.DecodeError):
            return []


def _load(folder: Path, entry: _Entry) -> ReceivedReply:
    body = (folder / Path(entry.file).name).read_bytes()
    headers = {"content-type": entry.content_type} if entry.content_type else {}
    response = HttpResponse(status=entry.status, headers=headers, body=body)
    return ReceivedReply.of(entry.method, entry.url, response)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
        # Fails where there is more in it.
        path.parent.rmdir()
