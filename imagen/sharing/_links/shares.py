"""Links to images and collections that are given away: they end by themselves,
and can be taken back.
"""

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

__all__ = ["Share", "Shared", "Shares"]

_LONGEST = datetime.timedelta(days=3650)
_COLUMNS = "shares.id, shares.image_id, collection_id, shares.created_at, expires_at, revoked_at"


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A link that was given away, to an image or to a collection.

    Whoever has the `token` may look until `expires_at`. `url` is the whole
    link; None where IMAGEN_SHARE_URL is not set, and then it is the token below
    wherever `share_app` is mounted. Neither shows in a repr.
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


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What a token opens: an `image`, or a `collection`."""

    expires_at: datetime.datetime
    image: Image | None = None
    collection: Collection | None = None


class Shares:
    """The links of a library. They may be made, answered and taken back by
    several processes that have the same secret.
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
        """Makes a link to an image, or to a collection as it is whenever
        somebody looks.

        Who has the link sees the images, and nothing that was said of them: no
        prompt, no cost, no tags.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
            InvalidRequestError: there is no such image or collection, or it
                should last for less than a second or for more than ten years.
        """
        tokens = self._signing()
        if (image is None) == (collection is None):
            raise InvalidRequestError("Share one image, or one collection.")
        if not datetime.timedelta(seconds=1) <= expires <= _LONGEST:
            raise InvalidRequestError("A link lasts for one second to ten years.")
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
        """Takes a link back, at once and for good; gives whether there was one
        that worked.
        """
        changed = "UPDATE shares SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        values = (self._now(), share_id)
        return bool(
            await self._database.transact(lambda transaction: transaction.change(changed, values))
        )

    async def list(self, *, limit: int = 100, ended: bool = False) -> Sequence[Share]:
        """The newest links that work; with `ended` those too that have ended or
        were taken back.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
        """
        tokens = self._signing()
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM shares INDEXED BY shares_by_time WHERE ? OR (revoked_at IS"
            " NULL AND expires_at > ?) ORDER BY created_at DESC LIMIT ?",
            (ended, self._now(), limit),
        )
        return [self._read(row, tokens) for row in rows]

    async def resolve(self, token: str) -> Shared | None:
        """What a token opens now; None where it is forged, over or taken back,
        or where the image is gone or in the trash.
        """
        opened = None if self._tokens is None else self._tokens.read(token, self._now())
        if opened is None:
            return None
        rows = await self._database.read(
            "SELECT image_id, collection_id FROM shares WHERE id = ? AND expires_at = ? AND"
            " revoked_at IS NULL",
            (opened.share_id, opened.expires_at),
        )
        if not rows:
            return None
        image_id, collection_id = rows[0]
        expires_at = datetime.datetime.fromtimestamp(opened.expires_at, datetime.UTC)
        if image_id is None:
            return await self._collection(str(collection_id), expires_at)
        image = await self._library.get(str(image_id))
        return (
            None
            if image is None or image.trashed_at is not None
            else Shared(expires_at=expires_at, image=image)
        )

    async def images(self, collection: Collection, *, after: str | None = None) -> Page:
        """A page of the images of a shared collection, in its order.

        Raises:
            InvalidRequestError: the collection has gone meanwhile, or `after`
                is no cursor.
        """
        return await self._library.collections.images(collection.id, limit=200, after=after)

    async def image(self, collection: Collection, image_id: str) -> Image | None:
        """One image of a shared collection."""
        rows = await self._database.read(
            "SELECT 1 FROM images JOIN collection_images USING (number) WHERE id = ? AND"
            " collection_id = ?",
            (image_id, collection.id),
        )
        image = await self._library.get(image_id) if rows else None
        return None if image is None or image.trashed_at is not None else image

    def remaining(self, shared: Shared) -> int:
        """For how many seconds it may still be kept."""
        return max(0, int(shared.expires_at.timestamp() - self._now()))

    async def _collection(self, collection_id: str, expires_at: datetime.datetime) -> Shared | None:
        try:
            return Shared(
                expires_at=expires_at, collection=await self._library.collections.get(collection_id)
            )
        except InvalidRequestError:
            # Deleted meanwhile, and the share with it.
            return None

    def _signing(self) -> ShareTokens:
        if self._tokens is None:
            raise ConfigurationError(
                "Links are signed with a secret: set IMAGEN_SHARE_SECRET to at least 16 characters"
                " by chance."
            )
        return self._tokens

    async def _image_id(self, image: Image | str) -> str:
        found = await self._library.get(image if isinstance(image, str) else image.id)
        if found is None or found.trashed_at is not None:
            raise InvalidRequestError(
                "Only an image of the library that is not in the trash can be shared."
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
