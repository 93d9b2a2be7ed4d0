"""`imagen share`: links to images that expire and can be revoked."""

from __future__ import annotations

import argparse
import datetime

import msgspec

from .... import Client, InvalidRequestError, open_client
from ....sharing import Share
from ..._arguments.options import add_command, span
from ..._console import Console, ExitStatus
from ..library.library import find_images

__all__ = ["add_share_command", "run_share"]

_MOST = 1000
_WEEK = datetime.timedelta(days=7)


def add_share_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Defines it."""
    share = commands.add_parser(
        "share",
        help="share an image or collection by link; list and revoke links",
        description=(
            "Anyone with the link sees the images, and no prompts, costs or tags."
            " IMAGEN_SHARE_SECRET signs it, and a server answers it below IMAGEN_SHARE_URL:"
            " `imagen-mcp --http`, or imagen.sharing.share_app in one of yours."
        ),
    )
    add_command(share, run_share)
    share.add_argument(
        "id", nargs="?", metavar="ID", help="id from `imagen history`, or its beginning"
    )
    what = share.add_mutually_exclusive_group()
    what.add_argument(
        "--collection",
        metavar="NAME",
        help="share a collection with its content at the time of the visit",
    )
    what.add_argument("--list", action="store_true", help="list valid links, newest first")
    what.add_argument("--revoke", metavar="ID", help="revoke the link of this id")
    share.add_argument(
        "--expires",
        type=span,
        default=_WEEK,
        metavar="SPAN",
        help="lifetime: 12h, 7d, 4w (default: 7d)",
    )


async def run_share(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Makes, lists or takes back."""
    if bool(options.id) + bool(options.collection) + bool(options.list) + bool(options.revoke) != 1:
        raise InvalidRequestError(
            "Say what to share: ID or --collection NAME; or --list, or --revoke ID."
        )
    async with open_client() as client:
        if options.list:
            return await _tell(client, console)
        if options.revoke:
            return await _revoke(options.revoke, client, console)
        image = (await find_images(client, [options.id]))[0] if options.id else None
        share = await client.shares.share(
            image, collection=options.collection, expires=options.expires
        )
    if console.json:
        console.emit(_record(share))
        return ExitStatus.DONE
    console.say(share.url or share.token)
    if share.url is None:
        console.note(
            "This is the end of the link only: set IMAGEN_SHARE_URL to where your server answers"
            " links."
        )
    return ExitStatus.DONE


async def _revoke(share_id: str, client: Client, console: Console) -> ExitStatus:
    if not await client.shares.revoke(share_id):
        raise InvalidRequestError(
            f"There is no link {share_id} that works; imagen share --list lists them."
        )
    if console.json:
        console.emit({"kind": "revoked", "id": share_id})
    else:
        console.say("Taken back.")
    return ExitStatus.DONE


async def _tell(client: Client, console: Console) -> ExitStatus:
    shares = await client.shares.list(limit=_MOST)
    if console.json:
        for share in shares:
            console.emit(_record(share))
        return ExitStatus.DONE
    names = {one.id: one.name for one in await client.library.collections.list()}
    rows = [
        (
            share.id,
            share.image_id or names.get(share.collection_id or "", ""),
            f"{share.expires_at.astimezone():%Y-%m-%d %H:%M}",
            share.url or share.token,
        )
        for share in shares
    ]
    if rows:
        console.table(rows, ("ID", "SHOWS", "UNTIL", "LINK"))
    else:
        console.say("No links that work: imagen share ID makes one.")
    return ExitStatus.DONE


def _record(share: Share) -> dict[str, object]:
    return {"kind": "share", **msgspec.structs.asdict(share)}
