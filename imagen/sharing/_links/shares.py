"""Links to images and collections that expire and can be revoked."""

from __future__ import annotations

import datetime
import math
import secrets
import time
from collections.abc import Callable, Sequence

import msgspec

from ..._errors import ConfigurationError, InvalidRequestError
from ..._results.images import Image
from ..._storage.database import Database, Row
from ..._system.secret import Secret
from ..._system.threads import Workers
from ...library._collections import Collection
from ...library._imaging.renditions import Renditions
from ...library._library import Library
from ...library._query import Page
from .tokens import ShareTokens

__all__ = ["Share", "ShareTarget", "Shares"]

_LONGEST = datetime.timedelta(days=3650)
_COLUMNS = "shares.id, shares.image_id, collection_id, shares.created_at, expires_at, revoked_at"


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A link to an image or a collection.

    The `token` grants access until `expires_at`. `url` is the complete link;
    None without IMAGEN_SHARE_URL: then it is the token below the mount path of
    `share_app`. Neither appears in a repr.
    """

    id: str
    token: str
    url: str | None
    image_id: str | None
    collection_id: str | None
    created_at: datetime.datetime
    expires_at: datetime.datetime
    revoked_at: datetime.datetime | None = None

    def __repr__(self) -> str:
        what = (
            f"image_id={self.image_id!r}"
            if self.image_id is not None
            else f"collection_id={self.collection_id!r}"
        )
        return f"Share({self.id}, {what}, expires_at={self.expires_at.isoformat()})"


class ShareTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Target of a token: an `image` or a `collection`."""

    expires_at: datetime.datetime
    image: Image | None = None
    collection: Collection | None = None


class Shares:
    """Links of a library. Several processes with the same secret may create,
    serve and revoke them.
    """

    def __init__(
        self,
        database: Database,
        library: Library,
        renditions: Renditions,
        workers: Workers,
        *,
        secret: Secret | None,
        url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.renditions = renditions
        self.workers = workers
        self._database = database
        self._library = library
        self._tokens = None if secret is None else ShareTokens(secret)
        self._url = None if url is None else url.rstrip("/")
        self._now = now

    async def share(
        self,
        image: Image | str | None = None,
        *,
        collection: str | None = None,
        expires: datetime.timedelta = datetime.timedelta(days=7),
    ) -> Share:
        """Create a link to an image, or to a collection with its current images
        at each visit.

        The link shows the images without their metadata: no prompt, cost or
        tags.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
            InvalidRequestError: the image or collection is unknown, or the
                lifetime is not from one second to ten years.
        """
        tokens = self._signing()
        if (image is None) == (collection is None):
            raise InvalidRequestError("Invalid share: expected one image or one collection.")
        if not datetime.timedelta(seconds=1) <= expires <= _LONGEST:
            raise InvalidRequestError(
                "Invalid lifetime of a link: expected one second to ten years."
            )
        image_id = None if image is None else await self._image_id(image)
        collection_id = (
            None if collection is None else (await self._library.collections.get(collection)).id
        )
        share_id, created_at = secrets.token_hex(8), self._now()
        expires_at = math.ceil(created_at + expires.total_seconds())
        row = (share_id, image_id, collection_id, created_at, expires_at, None)
        sql = (
            "INSERT INTO shares (id, image_id, collection_id, created_at, expires_at, revoked_at)"
            " VALUES (?, ?, ?, ?, ?, ?)"
        )
        await self._database.write([(sql, row)])
        return self._read(row, tokens)

    async def revoke(self, share_id: str) -> bool:
        """Revoke a link at once and permanently; return whether it was active."""
        changed = "UPDATE shares SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        values = (self._now(), share_id)
        return bool(
            await self._database.transact(lambda transaction: transaction.change(changed, values))
        )

    async def list(self, *, limit: int = 100, ended: bool = False) -> Sequence[Share]:
        """Return the newest active links; with `ended` also expired and revoked
        ones.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
        """
        tokens = self._signing()
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM shares INDEXED BY shares_by_time WHERE ? = 1 OR (revoked_at IS"
            " NULL AND expires_at > ?) ORDER BY created_at DESC LIMIT ?",
            (int(ended), self._now(), limit),
        )
        return [self._read(row, tokens) for row in rows]

    async def resolve(self, token: str) -> ShareTarget | None:
        """Return the target of a token; None if it is forged, expired or
        revoked, or if the image is deleted or trashed.
        """
        contents = None if self._tokens is None else self._tokens.read(token, self._now())
        if contents is None:
            return None
        rows = await self._database.read(
            "SELECT image_id, collection_id FROM shares WHERE id = ? AND expires_at = ? AND"
            " revoked_at IS NULL",
            (contents.share_id, contents.expires_at),
        )
        if not rows:
            return None
        image_id, collection_id = rows[0]
        expires_at = datetime.datetime.fromtimestamp(contents.expires_at, datetime.UTC)
        if image_id is None:
            return await self._collection(str(collection_id), expires_at)
        image = await self._library.get(str(image_id))
        return (
            None
            if image is None or image.trashed_at is not None
            else ShareTarget(expires_at=expires_at, image=image)
        )

    async def images(self, collection: Collection, *, after: str | None = None) -> Page:
        """Return a page of a shared collection, in its order.

        Raises:
            InvalidRequestError: the collection was deleted, or `after` is not a
                cursor.
        """
        return await self._library.collections.images(collection.id, limit=200, after=after)

    async def image(self, collection: Collection, image_id: str) -> Image | None:
        """Return one image of a shared collection."""
        rows = await self._database.read(
            "SELECT 1 FROM images JOIN collection_images USING (number) WHERE id = ? AND"
            " collection_id = ?",
            (image_id, collection.id),
        )
        image = await self._library.get(image_id) if rows else None
        return None if image is None or image.trashed_at is not None else image

    def remaining(self, shared: ShareTarget) -> int:
        """Return the seconds until the link expires."""
        return max(0, int(shared.expires_at.timestamp() - self._now()))

    async def _collection(
        self, collection_id: str, expires_at: datetime.datetime
    ) -> ShareTarget | None:
        try:
            return ShareTarget(
                expires_at=expires_at, collection=await self._library.collections.get(collection_id)
            )
        except InvalidRequestError:
            # Deleted meanwhile, and the share with it.
            return None

    def _signing(self) -> ShareTokens:
        if self._tokens is None:
            raise ConfigurationError(
                "Links are signed with a secret: set IMAGEN_SHARE_SECRET to at least 16 random"
                " characters."
            )
        return self._tokens

    async def _image_id(self, image: Image | str) -> str:
        found = await self._library.get(image if isinstance(image, str) else image.id)
        if found is None or found.trashed_at is not None:
            raise InvalidRequestError(
                "The image cannot be shared: expected an image of the library outside the trash."
            )
        return found.id

    def _read(self, row: Row, tokens: ShareTokens) -> Share:
        share_id, image_id, collection_id, created_at, expires_at, revoked_at = row
        token = tokens.make(str(share_id), int(float(str(expires_at))))
        return Share(
            id=str(share_id),
            token=token,
            url=None if self._url is None else f"{self._url}/{token}",
            image_id=None if image_id is None else str(image_id),
            collection_id=None if collection_id is None else str(collection_id),
            created_at=_moment(created_at),
            expires_at=_moment(expires_at),
            revoked_at=None if revoked_at is None else _moment(revoked_at),
        )


def _moment(value: object) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(float(str(value)), datetime.UTC)
