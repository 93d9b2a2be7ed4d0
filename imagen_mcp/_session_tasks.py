"""Sessions as tasks. A task and a batch are one thing: the id of the task is the
session's. So a task outlives the server as a session does, and both sides see
the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mcp.types import CallToolResult, InputRequest

import imagen

from ._context import current_client
from ._results.generation import Found, batch_reply, failed, image_reply

__all__ = ["SessionTask", "find_session"]

_BATCH_TOOLS = frozenset({"start_image_batch", "create_variations"})


class SessionTask:
    """A session, seen as a task. Its questions come before it starts."""

    questions: Mapping[str, InputRequest] = {}

    def __init__(self, session: imagen.Session) -> None:
        self._session = session

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._session.id

    @property
    def status(self) -> Literal["working", "completed", "cancelled"]:
        """Failed images are results: a task of theirs is completed."""
        if not self._session.finished:
            return "working"
        return "cancelled" if self._session.state == "CANCELLED" else "completed"

    @property
    def message(self) -> str:
        """How many images there are."""
        return f"{len(self._session.images)} of {self._session.requested} images"

    async def answer(self, answers: Mapping[str, Any]) -> None:
        """Do nothing: nothing waits for an answer."""

    async def result(self, tool: str | None) -> CallToolResult:
        """Return the images as the tool itself would, or the error."""
        try:
            return await self._reply(tool)
        except imagen.ImagenError as error:
            return failed(error)

    async def cancel(self) -> None:
        """Stop the session, wherever it runs."""
        await current_client().sessions.stop(self.id)

    async def _reply(self, tool: str | None) -> CallToolResult:
        session, client = self._session, current_client()
        found = Found(*session.images[0]) if session.images else None
        if session.requested > 1 or tool in _BATCH_TOOLS:
            return await batch_reply(client, session, found, notes=_paths(session))
        if found is not None:
            return await image_reply(client, found)
        if session.failures:
            return failed(session.failures[0][1].error)
        return failed(session.error or imagen.SessionError("No image was made."))


async def find_session(task_id: str) -> SessionTask | None:
    """Return the caller's session of that id; None if there is none."""
    try:
        return SessionTask(await current_client().sessions.follow(task_id))
    except imagen.SessionError:
        return None


def _paths(session: imagen.Session) -> list[str]:
    named = [f"{number}: {image.path}" for number, image in session.images if image.path]
    more = f'get_next_image(session_id="{session.id}", after=N) shows the one after N.'
    return [f"All images, {'; '.join(named)}. {more}"] if named else []
