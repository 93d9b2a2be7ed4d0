"""Atomic writer of zip files. Entries are stored: images are compressed
already.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..._errors import StorageError
from ..._system.atomic_files import AtomicFile

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

__all__ = ["ArchiveWriter"]

# Range of times in zip files.
_FIRST, _LAST = (
    datetime.datetime(1980, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2107, 12, 31, tzinfo=datetime.UTC),
)
_SPOOL_BYTES = 8 << 20


class ArchiveWriter:
    """Writer of an archive, which appears at its path when `finish` has synced
    it. All methods block.

    Raises:
        StorageError: it cannot be written; by every method but `abandon`.
    """

    def __init__(self, target: Path) -> None:
        from zipfile import ZipFile

        self._target = target
        # "." and "/" have no name, and a folder cannot be replaced: this fails
        # before any image is read.
        if not target.name or os.path.isdir(target):
            raise StorageError(
                f"The archive cannot be written to {target}: it is a folder. Name a file in it."
            )
        try:
            self._file = AtomicFile(target)
        except OSError as error:
            raise self._failure(error) from error
        self._zip: ZipFile = ZipFile(
            self._file.stream, "w", allowZip64=True, strict_timestamps=False
        )
        # Lines are collected while images are written; many of them go to an
        # anonymous file on the same disk.
        self._lines = tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(target.parent))  # noqa: SIM115

    def add(self, name: str, data: bytes, moment: datetime.datetime = _FIRST) -> None:
        """Add a file."""
        try:
            self._zip.writestr(_entry(name, moment), data)
        except OSError as error:
            raise self._failure(error) from error

    def add_line(self, line: bytes) -> None:
        """Add a line to the file that `finish` names."""
        try:
            self._lines.write(line + b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def finish(self, lines: str) -> int:
        """Add the file of all lines, commit the archive, and return its size."""
        entry = _entry(lines, _FIRST)
        try:
            entry.file_size = self._lines.seek(0, os.SEEK_END)
            self._lines.seek(0)
            with self._zip.open(entry, "w") as file:
                shutil.copyfileobj(self._lines, file, 1 << 20)
            self._zip.close()
            return self._file.commit()
        except OSError as error:
            raise self._failure(error) from error

    def abandon(self) -> None:
        """Remove the temporary file; no effect after `finish`."""
        # Closing the zip file would first write its central directory.
        self._zip.fp = None
        with suppress(OSError):
            self._lines.close()
        self._file.discard()

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(
            f"The archive cannot be written to {self._target}: {error.strerror or error}."
        )


def _entry(name: str, moment: datetime.datetime) -> ZipInfo:
    from zipfile import ZIP_STORED, ZipInfo

    shown = min(max(moment, _FIRST), _LAST).astimezone(datetime.UTC)
    entry = ZipInfo(name, shown.timetuple()[:6])
    entry.compress_type = ZIP_STORED
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry
