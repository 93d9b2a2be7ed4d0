"""Resources: models, images, collections, styles and kept prompts. Each goes
into a conversation, so it is bounded.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec
import trio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

import imagen

from ._context import ServerState, ToolContext, client_of, current_client
from ._results.library import found_image
from ._results.text import clip_line
from ._tools.image_names import find_image, id_in
from ._tools.library import find_collection
from ._tools.parameters import MODELS_URI

__all__ = ["COLLECTION_URI", "add_resources", "is_available", "live_models"]

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
            "The image models: what each can do, what it costs, and whether there is a key for it."
        ),
        mime_type=_JSON,
    )
    def models() -> str:
        return _list_models(settings, catalog)

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


# --- models -------------------------------------------------------------------


def _list_models(settings: imagen.Settings, catalog: imagen.providers.Catalog) -> str:
    """Return the live models as JSON; `available` is true if there is a key.

    The many models without a key are only named: the whole catalog would fill a
    conversation.
    """
    models = live_models(catalog)
    known = [_describe_model(model) for model in models if is_available(model, settings)]
    others = [
        {
            "id": model.id,
            "name": model.name,
            "provider": model.provider,
            "available": False,
            "operations": model.capabilities.operations,
        }
        for model in models
        if not is_available(model, settings)
    ]
    return msgspec.json.encode([*known, *others]).decode()


def _describe_model(model: imagen.Model) -> dict[str, object]:
    capabilities: dict[str, object] = msgspec.to_builtins(model.capabilities)
    return {
        "id": model.id,
        "name": model.name,
        "provider": model.provider,
        "description": model.description,
        "available": True,
        # Absent fields are left out.
        "capabilities": {
            name: value
            for name, value in capabilities.items()
            if value not in (None, False, [], ())
        },
        "rate_limit": model.rate_limit,
        "price": model.price,
        "use_cases": model.use_cases,
        "strengths": model.strengths,
        "weaknesses": model.weaknesses,
        "retires_on": model.lifecycle.retires_on,
    }


def live_models(catalog: imagen.providers.Catalog) -> list[imagen.Model]:
    """The models that are not retired."""
    today = datetime.datetime.now(datetime.UTC).date()
    return [model for model in catalog if model.lifecycle.state(today) != "retired"]


def is_available(model: imagen.Model, settings: imagen.Settings) -> bool:
    """Return True if there is a key for it, which is there for images: an
    assistant is not to choose what the AWS credentials of other work pay for.
    """
    access = settings.access.get(model.provider)
    return access is not None and access.configured and access.preferred
