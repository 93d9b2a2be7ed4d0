"""Translation of a portable request into the values of one model, with the
reason of each change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from .._errors import InvalidRequestError
from .catalog import Capabilities, Model, NumberRange
from .request import Edit, Enhance, Generate, Request, Restyle, Vary, check_request, operation_of
from .sizes import fit_shape

__all__ = ["Adjustment", "translate"]


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """Change of one parameter: `sent` is None if it was dropped."""

    field: str
    asked: str
    sent: str | None
    reason: str


# From the least to the most work: the makers' words for quality, so that one
# can stand for another.
_QUALITY_RANKS = {
    "very_low": 0,
    "draft": 0,
    "low": 1,
    "turbo": 1,
    "fast": 1,
    "medium": 2,
    "standard": 2,
    "default": 2,
    "balanced": 2,
    "high": 3,
    "hd": 3,
    "quality": 3,
    "xhigh": 4,
    "max": 5,
    "best": 5,
}
_BACKGROUNDS = ("auto", "opaque", "transparent")
_FORMATS = ("png", "jpeg", "webp", "gif", "svg")
_VARIATION = "Make a new variation of this image: the same subject and style, with other details."
_REDRAWING = (
    "Redraw this image in higher resolution, with finer detail and without any change of content."
)
_RESTYLING = "Redraw the first image in the style of the second one. Keep what the first one shows."


def translate(request: Request, model: Model) -> tuple[Request, tuple[Adjustment, ...]]:
    """Return the request as it is sent to a model: every field that is left has
    a value that the model takes.

    Raises:
        InvalidRequestError: the model cannot do it, or `strict` forbids what
            would have to change.
    """
    check_request(request)
    adjust = _Adjuster(model)
    sent = _emulate(request, model, adjust)
    _check_prompt(sent, model)
    _check_needs(sent, model)
    sent = _fit_fields(_fit_image(sent, model, adjust), model, adjust)
    if request.strict and adjust.made:
        first = adjust.made[0]
        instead = f"{first.sent} would be sent" if first.sent else "it would be left out"
        raise InvalidRequestError(
            f"{model.id} does not take {first.field} {first.asked!r} as it is: {first.reason}, so"
            f" {instead}. Change it, or drop strict."
        )
    return sent, tuple(adjust.made)


class _Adjuster:
    """Collects what had to change."""

    def __init__(self, model: Model) -> None:
        self.made: list[Adjustment] = []
        self._model = model

    def __call__(self, field: str, asked: object, sent: object, reason: str) -> None:
        words = None if sent is None else _word(sent)
        self.made.append(
            Adjustment(
                field=field, asked=_word(asked), sent=words, reason=f"{self._model.id}: {reason}"
            )
        )


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _emulate(request: Request, model: Model, adjust: _Adjuster) -> Request:
    can, operation = model.capabilities, operation_of(request)
    if operation in can.operations:
        return request
    if not request.emulate or isinstance(request, (Generate, Edit)) or "edit" not in can.operations:
        hint = ""
        if not isinstance(request, (Generate, Edit)) and "edit" in can.operations:
            hint = " With emulate=True it is done by an edit."
        raise InvalidRequestError(
            f"{model.id} cannot {operation}; it can"
            f" {' and '.join(can.operations) or 'do nothing'}.{hint}"
        )
    adjust(
        "operation",
        operation,
        "edit",
        f"it cannot {operation}, so the image is drawn again by an edit",
    )
    for field in ("strength", "scale", "mode"):
        if (asked := getattr(request, field, None)) is not None:
            adjust(field, asked, None, "an edit has no such parameter")
    edit = {
        name: getattr(request, name)
        for name in Edit.__struct_fields__
        if name in type(request).__struct_fields__
    }
    match request:
        case Vary(image=image):
            edit |= {"images": (image,), "prompt": request.prompt or _VARIATION}
        case Enhance(image=image):
            edit |= {"images": (image,), "prompt": request.prompt or _REDRAWING}
            if can.resolutions and request.resolution is None and request.size is None:
                edit["resolution"] = can.resolutions[-1]
        case Restyle(image=image, reference=reference):
            if can.inputs.max_images < 2:
                raise InvalidRequestError(
                    f"{model.id} edits one image at a time, so it cannot take the style of another."
                )
            edit |= {
                "images": (image, reference),
                "prompt": f"{_RESTYLING} {request.prompt}".strip(),
            }
    return Edit(**edit)


def _check_prompt(request: Request, model: Model) -> None:
    can = model.capabilities
    if operation_of(request) in can.prompt_required and not request.prompt.strip():
        raise InvalidRequestError(
            f"The prompt is empty: say what the image should show; {model.id} needs to know.",
            code="INVALID_PROMPT",
        )
    if len(request.prompt) > can.max_prompt_characters:
        raise InvalidRequestError(
            f"The prompt has {len(request.prompt):,} characters; {model.id} takes at most "
            f"{can.max_prompt_characters:,}. Shorten it.",
            code="INVALID_PROMPT",
        )


def _check_needs(request: Request, model: Model) -> None:
    can = model.capabilities
    if missing := [name for name in can.required_options if name not in request.options]:
        raise InvalidRequestError(f"{model.id} needs {' and '.join(missing)} in options.")
    match request:
        case Generate(references=references) if len(references) > can.inputs.max_references:
            raise InvalidRequestError(
                f"{model.id} takes {_at_most(can.inputs.max_references, 'reference')}."
            )
        case Edit(images=images) if len(images) > can.inputs.max_images:
            raise InvalidRequestError(
                f"{model.id} takes {_at_most(can.inputs.max_images, 'image')} to edit."
            )
        case Edit(mask=None) if can.mask_required:
            raise InvalidRequestError(
                f"{model.id} needs a mask: white where the image is to change."
            )
        case Edit(mask=mask) if mask is not None and not can.mask:
            # Without its mask an edit would change what was to be kept, and
            # still be paid.
            raise InvalidRequestError(
                f"{model.id} takes no mask: say in the prompt what is to change."
            )
        case _:
            pass


def _at_most(most: int, thing: str) -> str:
    return f"no {thing}s" if most == 0 else f"at most {most} {thing}{'s' if most > 1 else ''}"


def _fit_image(request: Request, model: Model, adjust: _Adjuster) -> Request:
    """Size, ratio and resolution."""
    shape = fit_shape(request, model.capabilities)
    if shape.reason is not None:
        field = (
            "size"
            if request.size is not None
            else "aspect_ratio"
            if request.aspect_ratio is not None
            else "resolution"
        )
        asked = request.size or " at ".join(
            filter(None, (request.aspect_ratio, request.resolution))
        )
        adjust(field, asked, shape.sent, shape.reason)
    return msgspec.structs.replace(
        request, size=shape.size, aspect_ratio=shape.aspect_ratio, resolution=shape.resolution
    )


def _fit_fields(request: Request, model: Model, adjust: _Adjuster) -> Request:
    changed: dict[str, object] = {}
    for field, (there, nearest, reason) in _rules(model).items():
        asked = getattr(request, field, None)
        if asked is None or (field == "previews" and not asked):
            continue
        sent = nearest(asked) if there else None
        if sent != asked:
            adjust(field, asked, sent, reason if there else "it has no such parameter")
            changed[field] = 0 if field == "previews" and sent is None else sent
    return msgspec.structs.replace(request, **changed)


def _rules(model: Model) -> dict[str, tuple[bool, Callable[..., object], str]]:
    """Return, for each field, True if the model has it, the nearest value, and
    the reason to send that.
    """
    can = model.capabilities
    choose, as_it_is = partial(_choose, model=model), lambda asked: asked
    return {
        "quality": (
            bool(can.qualities),
            partial(_nearest_quality, model=model),
            "the nearest it has",
        ),
        "style": (bool(can.styles), partial(choose, field="style", choices=can.styles), ""),
        "background": (
            bool(can.backgrounds),
            partial(choose, field="background", choices=can.backgrounds, known=_BACKGROUNDS),
            "it has none such",
        ),
        "output_format": (
            bool(can.output_formats),
            partial(choose, field="output_format", choices=can.output_formats, known=_FORMATS),
            "it has none such",
        ),
        "seed": (can.seed, as_it_is, ""),
        "negative_prompt": (can.negative_prompt, as_it_is, ""),
        "guidance": (
            can.guidance is not None,
            partial(_nearest_number, can.guidance),
            "the nearest it takes",
        ),
        "steps": (
            can.steps is not None,
            partial(_nearest_number, can.steps),
            "the nearest it takes",
        ),
        "safety": (
            bool(can.safety),
            lambda asked: asked if asked in can.safety else None,
            "it has none such",
        ),
        "previews": (
            can.max_previews > 0,
            lambda asked: min(asked, can.max_previews),
            "it gives no more",
        ),
        "strength": (can.strength, as_it_is, ""),
        "scale": (bool(can.scales), partial(_nearest_scale, can=can), "the nearest it has"),
        "mode": (
            bool(can.modes),
            lambda asked: asked if asked in can.modes else can.modes[0],
            "it has one mode",
        ),
    }


def _nearest_quality(asked: str, *, model: Model) -> str:
    qualities = model.capabilities.qualities
    if asked in qualities:
        return asked
    if asked not in _QUALITY_RANKS:
        raise InvalidRequestError(
            f"{model.id} has no quality {asked!r}: choose one of {', '.join(qualities)}."
        )
    ranked = [name for name in qualities if name in _QUALITY_RANKS] or list(qualities)
    return min(ranked, key=lambda name: abs(_QUALITY_RANKS.get(name, 2) - _QUALITY_RANKS[asked]))


def _choose(
    asked: str, *, field: str, choices: tuple[str, ...], known: tuple[str, ...] = (), model: Model
) -> str | None:
    """Return the nearest value, or None for a value of other models; refuse a
    value of no model, as it is a typo.
    """
    if asked in choices:
        return asked
    if asked in known:
        return None
    raise InvalidRequestError(
        f"{model.id} has no {field} {asked!r}: choose one of {', '.join(choices)}."
    )


def _nearest_number(allowed: NumberRange | None, asked: float) -> float:
    assert allowed is not None, "only called where there is a range"
    nearest = allowed.nearest(asked)
    return int(nearest) if isinstance(asked, int) else nearest


def _nearest_scale(asked: float, *, can: Capabilities) -> float:
    return min(can.scales, key=lambda scale: abs(scale - asked))
