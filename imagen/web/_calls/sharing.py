"""Calls that give images away: links, and objects in a store."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Annotated

import msgspec

from ...sharing._links.shares import Share
from .._desk.desk import Desk
from .._wire.requests import find_image
from .calls import Calls
from .curating import IdsBody

__all__ = ["CALLS"]

CALLS = Calls()


class ShareView(msgspec.Struct, frozen=True, kw_only=True):
    """Link to an image or a collection; `url` is None if the user has not said
    where links are answered, and then `token` is its end.
    """

    id: str
    url: str | None
    token: str
    image: str | None
    collection: str | None
    created_at: datetime.datetime
    expires_at: datetime.datetime
    revoked_at: datetime.datetime | None


class SharesReply(msgspec.Struct, frozen=True, kw_only=True):
    """Links that work, the newest first."""

    shares: Sequence[ShareView]


class ShareBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Image or collection, and how long its link works."""

    image: str | None = None
    collection: str | None = None
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 7


class RevokedReply(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the link worked until now."""

    revoked: bool


@CALLS.get("shares")
async def shares(desk: Desk) -> SharesReply:
    """List the links that work."""
    found = await desk.client.shares.list()
    names = await _names(desk)
    return SharesReply(shares=[_view(one, names) for one in found])


@CALLS.post("shares", status=201)
async def share(desk: Desk, *, body: ShareBody) -> ShareView:
    """Make a link to an image or a collection."""
    image = None if body.image is None else await find_image(desk.client, body.image)
    made = await desk.client.shares.share(
        image, collection=body.collection, expires=datetime.timedelta(days=body.days)
    )
    return _view(made, await _names(desk))


@CALLS.post("shares/{share_id}/revoke")
async def revoke(desk: Desk, *, share_id: str) -> RevokedReply:
    """Revoke a link."""
    return RevokedReply(revoked=await desk.client.shares.revoke(share_id))


async def _names(desk: Desk) -> dict[str, str]:
    return {one.id: one.name for one in await desk.client.library.collections.list()}


def _view(share: Share, names: dict[str, str]) -> ShareView:
    return ShareView(
        id=share.id,
        url=share.url,
        token=share.token,
        image=share.image_id,
        collection=None if share.collection_id is None else names.get(share.collection_id),
        created_at=share.created_at,
        expires_at=share.expires_at,
        revoked_at=share.revoked_at,
    )


# --- stores -------------------------------------------------------------------


class PublishedView(msgspec.Struct, frozen=True, kw_only=True):
    """Image in the store; `url` is None where the store is private."""

    image: str
    url: str | None


class PublishedReply(msgspec.Struct, frozen=True, kw_only=True):
    """Images that are in the store now."""

    published: Sequence[PublishedView]


@CALLS.post("publishing")
async def publish(desk: Desk, *, body: IdsBody) -> PublishedReply:
    """Put images into the user's object store."""
    publisher = desk.client.publisher
    images = await desk.client.library.of_ids(body.ids)
    await publisher.publish(images)
    views = [PublishedView(image=image.id, url=publisher.url_of(image)) for image in images]
    return PublishedReply(published=views)
