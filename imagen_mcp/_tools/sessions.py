"""Sessions behind the tools that make images: start, wait, pull."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

import trio

import imagen

from .._context import ToolContext, client_of
from .._results.generation import Found, batch_reply, failed, image_reply
from .money import Limits, ask_first, noting_retirement
from .parameters import (
    HEARTBEAT_SECONDS,
    LONGEST_GENERATE,
    LONGEST_PULL,
    BatchAnswer,
    ImageAnswer,
    clamp,
)

__all__ = [
    "incomplete",
    "make_many",
    "make_one",
    "next_step",
    "resume",
    "session_of",
    "start",
    "wait_image",
]


async def session_of(ctx: ToolContext, session_id: str) -> imagen.Session:
    return await _found(ctx, client_of(ctx).sessions.get(session_id))


async def resume(ctx: ToolContext, session_id: str) -> imagen.Session:
    """Make the missing images of a session. The user agreed to the whole cost
    when it was started.
    """
    return await _found(ctx, client_of(ctx).resume_session(session_id))


async def _found(ctx: ToolContext, looking: Awaitable[imagen.Session]) -> imagen.Session:
    try:
        return await looking
    except imagen.SessionNotFoundError as error:
        # An assistant that starts again pays again.
        raise imagen.SessionNotFoundError(
            f"{error.message} Finished images are files below {client_of(ctx).settings.home}."
        ) from error


def start(
    ctx: ToolContext, request: imagen.Request, count: int, limits: Limits, *, cache: bool = False
) -> tuple[imagen.Session, list[str]]:
    """Start a session; the notes tell if its model will be retired."""
    with noting_retirement() as notes:
        session = client_of(ctx).start_session(request, n=count, budget=limits.budget, cache=cache)
    return session, notes


async def make_one(
    ctx: ToolContext,
    request: imagen.Request,
    timeout: float,
    limits: Limits,
    *,
    full: bool,
    cache: bool = False,
) -> ImageAnswer:
    """Make one image in a session of one: after a timeout it continues, and can
    still be pulled.
    """
    if (question := await ask_first(ctx, request, 1, limits)) is not None:
        return question
    session, notes = start(ctx, request, 1, limits, cache=cache)
    with _cancelled_without_answer(session):
        found = await wait_image(session, None, clamp(timeout, 1.0, LONGEST_GENERATE), ctx)
        if found is not None:
            return await image_reply(client_of(ctx), found, full=full, notes=notes)
        if session.finished:
            raise _reason(session)
        return failed(_still_being_made(session))


async def make_many(
    ctx: ToolContext,
    request: imagen.Request,
    count: int,
    timeout: float,
    limits: Limits,
    *,
    cache: bool = False,
) -> BatchAnswer:
    """Make several images in the background; return the first one as soon as it
    is finished.
    """
    if (question := await ask_first(ctx, request, count, limits)) is not None:
        return question
    session, notes = start(ctx, request, count, limits, cache=cache)
    with _cancelled_without_answer(session):
        found = await wait_image(session, None, clamp(timeout, 0.0, LONGEST_PULL), ctx)
        return await batch_reply(
            client_of(ctx), session, found, notes=[*notes, next_step(session, found, None)]
        )


@contextmanager
def _cancelled_without_answer(session: imagen.Session) -> Iterator[None]:
    """Cancel the session if no result reaches the caller, who could not know
    its id.
    """
    try:
        yield
    except BaseException:
        session.cancel()
        raise


async def wait_image(
    session: imagen.Session, after: int | None, seconds: float, ctx: ToolContext
) -> Found | None:
    """The next image; None when it does not come in time or never will. Reports
    progress meanwhile.
    """
    beats = 0
    with trio.move_on_after(seconds):
        while True:
            with trio.move_on_after(HEARTBEAT_SECONDS):
                pulled = await session.wait_image(after)
                return None if pulled is None else Found(*pulled)
            beats += 1
            done = len(session.outcomes)
            # Progress must grow with every report, so the image in the making
            # counts as a growing fraction.
            await ctx.report_progress(
                done + beats / (beats + 1),
                session.requested,
                f"{done} of {session.requested} images",
            )
    return None


def next_step(session: imagen.Session, found: Found | None, after: int | None) -> str:
    """Return the next call for the caller."""
    have = after if found is None else found.number
    more = session.images and (have is None or session.images[-1][0] > have)
    again = f'get_next_image(session_id="{session.id}"{"" if have is None else f", after={have}"})'
    if found is not None and (more or not session.finished):
        return f"Next: {again}."
    if not session.finished:
        return f"Nothing new yet: call {again} again. Do not start the batch again."
    if found is not None:
        over = "This was the last image of the batch."
    elif session.images:
        over = f"The batch is over: no image comes after index {have}."
    else:
        over = "The batch is over: no image was made."
    return " ".join([over, *incomplete(session)])


def incomplete(session: imagen.Session) -> list[str]:
    """Return the options for a batch that was stopped before every image had an
    outcome.
    """
    missing = session.requested - len(session.outcomes)
    if session.state != "CANCELLED" or not missing:
        return []
    return [
        f"It was stopped, or the server was, before {missing} of {session.requested} images were"
        " made. What is finished can "
        f'be pulled, and resume_batch(session_id="{session.id}") makes the rest, if the user still'
        " wants it."
    ]


def _reason(session: imagen.Session) -> imagen.ImagenError:
    """Return the reason why a session of one image ended without it."""
    if session.failures:
        return session.failures[0][1].error
    return session.error or imagen.SessionError(
        "The image was cancelled with the server.", retryable=True
    )


def _still_being_made(session: imagen.Session) -> imagen.ImagenError:
    return imagen.ProviderError(
        f'The image is still being made: call get_next_image(session_id="{session.id}") to wait on.'
        " It lands in the library in any case. Do not ask for it again: that would be paid twice.",
        code="TIMEOUT",
    )
