"""Object store in which the images of a library live, and the copies of them on
this machine.

Below the folder of the library::

    3/3fa9....png         only here: not in the store yet
    inputs/3fa9....png    the same, of an input image
    cache/3/3fa9....png   copy of what the store has, or a link to one of these

So a copy may be removed at any time, and what lies elsewhere never is. An
object is named by the hash of its bytes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .._errors import ImagenError, StorageError
from .._policy.store_settings import ImageStoreSettings
from .._results.images import SUFFIXES
from .._storage.object_store import ObjectStore
from .._system.atomic_files import PART, write_atomically
from .._system.private_files import make_private_folder
from ..metadata._embed import kind_of

__all__ = ["INPUTS", "MEDIA_TYPES", "ImageStore"]

Result = TypeVar("Result")

INPUTS = "inputs"
_CACHE = "cache"
# Seconds before each further try: a reader or a paid image waits meanwhile.
_WAITS = (0.2, 1.0, 3.0)
_TRY_SECONDS = 10.0
# A caller may open a copy this long after it was fetched. Other processes use
# the same copies, so only the time of its last use protects one.
_IN_USE_SECONDS = 60.0
# Room that is made at once, so that not every new copy walks the folder.
_LEFT_AFTER_TRIM = 0.9
MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}


class ImageStore:
    """Images of one library in an object store. All calls block; threads and
    processes may share it.

    Args:
        folder: Folder of the library on this machine.
        prefix: Folder of the library in the store.
        now: Unix time, by which the use of copies is noted.

    Every method that asks the store may raise:
        ImagenError: the store failed after a few tries, which take seconds.
    """

    def __init__(
        self,
        settings: ImageStoreSettings,
        folder: Path,
        prefix: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._prefix = prefix
        self._now = now
        self._objects = ObjectStore(settings)
        self._lock = threading.Lock()
        self._fetching: dict[str, Future[None]] = {}
        self._cached_bytes: int | None = None

    def __reduce__(self) -> tuple[type[ImageStore], tuple[ImageStoreSettings, Path, str]]:
        # Images are sent to other processes.
        return ImageStore, (self._settings, self._folder, self._prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageStore) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.name, self._folder, self._prefix))

    @property
    def name(self) -> str:
        """URL of the store."""
        return self._settings.url

    def copy_of(self, sha256: str, media_type: str) -> Path:
        """Return the path of the copy of an image, which need not exist."""
        return self.copy_folder(sha256) / (sha256 + SUFFIXES[media_type])

    def copy_folder(self, sha256: str) -> Path:
        """Return the folder of the copy of an image."""
        return self._folder / _CACHE / sha256[:1]

    # --- into the store -------------------------------------------------------

    def check(self) -> None:
        """Open the store, without a request.

        Raises:
            ConfigurationError: the extra `store` is not installed, or the
                settings are wrong.
        """
        self._objects.check()

    def put(self, path: Path) -> None:
        """Put a file that is only here into the store, and make it a copy; no
        effect if it is gone. A copy can be put again.

        Raises:
            StorageError: the file cannot be read, or is damaged.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # Another process has put or deleted it.
            return
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise StorageError(
                f"The file {path} is damaged, so it is not put into the store. Run: imagen library"
                " check --repair"
            )
        media_type = MEDIA_TYPES[path.suffix]
        _retry(lambda: self._objects.put(self._key(path.stem), data, media_type))
        copy = self.copy_of(path.stem, media_type)
        if path == copy:
            return
        with suppress(FileNotFoundError):
            make_private_folder(copy.parent)
            path.replace(copy)
            # If the copy was a link to the file, both names are still there.
            path.unlink(missing_ok=True)
        self._use(copy)
        self._note(len(data))

    def link(self, path: Path) -> None:
        """Make a file that is only here readable as a copy too."""
        copy = self.copy_of(path.stem, MEDIA_TYPES[path.suffix])
        # Some file systems have no links; then `fetch` copies the file.
        with suppress(OSError):
            make_private_folder(copy.parent)
            os.link(path, copy)

    def only_here(self) -> Sequence[Path]:
        """Return the files that are not in the store yet."""
        folders = [self._folder / name for name in (*"0123456789abcdef", INPUTS)]
        return [path for folder in folders for path in _images_in(folder)]

    def home_of(self, copy: Path) -> Path | None:
        """Return the file that is only here; None if there is none."""
        places = (self._folder / copy.name[:1] / copy.name, self._folder / INPUTS / copy.name)
        return next((path for path in places if path.is_file()), None)

    def size_of(self, sha256: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""
        return _retry(lambda: self._objects.size(self._key(sha256)))

    def delete(self, sha256: str) -> None:
        """Delete an object; idempotent. It is tried once."""
        self._objects.delete(self._key(sha256))

    # --- out of it ------------------------------------------------------------

    def fetch(self, path: Path) -> Path:
        """Bring the copy at a path to this machine if it is not there, and
        return the path. Threads that want the same image wait for one of them.

        A minute later the copy may be gone again.

        Raises:
            StorageError: neither this machine nor the store has the image, the
                store cannot be reached, or the bytes there are damaged.
        """
        if self._use(path):
            return path
        with self._lock:
            running = self._fetching.get(path.name)
            mine = running or self._fetching.setdefault(path.name, Future())
        if running is not None:
            running.result()
            return path
        try:
            self._bring(path)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(None)
        finally:
            with self._lock:
                del self._fetching[path.name]
        return path

    def find(self, sha256: str) -> bytes | None:
        """Return the bytes of an object, and keep a copy; None if there is none.

        Raises:
            StorageError: as for `fetch`.
        """
        data = self._get(sha256)
        if data is not None and (media_type := kind_of(data)) in SUFFIXES:
            self._keep(self.copy_of(sha256, media_type), data)
        return data

    def trim(self) -> None:
        """Remove the least recently used copies until those that are left fit.

        Copies of the last minute stay, as they may be opened at this moment.
        """
        most, oldest_in_use = self._settings.max_cache_bytes, self._now() - _IN_USE_SECONDS
        copies = sorted(self._copies())
        left = sum(size for _, size, _ in copies)
        wanted = int(most * _LEFT_AFTER_TRIM) if left > most else left
        for used_at, size, path in copies:
            if left <= wanted or used_at > oldest_in_use:
                break
            # Windows keeps a file that is open.
            with suppress(OSError):
                path.unlink(missing_ok=True)
                left -= size
        with self._lock:
            self._cached_bytes = left

    def copies(self) -> Sequence[Path]:
        """Return the files of all copies, and leftovers of their writes."""
        return sorted(path for path in self._folder.glob(f"{_CACHE}/?/*") if path.is_file())

    def _bring(self, path: Path) -> None:
        kept = None if self._use(path) else self.home_of(path)
        if kept is not None:
            self.link(kept)
        if not self._use(path):
            self._keep(path, self._read(path.stem, kept))

    def _read(self, sha256: str, kept: Path | None) -> bytes:
        if kept is not None:
            with suppress(OSError):
                return kept.read_bytes()
        data = self._get(sha256)
        if data is None:
            raise StorageError(
                f"The image {sha256[:12]} is not in the store {self.name}: the machine that made"
                " it has not put it there yet, or it was deleted."
            )
        return data

    def _get(self, sha256: str) -> bytes | None:
        try:
            data = _retry(lambda: self._objects.get(self._key(sha256)))
        except ImagenError as error:
            raise StorageError(
                f"The image {sha256[:12]} cannot be fetched. {error.message}",
                retryable=error.retryable,
            ) from error
        if data is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise StorageError(
                f"The object of the image {sha256[:12]} in the store {self.name} is damaged: its"
                " bytes are not those that were put there. Restore it from a backup of the store."
            )
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise StorageError(
                f"The copy of an image cannot be written to {path.parent}:"
                f" {error.strerror or error}."
            ) from error
        self._use(path)
        self._note(len(data))

    def _use(self, path: Path) -> bool:
        """Return whether a copy is there, and note the time of its use."""
        now = self._now()
        try:
            os.utime(path, (now, now))
        except PermissionError:
            # The copies belong to another user of this machine.
            return path.is_file()
        except OSError:
            return False
        return True

    def _note(self, size_bytes: int) -> None:
        """Add a copy to the sum; make room if it is too large."""
        with self._lock:
            if self._cached_bytes is not None:
                self._cached_bytes += size_bytes
            is_full = (
                self._cached_bytes is None or self._cached_bytes > self._settings.max_cache_bytes
            )
        if is_full:
            self.trim()

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """Yield time of last use, size and path of what may be removed."""
        for path in self.copies():
            with suppress(OSError):
                status = path.stat()
                # A link to a file that is only here takes no room.
                if path.suffix != PART and status.st_nlink == 1:
                    yield status.st_mtime, status.st_size, path

    def _key(self, sha256: str) -> str:
        # Folders for file systems, which are slow with a million files in one.
        return f"{self._prefix}/{sha256[:2]}/{sha256}"


def _images_in(folder: Path) -> Sequence[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if Path(name).suffix in MEDIA_TYPES]


def _retry(call: Callable[[], Result]) -> Result:
    last_at = time.monotonic() + _TRY_SECONDS
    for wait_seconds in _WAITS:
        try:
            return call()
        except ImagenError as error:
            if not error.retryable or time.monotonic() + wait_seconds > last_at:
                raise
        time.sleep(wait_seconds)
    return call()
