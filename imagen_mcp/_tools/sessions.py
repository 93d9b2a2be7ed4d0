"""Sessions behind the tools that make images: start, wait, pull."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import trio
from mcp.types import InputRequiredResult

import imagen

from .._context import ToolContext, client_of, current_state
from .._results.generation import Found, batch_reply, failed, image_reply
from .._session_tasks import SessionTask
from .._tasks import hand_over
from .money import Limits, ask_first, noting_retirement
from .parameters import (
    HEARTBEAT_SECONDS,
    LONGEST_GENERATE,
    LONGEST_PULL,
    BatchAnswer,
    ImageAnswer,
    clamp,
)
from .twins import find_twin

__all__ = [
    "incomplete",
    "make_many",
    "make_one",
    "next_step",
    "resume",
    "session_of",
    "start",
    "stop",
    "wait_image",
]


_MOST_TWINS = 50
_TOGETHER_SECONDS = 1.0
_TWIN = (
    "An equal request runs already: this is its batch, and nothing more was ordered or paid. If the"
    " user wants more images, call again with new=true."
)


async def session_of(ctx: ToolContext, session_id: str) -> imagen.Session:
    return await _found(ctx, client_of(ctx).sessions.follow(session_id))


async def stop(ctx: ToolContext, session_id: str) -> imagen.Session:
    """Cancel a session, in whatever process it runs."""
    return await _found(ctx, client_of(ctx).sessions.stop(session_id))


async def resume(ctx: ToolContext, session_id: str) -> imagen.Session:
    """Make the missing images of a session. The user agreed to the whole cost
    when it was started. One that runs in another process is followed.
    """
    client = client_of(ctx)
    try:
        return await _found(ctx, client.resume_session(session_id))
    except imagen.SessionError as error:
        refusal = error
    followed = await session_of(ctx, session_id)
    if followed.finished:
        raise refusal
    return followed


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
    started = await _start(ctx, request, 1, limits, cache=cache)
    if isinstance(started, InputRequiredResult):
        return started
    session = started.session
    with started.cancelled_without_answer():
        found = await wait_image(session, None, clamp(timeout, 1.0, LONGEST_GENERATE), ctx)
        if found is not None:
            return await image_reply(client_of(ctx), found, full=full, notes=started.notes)
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
    started = await _start(ctx, request, count, limits, cache=cache)
    if isinstance(started, InputRequiredResult):
        return started
    session = started.session
    with started.cancelled_without_answer():
        found = await wait_image(session, None, clamp(timeout, 0.0, LONGEST_PULL), ctx)
        notes = [*started.notes, next_step(session, found, None)]
        return await batch_reply(client_of(ctx), session, found, notes=notes)


class _Started(NamedTuple):
    """Session of a call, and notes for the caller. `is_own` is False if an equal
    call started it.
    """

    session: imagen.Session
    notes: list[str]
    unanswered: dict[str, float]
    is_own: bool = True

    @contextmanager
    def cancelled_without_answer(self) -> Iterator[None]:
        """Cancel the session if no result reaches the caller, who could not
        know its id.
        """
        try:
            yield
        except BaseException:
            if self.is_own:
                self.session.cancel()
            raise
        finally:
            if self.is_own:
                self.unanswered.pop(self.session.id, None)


async def _start(
    ctx: ToolContext, request: imagen.Request, count: int, limits: Limits, *, cache: bool
) -> _Started | InputRequiredResult:
    """Start a session, or find the one that an equal call has started."""
    arrived = trio.current_time()
    unanswered = _unanswered(ctx)
    if not limits.new and (twin := await _twin(ctx, request, count, arrived)) is not None:
        hand_over(SessionTask(twin))
        return _Started(twin, [_TWIN], unanswered, is_own=False)
    if (question := await ask_first(ctx, request, count, limits)) is not None:
        return question
    session, notes = start(ctx, request, count, limits, cache=cache)
    started = _Started(session, notes, unanswered)
    unanswered[session.id] = arrived
    with started.cancelled_without_answer():
        await _wait_stored(session)
    hand_over(SessionTask(session))
    unanswered[session.id] = arrived
    return started


async def _wait_stored(session: imagen.Session) -> None:
    """Wait until other processes know the session: callers may ask them next."""
    while session.state == "CREATED":
        await session.wait_changed()


def _unanswered(ctx: ToolContext) -> dict[str, float]:
    return current_state().unanswered


async def _twin(
    ctx: ToolContext, request: imagen.Request, count: int, arrived: float
) -> imagen.Session | None:
    """Return the running session of an equal request of the last minutes.

    Equal calls at the same time are meant: an assistant asks for several images
    by several calls. A repeated call comes after an answer or a timeout.
    """
    meant = {
        session_id
        for session_id, started in _unanswered(ctx).items()
        if arrived - started < _TOGETHER_SECONDS
    }
    sessions = client_of(ctx).sessions
    listed = [one for one in await sessions.list(limit=_MOST_TWINS) if one.id not in meant]
    found = find_twin(listed, request, count)
    return None if found is None else await sessions.follow(found.id)


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
