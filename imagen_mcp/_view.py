"""A view of images inside the host (MCP Apps): a page that the host shows in a
frame beside the result of a tool.

The page pulls images by tools that only it may call, so their bytes enter no
conversation. Hosts without MCP Apps see neither, and everything else as before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mcp.server.apps import Apps, ResourceCsp
from mcp.types import (
    CallToolResult,
    ContentBlock,
    ImageContent,
    Resource,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

import imagen

from ._context import ToolContext, client_of, current_state
from ._results.generation import BatchReply, batch_state
from ._results.images import image_blocks
from ._results.text import spoken
from ._tools.image_names import find_image
from ._tools.parameters import After, Full, SessionId, clamp
from ._tools.sessions import session_of, wait_image

__all__ = ["VIEW_TOOLS", "is_view", "link_to_view", "make_view"]

_URI = "ui://imagen/images.html"
# Hosts give a call 60 s.
_LONGEST_WAIT = 25.0
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

_SHOWN = frozenset(
    {
        "generate_image",
        "start_image_batch",
        "edit_image",
        "create_variations",
        "enhance_image",
        "restyle_image",
        "resume_batch",
        "search_images",
        "show_image",
    }
)


class BatchView(BatchReply):
    """State of a batch for the page; `cost` is text."""

    cost: str


async def view_batch(
    session_id: SessionId, ctx: ToolContext, after: After = None, timeout: float = 20.0
) -> Annotated[CallToolResult, BatchView]:
    """Wait for the next image of a batch, and return its preview."""
    session = await session_of(ctx, session_id)
    found = await wait_image(session, after, clamp(timeout, 0.0, _LONGEST_WAIT), ctx)
    content = [] if found is None else await _preview(ctx, found.image, full=False)
    state = batch_state(session, found).model_dump(mode="json")
    return CallToolResult(
        content=content, structured_content={**state, "cost": _cost(session.status())}
    )


async def view_image(
    image_id: Annotated[str, Field(description="Its id or imagen:// URI.")],
    ctx: ToolContext,
    full: Full = False,
) -> CallToolResult:
    """Return an image of the library, as a preview or in full."""
    return CallToolResult(
        content=[*await _preview(ctx, await find_image(ctx, image_id), full=full)]
    )


class ViewTools(BaseModel):
    """Names of the tools that the page may offer to its user."""

    tools: list[str]


async def view_tools(ctx: ToolContext) -> Annotated[CallToolResult, ViewTools]:
    """Return the tools that some configured model can serve."""
    listed = ViewTools(tools=sorted(current_state().offer.listed))
    return CallToolResult(content=[], structured_content=listed.model_dump())


_OWN = (
    (view_batch, "Follow a batch"),
    (view_image, "Look at an image"),
    (view_tools, "See what can be done"),
)
VIEW_TOOLS = frozenset(function.__name__ for function, _ in _OWN)


async def _preview(ctx: ToolContext, image: imagen.Image, *, full: bool) -> list[ContentBlock]:
    """Return the image, or why it cannot be shown."""
    blocks = await image_blocks(client_of(ctx), image, full=full)
    shown = [block for block in blocks.content if isinstance(block, ImageContent)]
    return [*shown, *(TextContent(text=note) for note in blocks.notes if not shown)]


def _cost(status: imagen.BatchStatus) -> str:
    known = spoken(status.cost_usd) if status.cost_usd else "free"
    return known if not status.unknown_costs else f"{known} and an unknown amount"


def make_view() -> Apps:
    """Return the extension with the page and its tools."""
    apps = Apps()
    page = Path(__file__).with_name("view.html").read_text("utf-8")
    nothing = ResourceCsp(connect_domains=[], resource_domains=[])
    apps.add_html_resource(_URI, page, name="images", title="Images", csp=nothing)
    for function, title in _OWN:
        apps.tool(resource_uri=_URI, visibility=["app"], title=title, annotations=_READS)(function)
    return apps


def is_view(resource: Resource) -> bool:
    """Return True for the page."""
    return str(resource.uri) == _URI


def link_to_view(tool: Tool) -> Tool:
    """Return the tool as hosts with MCP Apps see it: its result is shown by the
    page.
    """
    if tool.name not in _SHOWN:
        return tool
    # Some hosts still read the older name.
    meta = {**(tool.meta or {}), "ui": {"resourceUri": _URI}, "ui/resourceUri": _URI}
    return tool.model_copy(update={"meta": meta})
