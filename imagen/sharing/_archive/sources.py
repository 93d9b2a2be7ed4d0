"""Sources of an import: zip files and folders, untrusted and read within
limits.

Files are never unpacked to a name of an archive. Names are only looked up in
the list of entries, so traversal and links have no effect.
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
from ...metadata._file_kinds import HEAD_BYTES, is_held, other_format
from .safe_names import shown_name

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

__all__ = ["IMAGE_ENDINGS", "ImportSource", "InvalidEntryError", "open_source"]

IMAGE_ENDINGS: Final = (*SUFFIXES.values(), ".jpeg", ".jpe", ".jfif")
LARGEST_IMAGE: Final = 256 << 20
# Images are compressed and records are text: legitimate entries compress less.
_MOST_RATIO: Final = 200
_RATIO_FREE_BYTES: Final = 1 << 20
# Limit of all bytes read, as a multiple of the archive's size: overlapping
# entries can each be large in a small archive.
_MOST_TIMES: Final = 4
_TOTAL_FREE_BYTES: Final = 64 << 20
# zipfile reads the whole central directory; this is that of some million files.
_LARGEST_INDEX: Final = 512 << 20
_STORED, _DEFLATED = 0, 8


class InvalidEntryError(Exception):
    """An entry that is rejected; the text continues the sentence after its
    name. `is_last` ends the import.
    """

    def __init__(self, reason: str, *, is_last: bool = False) -> None:
        super().__init__(reason)
        self.is_last = is_last


class ImportSource(Protocol):
    """Files by name; all methods block."""

    @property
    def names(self) -> Mapping[str, object]:
        """The names of the files, in order."""
        ...

    def read(self, name: str, most: int | None = None) -> bytes:
        """Read a file.

        Raises:
            InvalidEntryError: it exceeds `most` (a large default), cannot be
                read, or must not be read.
        """
        ...

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file. Raises like `read`."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file of any size as a stream. Raises like `read`; reading may
        raise any exception.
        """
        ...

    def moment(self, name: str) -> datetime.datetime | None:
        """Return the time of the file, if known."""
        ...

    def close(self) -> None: ...


def open_source(path: Path) -> ImportSource:
    """Open the source at a path. Blocking.

    Raises:
        InvalidRequestError: it is not a folder, a readable zip file or an
            image.
        StorageError: it cannot be read.
    """
    try:
        if path.is_dir():
            return FolderSource(path, dict(_files_below(path)))
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZipSource(path)
    is_image = is_held(head) or other_format(head) is not None
    if not is_image and not path.name.lower().endswith(IMAGE_ENDINGS):
        raise InvalidRequestError(
            f"Invalid source {path}: expected an image, a zip file or a folder."
        )
    beside = path.with_name(f"{path.name}.xmp")
    return FolderSource(
        path.parent, {one.name: one.resolve() for one in (path, beside) if os.path.isfile(one)}
    )


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    unread: list[Path] = []
    walked = os.walk(folder, onerror=lambda error: unread.append(Path(str(error.filename))))
    for here, folders, files in walked:
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in sorted([*files, *links]):
            # Programs keep their own data in hidden files.
            if not name.startswith("."):
                path = Path(here, name)
                yield path.relative_to(folder).as_posix(), path
    for path in unread:
        yield path.relative_to(folder).as_posix(), path


class FolderSource:
    """Files of a folder; `files` by their names. Links are not followed: they
    could expose any file of the user.
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

    def head(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read(HEAD_BYTES)

    def open(self, name: str) -> IO[bytes]:
        path = self._files[name]
        if path.is_symlink():
            raise InvalidEntryError("is a link, which is not followed.")
        if path.is_dir():
            raise InvalidEntryError("is a folder that cannot be read.")
        if not path.is_file():
            raise InvalidEntryError("is not a file.")
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
    """Files of a zip archive. Duplicate names get a number."""

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
            # zipfile raises a dozen kinds of exceptions for damaged files.
            self._file.close()
            raise InvalidRequestError(
                f"{path} is not a readable zip file ({shown_name(str(error))}): download it again,"
                " or unpack it and import the folder."
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
                # Reads at most the size in the header, and verifies the
                # checksum at the end.
                return file.read()
        except InvalidEntryError:
            raise
        except Exception as error:
            raise InvalidEntryError(
                f"is damaged in the archive ({shown_name(str(error))})."
            ) from error

    def head(self, name: str) -> bytes:
        entry = self._entries[name]
        _check_entry(entry)
        try:
            # Not counted: no more than these bytes are unpacked.
            with self._zip.open(entry) as file:
                return file.read(HEAD_BYTES)
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
                "and all entries after it were not read: the archive unpacks to more than"
                f" {_MOST_TIMES} times its size.",
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
    """Limit on the central directory, which zipfile would read into memory."""

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
            "has an unsupported compression: unpack the archive, and import the folder."
        )
    if entry.file_size > _RATIO_FREE_BYTES and entry.file_size > _MOST_RATIO * entry.compress_size:
        raise InvalidEntryError(
            f"unpacks to more than {_MOST_RATIO} times its size, which is not an image."
        )


def _too_large(most: int) -> str:
    return f"is larger than {most >> 20} MiB."


def _by_name(entries: Iterable[ZipInfo]) -> dict[str, ZipInfo]:
    found: dict[str, ZipInfo] = {}
    times: Counter[str] = Counter()
    for entry in entries:
        # Not `is_dir`, which fails for an empty name.
        if entry.filename.endswith("/"):
            continue
        name = entry.filename
        while name in found:
            # Counted from the last number, as one name may occur very often.
            times[entry.filename] += 1
            stem, dot, ending = entry.filename.rpartition(".")
            name = f"{stem} ({times[entry.filename] + 1}){dot}{ending}"
        found[name] = entry
    return found
