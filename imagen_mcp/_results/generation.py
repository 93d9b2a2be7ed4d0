"""Results of the tools that make images: structured content, short text, a
preview and a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from mcp.types import CallToolResult, ContentBlock, TextContent
from pydantic import BaseModel

import imagen

from .chat_errors import sentence
from .images import Blocks, ImageInfo, describe, image_blocks, read_image
from .text import spoken

__all__ = [
    "STATUS",
    "Status",
    "BatchReply",
    "CostReply",
    "Found",
    "ImageReply",
    "NumberedImage",
    "Problem",
    "batch_reply",
    "batch_state",
    "cost_reply",
    "failed",
    "image_reply",
    "result_of",
]

Status = Literal["created", "generating", "partial", "completed", "failed", "cancelled", "expired"]


class NumberedImage(ImageInfo):
    """Image with its `index` in order of completion."""

    index: int


class Problem(BaseModel):
    """An image that could not be made, or, without an index, what stopped the
    whole batch.
    """

    index: int | None
    code: str
    message: str
    retryable: bool


class BatchReply(BaseModel):
    """State of a batch, and the image that was pulled."""

    session_id: str
    status: Status
    requested_count: int
    completed_count: int
    pending_count: int
    image: NumberedImage | None
    errors: list[Problem]


class ImageReply(BaseModel):
    """One image."""

    image: NumberedImage


class CostReply(BaseModel):
    """Cost of images; null if the price is unknown."""

    model: str
    count: int
    low_usd: str | None
    expected_usd: str | None
    high_usd: str | None
    needs_confirmation: bool

    @property
    def images(self) -> str:
        """Text of what the quote is for."""
        what = "1 image" if self.count == 1 else f"{self.count} images"
        return f"{what} by {self.model}"


class Found(NamedTuple):
    """Image and its number in order of completion."""

    number: int
    image: imagen.Image


# --- results ------------------------------------------------------------------


async def image_reply(
    client: imagen.Client, found: Found, *, full: bool = False, notes: Sequence[str] = ()
) -> CallToolResult:
    """Return the result of `generate_image`."""
    blocks = await image_blocks(client, found.image, full=full)
    return result_of(
        ImageReply(image=_image(found)), [_describe(found), *blocks.notes, *notes], blocks.content
    )


async def batch_reply(
    client: imagen.Client,
    session: imagen.Session,
    found: Found | None,
    *,
    full: bool = False,
    notes: Sequence[str] = (),
) -> CallToolResult:
    """Return the result of the batch tools; `notes` come last, as they name the
    next call.
    """
    reply = batch_state(session, found)
    lines = [_count(reply)]
    blocks = Blocks([], [])
    if found is not None:
        blocks = await image_blocks(client, found.image, full=full)
        lines += [_describe(found), *blocks.notes]
    lines += _complaints(reply.errors)
    return result_of(reply, [*lines, *notes], blocks.content)


def cost_reply(reply: CostReply, notes: Sequence[str] = ()) -> CallToolResult:
    """Return the result of `estimate_cost`."""
    if reply.low_usd is None or reply.expected_usd is None or reply.high_usd is None:
        cost = f"The price of {reply.images} is unknown."
    elif reply.high_usd == "0":
        cost = f"{reply.images} would cost nothing."
    else:
        cost = (
            f"{reply.images} would cost about {spoken(reply.expected_usd)}: at least"
            f" {spoken(reply.low_usd)}, at most {spoken(reply.high_usd)}."
        )
    consent = (
        ["The user must agree to that before they are made."] if reply.needs_confirmation else []
    )
    return result_of(reply, [f"{cost} Nothing was made.", *consent, *notes], [])


def failed(error: imagen.ImagenError, hint: str = "") -> CallToolResult:
    """A tool error: the code and one sentence, with a hint if there is one."""
    text = f"[{error.code}] {sentence(error)}{hint}"
    if error.retry_after_seconds is not None:
        text += f" Wait {error.retry_after_seconds:g} seconds before trying again."
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


def result_of(
    reply: BaseModel, lines: Sequence[str], content: Sequence[ContentBlock]
) -> CallToolResult:
    """Return a result: structured content, the same as text, and images."""
    text = TextContent(text="\n".join(lines))
    return CallToolResult(
        content=[text, *content], structured_content=reply.model_dump(mode="json")
    )


# --- structured content -------------------------------------------------------


def batch_state(session: imagen.Session, found: Found | None) -> BatchReply:
    """Return the state of a batch, with the image that was pulled."""
    completed, failures = len(session.images), len(session.failures)
    return BatchReply(
        session_id=session.id,
        status=STATUS[session.state],
        requested_count=session.requested,
        completed_count=completed,
        pending_count=0 if session.finished else max(0, session.requested - completed - failures),
        image=None if found is None else _image(found),
        errors=_problems(session),
    )


STATUS: dict[str, Status] = {
    "CREATED": "created",
    "GENERATING": "generating",
    "PARTIAL": "partial",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}


def _image(found: Found) -> NumberedImage:
    return NumberedImage(index=found.number, **read_image(found.image).model_dump())


def _problems(session: imagen.Session) -> list[Problem]:
    errors: list[tuple[int | None, imagen.ImagenError]] = [
        (index, item.error) for index, item in session.failures
    ]
    if session.error is not None:
        errors.append((None, session.error))
    return [
        Problem(index=index, code=error.code, message=sentence(error), retryable=error.retryable)
        for index, error in errors
    ]


# --- text ---------------------------------------------------------------------


def _count(reply: BatchReply) -> str:
    return (
        f"Batch {reply.session_id} is {reply.status}: {reply.completed_count} of"
        f" {reply.requested_count} images are there, {reply.pending_count} pending,"
        f" {len(reply.errors)} failed."
    )


def _describe(found: Found) -> str:
    return describe(found.image, f"Image {found.number}")


def _complaints(problems: Sequence[Problem]) -> list[str]:
    """Return one line for all failures of one kind."""
    alike: dict[str, list[str]] = {}
    for problem in problems:
        what = "the batch" if problem.index is None else f"image {problem.index}"
        alike.setdefault(f"[{problem.code}] {problem.message}", []).append(what)
    return [f"Failed, {', '.join(whats)}: {text}" for text, whats in alike.items()]
