"""Outcomes: `Image`, `Failure`, and their cost."""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from .._errors import ImagenError, StorageError
from .._requests.request import Request, operation_of
from .._requests.translation import Adjustment
from .._system.atomic_files import save_file
from .._system.texts_of_users import user_path
from .._system.version import version
from ..metadata._c2pa.signing import ContentSigner
from ..metadata._conversion import convert_to, media_type_for
from ..metadata._embed import embed_record, remove_sidecar, write_sidecar
from ..metadata._formats.svg import SVG
from ..metadata._record import Record
from .html import data_link, escape, figure, preview_link, usd_text

__all__ = [
    "Cost",
    "CostSource",
    "Failure",
    "Image",
    "Outcome",
    "RemoteFiles",
    "SUFFIXES",
    "as_hit",
    "failure_of",
]

CostSource = Literal["reported", "computed", "estimated", "unknown"]

SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    SVG: ".svg",
}


class RemoteFiles(Protocol):
    """Object store in which the files of a library live."""

    def fetch(self, path: Path) -> Path:
        """Bring a file to its path if it is not there, and return the path.
        Blocking.

        Raises:
            StorageError: the store cannot be reached, or does not have it.
        """
        ...


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Cost(_Value, frozen=True, kw_only=True):
    """Cost of one image in US dollars, and its source.

    `source` is "reported" by the provider, "computed" from the usage in its
    reply, "estimated" from the price list, or "unknown", and then `usd` is
    None.
    """

    usd: Decimal | None = None
    source: CostSource = "unknown"


class Image(_Value, frozen=True, kw_only=True):
    """One finished image.

    With a library the bytes are in the file at `path` and `data` reads them
    when asked; without one they are in memory, as they are where the disk
    failed, and then `storage_error` says why: `save` it elsewhere. `index` is
    the position of its request in the batch, `seconds` the time from sending to
    the last byte, `parent_id` the image that it was made from, `provider_id`
    the provider's own name for it or its job. `tags`, `rating` (1 to 5 stars, 0
    none) and `notes` are the user's, as they were when the image was read; one
    with a `trashed_at` is in the trash. `cached` means that the image was there
    already, and cost nothing now. With a `remote` store the file may be gone
    from `path`: `fetch` brings it back, as `data` and `save` do.
    """

    id: str
    index: int = 0
    request: Request
    media_type: str
    width: int
    height: int
    size_bytes: int
    stored_sha256: str | None = None
    path: Path | None = None
    inline_data: bytes | None = None
    revised_prompt: str | None = None
    model: str
    provider: str
    seed: int | None = None
    cost: Cost = Cost()
    adjustments: tuple[Adjustment, ...] = ()
    created_at: datetime.datetime
    seconds: float = 0.0
    attempt_id: str = ""
    parent_id: str | None = None
    provider_id: str | None = None
    storage_error: str | None = None
    tags: tuple[str, ...] = ()
    rating: int = 0
    notes: str = ""
    trashed_at: datetime.datetime | None = None
    cached: bool = False
    remote: RemoteFiles | None = None

    @property
    def prompt(self) -> str:
        """Prompt of the request; `revised_prompt` is the provider's version, if
        there is one.
        """
        return self.request.prompt

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal: the name of its file in the
        library. Computed where none keeps it.
        """
        return self.stored_sha256 or hashlib.sha256(self.data).hexdigest()

    @property
    def data(self) -> bytes:
        """Bytes of the image as the provider sent them; read from the disk if a
        library keeps it.

        Raises:
            StorageError: the file is gone or cannot be read.
        """
        if self.inline_data is not None:
            return self.inline_data
        try:
            return self.fetch().read_bytes()
        except OSError as error:
            raise StorageError(
                f"The image {self.id} cannot be read from {self.path}: {error.strerror}."
            ) from error

    def fetch(self) -> Path:
        """Return the path of the image's file, which is fetched from the object
        store if it lives there and this machine has no copy. Blocking.

        Such a copy may be removed again a minute later.

        Raises:
            StorageError: the image has no file, or it cannot be fetched.
        """
        if self.path is None:
            raise StorageError(f"The image {self.id} has neither bytes nor a file.")
        return self.path if self.remote is None else self.remote.fetch(self.path)

    @property
    def suffix(self) -> str:
        """The file name's ending that fits the media type, with its dot."""
        return SUFFIXES[self.media_type]

    @property
    def record(self) -> Record:
        """Everything that is needed to make the image again, as `save` puts it
        into a copy.
        """
        return Record(
            software=version(),
            id=self.id,
            request=msgspec.to_builtins(self.request),
            operation=operation_of(self.request),
            prompt=self.prompt,
            revised_prompt=self.revised_prompt,
            provider=self.provider,
            model=self.model,
            seed=self.seed,
            adjustments=self.adjustments,
            cost_usd=self.cost.usd,
            cost_source=self.cost.source,
            created_at=self.created_at,
            seconds=self.seconds,
            attempt_id=self.attempt_id,
            parent_id=self.parent_id,
            provider_id=self.provider_id,
            sha256=self.sha256,
            tags=self.tags,
            rating=self.rating,
            notes=self.notes,
        )

    def save(
        self, path: str | Path, *, record: bool = True, signer: ContentSigner | None = None
    ) -> Path:
        """Write a copy of the image atomically, and return its path. Blocking.

        The ending of the name decides the format: .png, .jpg, .webp, .gif,
        .avif, .tif, .bmp or .jp2, and .svg for an SVG. An image of another
        format is converted, which drops a seal of the provider; an SVG is drawn
        then, which needs the extra `svg`. A name without such an ending gets the
        bytes as they are. "~" is the home of the user.

        Args:
            record: Write the image's record into the copy; the pixels stay. If
                it would break the provider's seal (C2PA), or the format has no
                room for it, it goes beside the copy as NAME.xmp. A NAME.xmp of
                an earlier image is removed.
            signer: Seal image and record with the user's certificate; a seal of
                the provider becomes its parent.

        Raises:
            StorageError: the file cannot be written; the message tells why.
            InvalidRequestError: the ending means another format, such as .heic
                or .txt.
            ConfigurationError: it cannot be sealed, or the extra `svg` is not
                installed.
        """
        target = user_path(path)
        if self.path is not None and target.resolve() == self.path.resolve():
            # The library's own file stays as the provider sent it, as its name
            # is its hash.
            return target
        media_type = media_type_for(target, self.media_type)
        original = self.data
        data = original if media_type is None else convert_to(original, media_type)
        if signer is not None:
            data = signer.seal(data, self.record)
            record = False
        marked = embed_record(data, self.record) if record else None
        self._write(target, data if marked is None else marked)
        if record and marked is None:
            write_sidecar(target, self.record if data is original else self._record_of(data))
        else:
            remove_sidecar(target)
        return target

    def _record_of(self, data: bytes) -> Record:
        # A sidecar is trusted by the hash of the file beside it.
        return msgspec.structs.replace(self.record, sha256=hashlib.sha256(data).hexdigest())

    def _write(self, target: Path, data: bytes) -> None:
        try:
            save_file(target, data)
        except StorageError as error:
            still = f" It is still at {self.path}." if self.path is not None else ""
            raise StorageError(f"The image cannot be saved. {error.message}{still}") from error

    def _repr_html_(self) -> str:
        try:
            # Shown as an image, an SVG runs no scripts.
            vector = self.media_type == SVG
            link = data_link(SVG, self.data) if vector else preview_link(self.data)
        except StorageError:
            link = None
        cost = "free, from the library" if self.cached else usd_text(self.cost.usd)
        caption = f"{self.width} x {self.height}, {self.model}, {cost}, {self.id[:8]}"
        return figure(link, self.prompt, caption)

    def __repr__(self) -> str:
        where = f", path={str(self.path)!r}" if self.path else ""
        return (
            f"Image({self.id}, {self.width}x{self.height} {self.media_type},"
            f" model={self.model!r}{where})"
        )


class Failure(_Value, frozen=True, kw_only=True):
    """Request without an image, and its error."""

    index: int = 0
    request: Request
    error: ImagenError
    model: str | None = None
    provider: str | None = None
    cost: Cost = Cost(usd=Decimal(0), source="reported")

    def _repr_html_(self) -> str:
        return (
            f"<p><strong>{escape(self.error.code)}</strong> {escape(self.error)}<br>"
            f"<em>{escape(self.request.prompt)}</em></p>"
        )


Outcome = Image | Failure


def as_hit(image: Image, index: int) -> Image:
    """Return an image of the library as the free outcome of another request."""
    free = Cost(usd=Decimal(0), source="reported")
    return msgspec.structs.replace(image, index=index, cost=free, cached=True)


def failure_of(
    request: Request,
    index: int,
    error: ImagenError,
    *,
    model: str | None = None,
    provider: str | None = None,
    first: bool = True,
) -> Failure:
    """Return the outcome of a failed request; it cost nothing only if the error
    tells so.

    Of several that failed together the `first` bears the cost.
    """
    cost = Cost(usd=Decimal(0), source="reported") if error.billed == "no" else Cost()
    if error.cost_usd is not None:
        cost = Cost(usd=error.cost_usd if first else Decimal(0), source=error.cost_source)
    return Failure(
        index=index, request=request, error=error, model=model, provider=provider, cost=cost
    )
