"""Replay: the request that makes an image again, and the differences of the new
one.
"""

from __future__ import annotations

import msgspec

from .._requests.catalog import Model
from .._requests.request import Request
from .images import Image

__all__ = ["Difference", "Replay", "differences_of", "replay_request"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference; None if there was or is no value."""

    field: str
    before: str | None
    after: str | None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """An image made again. Where `same_bytes` is false the two may still look
    alike: encoders and clocks differ.
    """

    image: Image
    differences: tuple[Difference, ...]
    same_bytes: bool


def replay_request(image: Image, model: Model, seed: int | None = None) -> Request:
    """Return the request that makes the image again with this model.

    The seed is the one that the image reports, else the one that was asked for.
    Options are the words of one provider, so another one is not sent them.
    """
    request = image.request
    if seed is None:
        seed = request.seed if image.seed is None else image.seed
    options = request.options if model.provider == image.provider else {}
    return msgspec.structs.replace(request, model=model.id, seed=seed, options=options)


def differences_of(before: Image, after: Image) -> tuple[Difference, ...]:
    """Return the differences of a replay beside its pixels; a newly adjusted
    value is named as requested.
    """
    old, new = _facts(before), _facts(after)
    found = {
        name: Difference(field=name, before=old[name], after=new[name])
        for name in old
        if old[name] != new[name]
    }
    for one in after.adjustments:
        if one not in before.adjustments:
            found.setdefault(
                one.field, Difference(field=one.field, before=one.asked, after=one.sent)
            )
    return tuple(found.values())


def _facts(image: Image) -> dict[str, str | None]:
    options = image.request.options
    return {
        "model": image.model,
        "provider": image.provider,
        "seed": None if image.seed is None else str(image.seed),
        "size": f"{image.width}x{image.height}",
        "media_type": image.media_type,
        "revised_prompt": image.revised_prompt,
        "options": msgspec.json.encode(options).decode() if options else None,
    }
