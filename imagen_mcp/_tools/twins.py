"""Equal requests: one that is repeated while its twin runs is paid once.

Hosts and assistants repeat a call whose answer did not come in time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import msgspec

import imagen

__all__ = ["find_twin"]

# Later the user may mean another batch.
_TWIN_SECONDS = 600.0


def find_twin(
    sessions: Iterable[imagen.SessionSummary], request: imagen.Request, count: int
) -> imagen.SessionSummary | None:
    """Return the running session that makes as many images of the same request."""
    asked = _plain(request)
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=_TWIN_SECONDS)
    for one in sessions:
        is_alike = one.requested == count and _plain(one.request) == asked
        if one.running and one.touched_at >= oldest and is_alike:
            return one
    return None


def _plain(request: imagen.Request) -> tuple[str, dict[str, object]]:
    """Return the fields of a request, with images by their ids."""
    fields = msgspec.structs.asdict(request)
    return type(request).__name__, {name: _named(value) for name, value in fields.items()}


def _named(value: object) -> object:
    match value:
        case imagen.Image():
            return value.id
        case imagen.InputImage():
            return value.id or value.sha256
        case tuple() | list():
            return [_named(one) for one in value]
        case _:
            return value
