"""What a tool answers: structured content, short text, a preview and a link.

Hosts count base64 in text or structured content as words, refuse results above 1 MiB, and break a conversation for good over
pictures above 2000 pixels (docs/mcp.md). So the bytes of a picture stand in an image block and nowhere else, and bounded.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

import trio
from mcp.types import Annotations, CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel

import imagen

if TYPE_CHECKING:
    from PIL import Image as PillowImage

__all__ = [
    "BatchReply",
    "CostReply",
    "Found",
    "Picture",
    "PictureReply",
    "Problem",
    "batch_reply",
    "cost_reply",
    "dollars",
    "failed",
    "picture_reply",
    "spoken",
]

PREVIEW_SIDE = 768
_PREVIEW_QUALITY = 80
# 525,000 bytes are 700,000 characters of base64.
INLINE_BYTES = 525_000
_INLINE_SIDE = 2000
_LONGEST_TEXT = 400
_READABLE = Decimal("0.0001")
# A picture being decoded takes its pixels times four in memory.
_threads = trio.CapacityLimiter(os.cpu_count() or 1)

Status = Literal["created", "generating", "partial", "completed", "failed", "cancelled", "expired"]


class Picture(BaseModel):
    """A finished picture. `index` is its number in order of completion; `uri` is None where the disk failed."""

    index: int
    id: str
    uri: str | None
    path: str | None
    media_type: str
    width: int
    height: int
    size_bytes: int
    model: str
    cost_usd: str | None
    parent_id: str | None
    adjustments: list[str]


class Problem(BaseModel):
    """A picture that could not be made, or, without an index, what stopped the whole batch."""

    index: int | None
    code: str
    message: str
    retryable: bool


class BatchReply(BaseModel):
    """Where a batch stands, and the picture that was pulled."""

    session_id: str
    status: Status
    requested_count: int
    completed_count: int
    pending_count: int
    image: Picture | None
    errors: list[Problem]


class PictureReply(BaseModel):
    """One picture."""

    image: Picture


class CostReply(BaseModel):
    """What pictures would cost; null where nobody published a price."""

    model: str
    count: int
    low_usd: str | None
    expected_usd: str | None
    high_usd: str | None
    needs_confirmation: bool

    @property
    def pictures(self) -> str:
        """What it is for, in words."""
        what = "1 picture" if self.count == 1 else f"{self.count} pictures"
        return f"{what} by {self.model}"


class Found(NamedTuple):
    """A picture and its number in order of completion."""

    number: int
    image: imagen.Image


# --- results --------------------------------------------------------------------------------------------------------


async def picture_reply(found: Found, *, full: bool = False, notes: Sequence[str] = ()) -> CallToolResult:
    """The answer of `generate_image`."""
    blocks = await _picture_blocks(found.image, full=full)
    return _result(PictureReply(image=_picture(found)), [_describe(found), *blocks.notes, *notes], blocks.content)


async def batch_reply(
    session: imagen.Session, found: Found | None, *, full: bool = False, notes: Sequence[str] = ()
) -> CallToolResult:
    """The answer of the batch tools; `notes` come last, as they say what to do next."""
    reply = _batch(session, found)
    lines = [_count(reply)]
    blocks = _Blocks([], [])
    if found is not None:
        blocks = await _picture_blocks(found.image, full=full)
        lines += [_describe(found), *blocks.notes]
    lines += _complaints(reply.errors)
    return _result(reply, [*lines, *notes], blocks.content)


def cost_reply(reply: CostReply, notes: Sequence[str] = ()) -> CallToolResult:
    """The answer of `estimate_cost`."""
    if reply.low_usd is None or reply.expected_usd is None or reply.high_usd is None:
        cost = f"Nobody published what {reply.pictures} would cost."
    elif reply.high_usd == "0":
        cost = f"{reply.pictures} would cost nothing."
    else:
        cost = (
            f"{reply.pictures} would cost about {spoken(reply.expected_usd)}: at least {spoken(reply.low_usd)}, at most "
            f"{spoken(reply.high_usd)}."
        )
    consent = ["The user must agree to that before they are made."] if reply.needs_confirmation else []
    return _result(reply, [f"{cost} Nothing was made.", *consent, *notes], [])


def failed(error: imagen.ImagenError) -> CallToolResult:
    """A tool error: the code and one sentence."""
    text = f"[{error.code}] {_clip(error.message)}"
    if error.retry_after_seconds is not None:
        text += f" Wait {error.retry_after_seconds:g} seconds before trying again."
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


def _result(reply: BaseModel, lines: Sequence[str], content: Sequence[ContentBlock]) -> CallToolResult:
    text = TextContent(text="\n".join(lines))
    return CallToolResult(content=[text, *content], structured_content=reply.model_dump(mode="json"))


# --- structured content ---------------------------------------------------------------------------------------------


def _batch(session: imagen.Session, found: Found | None) -> BatchReply:
    completed, failures = len(session.images), len(session.failures)
    return BatchReply(
        session_id=session.id,
        status=_STATUS[session.state],
        requested_count=session.requested,
        completed_count=completed,
        pending_count=0 if session.finished else max(0, session.requested - completed - failures),
        image=None if found is None else _picture(found),
        errors=_problems(session),
    )


_STATUS: dict[str, Status] = {
    "CREATED": "created",
    "GENERATING": "generating",
    "PARTIAL": "partial",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}


def _picture(found: Found) -> Picture:
    image = found.image
    return Picture(
        index=found.number,
        id=image.id,
        uri=_uri(image),
        path=None if image.path is None else str(image.path),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        model=image.model,
        cost_usd=dollars(image.cost.usd),
        parent_id=image.parent_id,
        adjustments=_changes(image),
    )


def _problems(session: imagen.Session) -> list[Problem]:
    errors: list[tuple[int | None, imagen.ImagenError]] = [(index, item.error) for index, item in session.failures]
    if session.error is not None:
        errors.append((None, session.error))
    return [
        Problem(index=index, code=error.code, message=_clip(error.message), retryable=error.retryable)
        for index, error in errors
    ]


def _uri(image: imagen.Image) -> str | None:
    return None if image.path is None else f"imagen://images/{image.id}"


def dollars(usd: Decimal | None) -> str | None:
    """Money travels as text: a float would round it."""
    return None if usd is None else f"{usd.normalize():f}"


# --- text -----------------------------------------------------------------------------------------------------------


def spoken(usd: Decimal | str) -> str:
    """Dollars in a sentence: cents at least, and rounded up, as nobody reads nine decimals."""
    amount = Decimal(usd).quantize(_READABLE, ROUND_UP)
    return f"${amount:.2f}" if amount == round(amount, 2) else f"${amount.normalize():f}"


def _count(reply: BatchReply) -> str:
    return (
        f"Batch {reply.session_id} is {reply.status}: {reply.completed_count} of {reply.requested_count} pictures are "
        f"there, {reply.pending_count} pending, {len(reply.errors)} failed."
    )


def _describe(found: Found) -> str:
    """What an assistant that cannot see the picture yet has to know of it."""
    image = found.image
    cost = "an unknown amount" if image.cost.usd is None else f"${dollars(image.cost.usd)} ({image.cost.source})"
    lines = [
        f"Picture {found.number}: {image.width}x{image.height} {image.media_type}, {image.size_bytes:,} bytes, "
        f"by {image.model}, cost {cost}."
    ]
    if image.path is not None:
        lines += [f"File: {image.path}", f"Resource: {_uri(image)}"]
    if image.storage_error is not None:
        lines.append(f"The disk failed: {image.storage_error}")
    if image.revised_prompt:
        lines.append(f"The provider's wording of the prompt: {_clip(image.revised_prompt)}")
    return "\n".join([*lines, *_changes(image)])


def _changes(image: imagen.Image) -> list[str]:
    """What was not sent as asked, in a sentence each."""
    sentences: list[str] = []
    for change in image.adjustments:
        sent = "left out" if change.sent is None else f"sent as {_clip(change.sent)}"
        sentences.append(f"{change.field} {_clip(change.asked)!r} was {sent}: {change.reason}.")
    return sentences


def _complaints(problems: Sequence[Problem]) -> list[str]:
    """One line for all that failed in the same way."""
    alike: dict[str, list[str]] = {}
    for problem in problems:
        what = "the batch" if problem.index is None else f"picture {problem.index}"
        alike.setdefault(f"[{problem.code}] {problem.message}", []).append(what)
    return [f"Failed, {', '.join(whats)}: {text}" for text, whats in alike.items()]


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


# --- pictures -------------------------------------------------------------------------------------------------------


class _Blocks(NamedTuple):
    content: list[ContentBlock]
    notes: list[str]


async def _picture_blocks(image: imagen.Image, *, full: bool) -> _Blocks:
    # Where the disk failed, this answer holds the only copy.
    full = full or image.path is None
    inline = full and _fits(image)
    try:
        shown = await trio.to_thread.run_sync(_read_whole if inline else _preview, image, limiter=_threads)
    except imagen.StorageError as error:
        return _Blocks([], [f"There is no preview. [{error.code}] {error.message}"])
    if shown is None:
        return _Blocks(_links(image), ["There is no preview: the picture cannot be decoded."])
    notes = [shown.note]
    if full and not inline:
        notes.append(f"It is too large to be shown in full here: open the file, or read {_uri(image)}.")
    content = ImageContent(
        data=base64.b64encode(shown.data).decode(),
        mime_type=shown.media_type,
        annotations=Annotations(audience=["user", "assistant"]),
    )
    return _Blocks([content, *_links(image)], notes)


def _fits(image: imagen.Image) -> bool:
    return image.size_bytes <= INLINE_BYTES and max(image.width, image.height) <= _INLINE_SIDE


def _links(image: imagen.Image) -> list[ContentBlock]:
    # Some hosts throw away a whole result that holds a link.
    uri = _uri(image)
    if uri is None or os.environ.get("IMAGEN_MCP_LINKS", "").strip() == "0":
        return []
    return [
        ResourceLink(
            name=f"{image.id}{image.suffix}",
            uri=uri,
            mime_type=image.media_type,
            size=image.size_bytes,
            annotations=Annotations(audience=["user"]),
        )
    ]


class _Shown(NamedTuple):
    data: bytes
    media_type: str
    note: str


def _read_whole(image: imagen.Image) -> _Shown:
    return _Shown(image.data, image.media_type, "The picture is shown in full.")


def _on_white(picture: PillowImage.Image) -> PillowImage.Image:
    """JPEG knows no transparency."""
    from PIL import Image as PillowImage

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = PillowImage.new("RGB", picture.size, "white")
    pixels = picture.convert("RGBA")
    white.paste(pixels, mask=pixels)
    return white


def _preview(image: imagen.Image) -> _Shown | None:
    """A small JPEG on white; None where Pillow cannot read the picture. Blocking."""
    from PIL import Image as PillowImage

    data = image.data
    try:
        with PillowImage.open(BytesIO(data)) as picture:
            # For a JPEG this decodes fewer pixels; for others it does nothing.
            picture.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))
            picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            small = _on_white(picture)
    except Exception:
        # Pillow's parsers raise many kinds of exception, and a preview is no reason to withhold a picture.
        return None
    out = BytesIO()
    small.save(out, "JPEG", quality=_PREVIEW_QUALITY)
    note = f"Shown is a preview of {small.width}x{small.height} pixels, not the picture itself."
    return _Shown(out.getvalue(), "image/jpeg", note)
