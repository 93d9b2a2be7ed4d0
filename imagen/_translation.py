"""One portable request in the words of one model: what is sent for what was asked, and why it differs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ._catalog import Capabilities, Model, NumberRange
from ._errors import InvalidRequestError
from ._requests import Edit, Enhance, Generate, Request, Restyle, Vary, check_request, operation_of
from ._shapes import fit_shape

__all__ = ["Adjustment", "translate"]


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter that was not sent as asked: `sent` is None where it was dropped."""

    field: str
    asked: str
    sent: str | None
    reason: str


# From the least to the most work: the words that makers use for it, so that one of theirs can stand for one of another's.
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
_VARIATION = "Make a new variation of this picture: the same subject and style, with other details."
_REDRAWING = "Redraw this picture in higher resolution, with finer detail and without any change of content."
_RESTYLING = "Redraw the first picture in the style of the second one. Keep what the first one shows."


def translate(request: Request, model: Model) -> tuple[Request, tuple[Adjustment, ...]]:
    """The request as it is sent to a model: every field that is left has a value that the model takes.

    Raises:
        InvalidRequestError: the model cannot do it, or `strict` forbids what would have to change.
    """
    check_request(request)
    adjust = _Adjuster(model)
    sent = _emulate(request, model, adjust)
    _check_prompt(sent, model)
    _check_needs(sent, model)
    sent = _fit_fields(_fit_picture(sent, model, adjust), model, adjust)
    if request.strict and adjust.made:
        first = adjust.made[0]
        instead = f"{first.sent} would be sent" if first.sent else "it would be left out"
        raise InvalidRequestError(
            f"{model.id} does not take {first.field} {first.asked!r} as it is: {first.reason}, so {instead}. Change it, "
            "or drop strict."
        )
    return sent, tuple(adjust.made)


class _Adjuster:
    """Collects what had to change."""

    def __init__(self, model: Model) -> None:
        self.made: list[Adjustment] = []
        self._model = model

    def __call__(self, field: str, asked: object, sent: object, reason: str) -> None:
        words = None if sent is None else _word(sent)
        self.made.append(Adjustment(field=field, asked=_word(asked), sent=words, reason=f"{self._model.id}: {reason}"))


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
            f"{model.id} cannot {operation}; it can {' and '.join(can.operations) or 'do nothing'}.{hint}"
        )
    adjust("operation", operation, "edit", f"it cannot {operation}, so the picture is drawn again by an edit")
    for field in ("strength", "scale", "mode"):
        if (asked := getattr(request, field, None)) is not None:
            adjust(field, asked, None, "an edit has no such parameter")
    edit = {name: getattr(request, name) for name in Edit.__struct_fields__ if name in type(request).__struct_fields__}
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
                    f"{model.id} edits one picture at a time, so it cannot take the style of another."
                )
            edit |= {"images": (image, reference), "prompt": f"{_RESTYLING} {request.prompt}".strip()}
    return Edit(**edit)


def _check_prompt(request: Request, model: Model) -> None:
    can = model.capabilities
    if isinstance(request, (Generate, Edit)) and can.prompt_required and not request.prompt.strip():
        raise InvalidRequestError("The prompt is empty: say what the picture should show.", code="INVALID_PROMPT")
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
            raise InvalidRequestError(f"{model.id} takes {_at_most(can.inputs.max_references, 'reference')}.")
        case Edit(images=images) if len(images) > can.inputs.max_images:
            raise InvalidRequestError(f"{model.id} takes {_at_most(can.inputs.max_images, 'picture')} to edit.")
        case Edit(mask=None) if can.mask_required:
            raise InvalidRequestError(f"{model.id} needs a mask: white where the picture is to change.")
        case Edit(mask=mask) if mask is not None and not can.mask:
            # Without its mask an edit changes what was to be kept, and is paid all the same.
            raise InvalidRequestError(f"{model.id} takes no mask: say in the prompt what is to change.")
        case _:
            pass


def _at_most(most: int, thing: str) -> str:
    return f"no {thing}s" if most == 0 else f"at most {most} {thing}{'s' if most > 1 else ''}"


def _fit_picture(request: Request, model: Model, adjust: _Adjuster) -> Request:
    """Size, ratio and resolution."""
    shape = fit_shape(request, model.capabilities)
    if shape.reason is not None:
        field = (
            "size" if request.size is not None else "aspect_ratio" if request.aspect_ratio is not None else "resolution"
        )
        asked = request.size or " at ".join(filter(None, (request.aspect_ratio, request.resolution)))
        adjust(field, asked, shape.sent, shape.reason)
    return msgspec.structs.replace(
        request, size=shape.size, aspect_ratio=shape.aspect_ratio, resolution=shape.resolution
    )


def _fit_fields(request: Request, model: Model, adjust: _Adjuster) -> Request:
    can = model.capabilities
    changed: dict[str, object] = {}

    def fit(field: str, there: bool, nearest: Callable[[], tuple[object, str]] | None = None) -> None:
        asked = getattr(request, field, None)
        if asked is None or (field == "previews" and not asked):
            return
        sent, reason = (None, "it has no such parameter") if not there else nearest() if nearest else (asked, "")
        if sent != asked:
            adjust(field, asked, sent, reason)
            changed[field] = 0 if field == "previews" and sent is None else sent

    fit(
        "quality",
        bool(can.qualities),
        lambda: (_nearest_quality(request.quality or "", can, model), "the nearest it has"),
    )
    fit("style", bool(can.styles), lambda: (_choose("style", request.style, can.styles, (), model), ""))
    fit(
        "background",
        bool(can.backgrounds),
        lambda: (_choose("background", request.background, can.backgrounds, _BACKGROUNDS, model), "it has none such"),
    )
    fit(
        "output_format",
        bool(can.output_formats),
        lambda: (
            _choose("output_format", request.output_format, can.output_formats, _FORMATS, model),
            "it has none such",
        ),
    )
    fit("seed", can.seed)
    fit("negative_prompt", can.negative_prompt)
    fit(
        "guidance",
        can.guidance is not None,
        lambda: (_nearest_number(can.guidance, request.guidance), "the nearest it takes"),
    )
    fit("steps", can.steps is not None, lambda: (_nearest_number(can.steps, request.steps), "the nearest it takes"))
    fit(
        "safety",
        bool(can.safety),
        lambda: (request.safety if request.safety in can.safety else None, "it has none such"),
    )
    fit("previews", can.max_previews > 0, lambda: (min(request.previews, can.max_previews), "it gives no more"))
    fit("strength", can.strength)
    if isinstance(request, Enhance):
        fit("scale", bool(can.scales), lambda: (_nearest_scale(request.scale or 2.0, can), "the nearest it has"))
        fit(
            "mode",
            bool(can.modes),
            lambda: (request.mode if request.mode in can.modes else can.modes[0], "it has one mode"),
        )
    return msgspec.structs.replace(request, **changed)


def _nearest_quality(asked: str, can: Capabilities, model: Model) -> str:
    if asked in can.qualities:
        return asked
    if asked not in _QUALITY_RANKS:
        raise InvalidRequestError(f"{model.id} has no quality {asked!r}: choose one of {', '.join(can.qualities)}.")
    ranked = [name for name in can.qualities if name in _QUALITY_RANKS] or list(can.qualities)
    return min(ranked, key=lambda name: abs(_QUALITY_RANKS.get(name, 2) - _QUALITY_RANKS[asked]))


def _choose(
    field: str, asked: str | None, choices: tuple[str, ...], known: tuple[str, ...], model: Model
) -> str | None:
    """The choice itself, or None for one that other models have. What nobody has is a slip of the pen, and refused."""
    if asked in choices:
        return asked
    if asked in known:
        return None
    raise InvalidRequestError(f"{model.id} has no {field} {asked!r}: choose one of {', '.join(choices)}.")


def _nearest_number(allowed: NumberRange | None, asked: float | None) -> float:
    assert allowed is not None, "only called where there is a range"
    assert asked is not None, "only called where something was asked"
    nearest = allowed.nearest(asked)
    return int(nearest) if isinstance(asked, int) else nearest


def _nearest_scale(asked: float, can: Capabilities) -> float:
    return min(can.scales, key=lambda scale: abs(scale - asked))
