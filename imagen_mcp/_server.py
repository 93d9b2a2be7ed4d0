"""MCP server of the SDK with errors as one sentence, and images with their own
media type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    ToolError,
    UnexpectedResourceError,
    UnexpectedToolError,
)
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Resource,
    Tool,
)
from pydantic import AnyUrl, ValidationError

import imagen

from ._context import ServerState, ToolContext, client_of, offer_of_caller, shows_views
from ._offer import OWN_TOOLS, Offer
from ._results.chat_errors import name_sellers, sentence
from ._results.generation import failed
from ._results.text import clip_line
from ._schemas import short_input, short_output
from ._unknown_arguments import ignored_arguments, nearest, refuse_unknown
from ._view import VIEW_TOOLS, is_view, link_to_view

__all__ = ["Server"]

# Byte order marks of UTF-8 and UTF-16, and white space.
_BEFORE_MARKUP = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
_MARK_BYTES = 1024
_NO_TEXT = imagen.InvalidRequestError(
    "The arguments hold a lone surrogate, which is not valid text."
)


class Server(MCPServer[ServerState]):
    """The SDK hides every exception from the model; those of imagen are meant
    to be read. Bugs stay hidden, and logged.
    """

    def offer(self, offer: Offer) -> None:
        """Restrict the tools to an offer, outside of requests of people with one
        of their own.
        """
        self._default_offer = offer

    @property
    def _offer(self) -> Offer:
        return offer_of_caller() or self._default_offer

    async def list_tools(self) -> list[Tool]:
        listed = self._offer.listed
        tools = await self._tools()
        own = [_shorten(tool) for tool in tools if tool.name in listed]
        others = [tool for tool in tools if tool.name not in OWN_TOOLS]
        if shows_views():
            return [*map(link_to_view, own), *others]
        return own + [tool for tool in others if tool.name not in VIEW_TOOLS]

    async def list_resources(self) -> list[Resource]:
        listed = await super().list_resources()
        return listed if shows_views() else [one for one in listed if not is_view(one)]

    async def call_tool(
        self, name: str, arguments: dict[str, object], context: ToolContext | None = None
    ) -> CallToolResult | InputRequiredResult:
        if not _is_text(arguments):
            return failed(_NO_TEXT)
        if context is not None:
            await self._say_changes(context)
        try:
            return await super().call_tool(name, await self._known(name, arguments), context)
        except imagen.InvalidRequestError as error:
            return failed(error)
        except ToolError as error:
            # Arguments that do not fit the schema are the caller's; a reply
            # that does not fit its own is a bug.
            if isinstance(error.__cause__, ValidationError) and not isinstance(
                error, UnexpectedToolError
            ):
                return failed(_misfit(error.__cause__))
            if isinstance(error.__cause__, imagen.ImagenError):
                return failed(error.__cause__, _hint(error.__cause__, arguments, context))
            raise

    async def _say_changes(self, context: ToolContext) -> None:
        """Tell clients that the list of tools is another one than before."""
        if self._offer.has_changed():
            await context.session.send_tool_list_changed()
            await context.notify_tools_changed()

    async def _known(self, name: str, arguments: dict[str, object]) -> dict[str, object]:
        """Return the arguments that say something.

        Raises:
            InvalidRequestError: there is no such tool, or it lacks one of them.
        """
        tools = await self._tools()
        if name not in OWN_TOOLS and any(tool.name == name for tool in tools):
            return arguments
        chosen = self._offer.chosen
        schemas = {tool.name: tool.input_schema for tool in tools if tool.name in chosen}
        if name not in schemas:
            raise _no_tool(name, schemas)
        known = {tool: tuple(schema["properties"]) for tool, schema in schemas.items()}
        refuse_unknown(name, arguments, known, ignored_arguments())
        required = schemas[name].get("required", ())
        # Hosts fill in optional fields with null or empty text.
        return {
            key: value
            for key, value in arguments.items()
            if key in known[name] and (key in required or value not in (None, ""))
        }

    async def _filled(
        self, name: str, arguments: dict[str, object] | None
    ) -> dict[str, object] | None:
        """Return the arguments of a prompt without those that the user lets
        pass.
        """
        prompts = {
            prompt.name: [argument.name for argument in prompt.arguments or ()]
            for prompt in await self.list_prompts()
        }
        if name not in prompts or arguments is None:
            return arguments
        refuse_unknown(name, arguments, prompts, ignored_arguments())
        return {key: value for key, value in arguments.items() if key in prompts[name]}

    async def _tools(self) -> list[Tool]:
        return await super().list_tools()

    async def read_resource(
        self, uri: AnyUrl | str, context: ToolContext | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        try:
            contents = await super().read_resource(uri, context)
        except UnexpectedResourceError as error:
            # The SDK gives only resources that are not there the code of a wrong
            # parameter.
            if isinstance(cause := error.__cause__, imagen.InvalidRequestError):
                raise ResourceNotFoundError(_sentence(cause)) from cause
            if isinstance(cause, imagen.ImagenError):
                raise ResourceError(_sentence(cause)) from cause
            raise
        if isinstance(contents, InputRequiredResult):
            return contents
        # A template has one media type for all its images.
        return [
            (
                replace(item, mime_type=_media_type(item.content) or item.mime_type)
                if isinstance(item.content, bytes)
                else item
            )
            for item in contents
        ]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, object] | None = None,
        context: ToolContext | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        if not _is_text(arguments):
            raise MCPError(code=INVALID_PARAMS, message=_sentence(_NO_TEXT))
        try:
            return await super().get_prompt(name, await self._filled(name, arguments), context)
        except imagen.InvalidRequestError as error:
            raise MCPError(code=INVALID_PARAMS, message=_sentence(error)) from error
        except ValueError as error:
            if (told := _misused(error)) is None:
                raise
            raise MCPError(code=INVALID_PARAMS, message=_sentence(told)) from error


def _shorten(tool: Tool) -> Tool:
    output = tool.output_schema
    return tool.model_copy(
        update={
            "description": " ".join((tool.description or "").split()),
            "input_schema": short_input(tool.input_schema),
            "output_schema": None if output is None else short_output(output, tool.name),
        }
    )


def _sentence(error: imagen.ImagenError) -> str:
    return f"[{error.code}] {sentence(error)}"


def _hint(
    error: imagen.ImagenError, arguments: dict[str, object], context: ToolContext | None
) -> str:
    if context is None:
        return ""
    client = client_of(context)
    model = arguments.get("model") or client.settings.default_model
    return name_sellers(error, str(model), client.settings, client.catalog) if model else ""


def _no_tool(name: str, known: Iterable[str]) -> imagen.InvalidRequestError:
    meant = nearest(name, list(known))
    hint = f"; did you mean {' or '.join(meant)}?" if meant else "."
    return imagen.InvalidRequestError(f"There is no tool {clip_line(name, 40)!r}{hint}")


def _is_text(arguments: object) -> bool:
    """JSON can hold half a letter, which nothing behind this can write down."""
    try:
        msgspec.json.encode(arguments)
    except UnicodeEncodeError:
        return False
    return True


def _misused(error: ValueError) -> imagen.ImagenError | None:
    """Return the caller's error in a prompt call; None for a bug. The SDK wraps
    an exception of a prompt twice.
    """
    wrapped = error.__cause__
    cause = None if wrapped is None else wrapped.__cause__
    match cause:
        case None:
            return imagen.InvalidRequestError(f"{clip_line(str(error), 100)}.")
        case ValidationError():
            return _misfit(cause)
        case imagen.ImagenError():
            return cause
        case _:
            return None


def _misfit(error: ValidationError) -> imagen.InvalidRequestError:
    """The first argument that does not fit, in one sentence, without the value
    itself.
    """
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    where = clip_line(".".join(str(part) for part in wrong[0]["loc"]), 60)
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return imagen.InvalidRequestError(f"{where}: {wrong[0]['msg']}{more}.")


def _media_type(data: bytes) -> str | None:
    """Return the media type by the first bytes: PNG, JPEG, WebP, GIF, or markup
    of SVG; a library holds no others.
    """
    if data[:_MARK_BYTES].lstrip(_BEFORE_MARKUP).startswith(b"<"):
        return "image/svg+xml"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    heads = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((media_type for head, media_type in heads.items() if data.startswith(head)), None)
