"""Default model of a request that names none."""

from __future__ import annotations

import datetime

from .._errors import ConfigurationError, InvalidRequestError
from .._requests.catalog import Capabilities, Catalog, Model, Operation
from .._requests.request import Edit, Enhance, Generate, Request, operation_of
from .settings import Settings

__all__ = ["choose_model"]


def choose_model(
    settings: Settings, catalog: Catalog, request: Request, today: datetime.date
) -> str:
    """Return the model of the settings if it can do the operation, else the
    first usable one.
    """
    operation = operation_of(request)
    if isinstance(request, Edit) and not request.prompt.strip() and not settings.default_model:
        # A model that needs no prompt would do something else, e.g. remove the
        # background.
        raise InvalidRequestError(
            "The prompt is empty: say what is to change, or name a model that needs no words.",
            code="INVALID_PROMPT",
        )
    if settings.default_model and (
        operation == "generate"
        or operation in catalog.find(settings.default_model).capabilities.operations
    ):
        return settings.default_model
    usable = _usable_models(settings, catalog, operation, request, today)
    if not usable and request.emulate and operation not in ("generate", "edit"):
        usable = _usable_models(settings, catalog, "edit", request, today)
    if not usable and operation != "generate":
        raise ConfigurationError(
            f"No model that can {operation} is set up: `imagen models --operation {operation}`"
            " lists those that could be."
        )
    return usable[0].id if usable else "sketch"


def _usable_models(
    settings: Settings,
    catalog: Catalog,
    operation: Operation,
    request: Request,
    today: datetime.date,
) -> list[Model]:
    """Return the models that may be chosen, the best first."""
    usable = [
        model
        for model in catalog
        if operation in model.capabilities.operations
        and model.provider in settings.access
        and settings.access[model.provider].configured
        and settings.access[model.provider].preferred
        and model.lifecycle.state(today) == "live"
        and _suits(model.capabilities, request)
    ]
    # A model that its maker has shut down comes after those that are simply
    # there; `sketch` is the last of all. Pixels are no substitute for shapes.
    wants_svg = request.output_format == "svg"
    usable.sort(
        key=lambda model: (
            wants_svg and "svg" not in model.capabilities.output_formats,
            model.provider == "sketch",
            model.lifecycle.upstream_retired_on is not None,
        )
    )
    return usable


def _suits(can: Capabilities, request: Request) -> bool:
    """Return True if a model can do all that the request needs."""
    if can.required_options or (
        operation_of(request) in can.prompt_required and not request.prompt.strip()
    ):
        return False
    match request:
        case Generate(references=references):
            return len(references) <= can.inputs.max_references
        case Edit(images=images, mask=mask):
            fits = len(images) <= can.inputs.max_images and (mask is None or can.mask)
            return (
                fits
                and "edit" in can.prompt_required
                and (mask is not None or not can.mask_required)
            )
        case Enhance(mode=mode) if mode is not None:
            return mode in can.modes
        case _:
            return True
