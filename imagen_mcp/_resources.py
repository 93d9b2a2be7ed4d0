"""Resources: models, images, collections, styles and kept prompts. Each goes
into a conversation, so it is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec
import trio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

import imagen

from ._context import ServerState, ToolContext, client_of, current_client
from ._models import MODELS_URI, list_models
from ._results.library import found_image
from ._results.text import clip_line, no_such
from ._tools.image_names import find_image, id_in
from ._tools.library import find_collection

__all__ = ["COLLECTION_URI", "add_resources"]

COLLECTION_URI = "imagen://collections/{+name}"
_MOST_COLLECTIONS = 100
_MOST_IMAGES = 50
_MOST_STYLES = 200
_MOST_PROMPTS = 100
_MOST_WORDS = 3
_LONGEST_TEXT = 160
_JSON = "application/json"


def add_resources(
    server: MCPServer[ServerState], settings: imagen.Settings, catalog: imagen.providers.Catalog
) -> None:
    """Registers all of them."""

    @server.resource(
        MODELS_URI,
        name="models",
        title="Image models",
        description=(
            "The image models and whether there is a key for each; in detail as far as there is"
            f" room, and all of one provider at {MODELS_URI}/PROVIDER. find_models finds some."
        ),
        mime_type=_JSON,
    )
    def models() -> str:
        return msgspec.json.encode(list_models(settings, catalog)).decode()

    @server.resource(
        f"{MODELS_URI}/{{provider}}",
        name="provider_models",
        title="Image models of a provider",
        description="The image models of one provider, in detail.",
        mime_type=_JSON,
    )
    def models_of(provider: str) -> str:
        if provider not in settings.access:
            raise no_such("provider", provider, sorted(settings.access))
        return msgspec.json.encode(list_models(settings, catalog, provider)).decode()

    for uri, name, title, read in (
        (
            "imagen://collections",
            "collections",
            "The collections of the library",
            _list_collections,
        ),
        ("imagen://styles", "styles", "The styles for apply_styles", _list_styles),
        (
            "imagen://prompts",
            "prompts",
            "The prompts that the user keeps, for @NAME",
            _list_prompts,
        ),
    ):
        server.resource(uri, name=name, title=title, description=f"{title}.", mime_type=_JSON)(read)
    for uri, name, title, read_one, media_type in (
        ("imagen://images/{image_id}", "image", "An image in full", _read_image, "image/png"),
        (
            "imagen://images/{image_id}/thumbnail",
            "thumbnail",
            "A small image",
            _read_thumbnail,
            "image/webp",
        ),
        (
            COLLECTION_URI,
            "collection",
            "A collection and its first images",
            _read_collection,
            _JSON,
        ),
    ):
        server.resource(uri, name=name, title=title, description=f"{title}.", mime_type=media_type)(
            read_one
        )


# --- images -------------------------------------------------------------------


async def _read_image(image_id: str, ctx: ToolContext) -> bytes:
    image = await _find(image_id, ctx)
    return await trio.to_thread.run_sync(lambda: image.data)


async def _read_thumbnail(image_id: str, ctx: ToolContext) -> bytes:
    return await client_of(ctx).renditions.read(
        await _find(image_id, ctx), imagen.library.thumbnail(512)
    )


async def _find(image_id: str, ctx: ToolContext) -> imagen.Image:
    # A part of a URI names no path.
    if id_in(image_id) is None:
        raise ResourceNotFoundError(
            f"There is no image {clip_line(image_id, 40)!r} in the library."
        )
    return await find_image(ctx, image_id)


# --- lists --------------------------------------------------------------------


async def _list_collections() -> str:
    collections = await current_client().library.collections.list()
    listed = [
        {
            "name": one.name,
            "images": one.images,
            "notes": clip_line(one.notes, _LONGEST_TEXT),
            "uri": f"imagen://collections/{quote(one.name)}",
        }
        for one in collections[:_MOST_COLLECTIONS]
    ]
    return _listing("collections", listed, len(collections))


async def _read_collection(name: str, ctx: ToolContext) -> str:
    client = client_of(ctx)
    found = await find_collection(client, name)
    page = await client.library.collections.images(found.id, limit=_MOST_IMAGES)
    images = [found_image(image).model_dump() for image in page]
    about = {"name": found.name, "notes": clip_line(found.notes, _LONGEST_TEXT)}
    return _listing("images", images, found.images, about)


async def _list_styles() -> str:
    styles = await current_client().styles()
    listed = [
        {"name": style.name, "description": clip_line(style.description, _LONGEST_TEXT)}
        for style in list(styles.values())[:_MOST_STYLES]
    ]
    return _listing("styles", listed, len(styles))


async def _list_prompts() -> str:
    prompts = await current_client().prompts.list(limit=_MOST_PROMPTS + 1)
    listed = [
        {
            "name": one.name,
            "text": clip_line(one.text, _LONGEST_TEXT),
            "tags": one.tags[:_MOST_WORDS],
            "styles": one.styles[:_MOST_WORDS],
        }
        for one in prompts[:_MOST_PROMPTS]
    ]
    return _listing("prompts", listed, len(prompts))


def _listing(
    what: str,
    listed: Sequence[Mapping[str, object]],
    there: int,
    about: Mapping[str, object] | None = None,
) -> str:
    return msgspec.json.encode(
        {**(about or {}), what: listed, "more": there > len(listed)}
    ).decode()
