"""What images are taken from: a zip file or a folder of anybody's. Nothing of
it is believed, and all of it bounded.

Nothing is ever unpacked to a name that an archive gives. A name is only what is
asked for, out of the list of those that are there, so names that climb, and
links, lead nowhere.
"""

from __future__ import annotations

import datetime
import io
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from ..._errors import InvalidRequestError, StorageError
from ..._results.images import SUFFIXES
from .safe_names import shown_name

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

__all__ = ["IMAGE_ENDINGS", "ImportSource", "InvalidEntryError", "open_source"]

IMAGE_ENDINGS: Final = (*SUFFIXES.values(), ".jpeg")
LARGEST_IMAGE: Final = 256 << 20
# Images are packed already, and records are text: nothing honest is packed
# tighter than this.
_MOST_RATIO: Final = 200
_RATIO_FREE_BYTES: Final = 1 << 20
# All that is read of an archive, as a multiple of its size: entries may
# overlap, so that each is large and all are small.
_MOST_TIMES: Final = 4
_TOTAL_FREE_BYTES: Final = 64 << 20
# The list of contents is read whole: this is one of some million files.
_LARGEST_INDEX: Final = 512 << 20
_STORED, _DEFLATED = 0, 8


class InvalidEntryError(Exception):
    """An entry that is not read; the text goes on behind its name. `is_last`
    means that nothing more is.
    """

    def __init__(self, reason: str, *, is_last: bool = False) -> None:
        super().__init__(reason)
        self.is_last = is_last


class ImportSource(Protocol):
    """Files by name; all methods block."""

    @property
    def names(self) -> Mapping[str, object]:
        """The names that there are, in order."""
        ...

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of a file.

        Raises:
            InvalidEntryError: there are more than `most`, which are many by
                default; or they cannot be read, or must not.
        """
        ...

    def open(self, name: str) -> IO[bytes]:
        """The same as a stream, of a file of any size. Raises like `read`;
        reading may raise anything.
        """
        ...

    def moment(self, name: str) -> datetime.datetime | None:
        """When the file was made, if it says so."""
        ...

    def close(self) -> None: ...


def open_source(path: Path) -> ImportSource:
    """What there is at a path. Blocking.

    Raises:
        InvalidRequestError: it is neither a folder, nor a zip file, nor an
            image, or a zip file that cannot be read.
        StorageError: it cannot be read.
    """
    try:
        if path.is_dir():
            return FolderSource(path, dict(_files_below(path)))
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if head in (b"PK\x03\x04", b"PK\x05\x06"):
        return ZipSource(path)
    if not path.name.lower().endswith(IMAGE_ENDINGS):
        raise InvalidRequestError(f"{path} is neither an image, nor a zip file, nor a folder.")
    beside = path.with_name(f"{path.name}.xmp")
    return FolderSource(
        path.parent, {one.name: one.resolve() for one in (path, beside) if os.path.isfile(one)}
    )


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            # Hidden files are those that programs write for themselves.
            if not name.startswith("."):
                path = Path(here, name)
                yield path.relative_to(folder).as_posix(), path


class FolderSource:
    """Files of a folder; `files` by their names. A link is not followed: it may
    lead to anything of its reader's.
    """

    def __init__(self, folder: Path, files: dict[str, Path]) -> None:
        self._folder = folder
        self._files = files

    @property
    def names(self) -> Mapping[str, object]:
        return self._files

    def read(self, name: str, most: int | None = None) -> bytes:
        most = most or LARGEST_IMAGE
        with self.open(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise InvalidEntryError(_too_large(most))
        return data

    def open(self, name: str) -> IO[bytes]:
        path = self._files[name]
        if path.is_symlink():
            raise InvalidEntryError("is a link, which is not followed.")
        if not path.is_file():
            raise InvalidEntryError("is no file.")
        try:
            return path.open("rb")
        except OSError as error:
            raise InvalidEntryError(f"cannot be read: {error.strerror or error}.") from error

    def moment(self, name: str) -> datetime.datetime | None:
        try:
            return datetime.datetime.fromtimestamp(self._files[name].stat().st_mtime, datetime.UTC)
        except (OSError, OverflowError, ValueError):
            return None

    def close(self) -> None:
        pass


class ZipSource:
    """Files of an archive. Of several that have one name all are there, the
    later ones with a number.
    """

    def __init__(self, path: Path) -> None:
        from zipfile import ZipFile

        try:
            self._file = _BoundedFile(io.FileIO(path))
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
        try:
            self._zip: ZipFile = ZipFile(self._file)
            self._entries = _by_name(self._zip.infolist())
            self._left = _TOTAL_FREE_BYTES + _MOST_TIMES * path.stat().st_size
        except Exception as error:
            # zipfile answers what is broken with a dozen kinds of exceptions.
            self._file.close()
            raise InvalidRequestError(
                f"{path} is no zip file that can be read ({shown_name(str(error))}): fetch it"
                " again, or unpack it and import the folder."
            ) from error

    @property
    def names(self) -> Mapping[str, object]:
        return self._entries

    def read(self, name: str, most: int | None = None) -> bytes:
        entry = self._entries[name]
        most = most or LARGEST_IMAGE
        if entry.file_size > most:
            raise InvalidEntryError(_too_large(most))
        try:
            with self.open(name) as file:
                # Not more than it claims, whatever it holds, and its checksum
                # is looked at in the end.
                return file.read()
        except InvalidEntryError:
            raise
        except Exception as error:
            raise InvalidEntryError(
                f"is damaged in the archive ({shown_name(str(error))})."
            ) from error

    def open(self, name: str) -> IO[bytes]:
        entry = self._entries[name]
        _check_entry(entry)
        self._left -= entry.file_size
        if self._left < 0:
            raise InvalidEntryError(
                f"and all behind it was not read: the archive unpacks to more than {_MOST_TIMES}"
                " times its size.",
                is_last=True,
            )
        try:
            return self._zip.open(entry)
        except Exception as error:
            raise InvalidEntryError(
                f"is damaged in the archive ({shown_name(str(error))})."
            ) from error

    def moment(self, name: str) -> datetime.datetime | None:
        try:
            return datetime.datetime(*self._entries[name].date_time, tzinfo=datetime.UTC)
        except ValueError:
            return None

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _BoundedFile(io.BufferedReader):
    """Keeps zipfile from reading a list of contents that would fill the memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_INDEX:
            raise InvalidRequestError("its list of contents is too large")
        return super().read(size)


def _check_entry(entry: ZipInfo) -> None:
    if entry.flag_bits & 0x1:
        raise InvalidEntryError("is encrypted: unpack it with its password, and import the folder.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InvalidEntryError("is a link, which is not followed.")
    if entry.compress_type not in (_STORED, _DEFLATED):
        raise InvalidEntryError(
            "is packed in a rare way: unpack the archive, and import the folder."
        )
    if entry.file_size > _RATIO_FREE_BYTES and entry.file_size > _MOST_RATIO * entry.compress_size:
        raise InvalidEntryError(
            f"unpacks to more than {_MOST_RATIO} times its size, as no image does."
        )


def _too_large(most: int) -> str:
    return f"is larger than {most >> 20} MiB."


def _by_name(entries: Iterable[ZipInfo]) -> dict[str, ZipInfo]:
    found: dict[str, ZipInfo] = {}
    times: Counter[str] = Counter()
    for entry in entries:
        # Not `is_dir`, which cannot bear a name without letters.
        if entry.filename.endswith("/"):
            continue
        name = entry.filename
        while name in found:
            # Counted on from the last time, as there may be very many of one
            # name.
            times[entry.filename] += 1
            stem, dot, ending = entry.filename.rpartition(".")
            name = f"{stem} ({times[entry.filename] + 1}){dot}{ending}"
        found[name] = entry
    return found
