"""One request for each operation of each model of the catalog."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal

from PIL import Image as PillowImage

import imagen
from imagen.providers import PROVIDERS

TODAY = datetime.date(2026, 11, 22)


SIMULATED = [
    model
    for model in imagen.providers.load_catalog()
    if model.lifecycle.state(TODAY) != "retired"
    and PROVIDERS[model.provider].base_url_variable is not None
]


# Options without which a provider refuses, and values that it takes.
OPTIONS = {
    "search_prompt": "the house",
    "select_prompt": "the roof",
    "finetune_id": "my-finetune",
    "custom_model_uri": "model/mine/version/1",
}


# What a model needs beside the plainest request, as it would do nothing else
# for money.
NEEDS: dict[str, dict[str, object]] = {
    "stability/outpaint": {"options": {"left": 64}},
    "flux-pro-1.0-expand": {"options": {"left": 64}},
    "bfl/outpainting": {"size": "640x640"},
    "recraft/outpaint": {"size": "1536x1024"},
    "ideogram/reframe": {"aspect_ratio": "16:9"},
    "ideogram/reframe-nano-banana-2": {"aspect_ratio": "16:9"},
}


TWO_IMAGES = {"bfl/try-on", "ideogram/inpaint-character"}


ONE_REFERENCE = {"stability/style", "ideogram-3-character"}


# The server at home takes masks and enlarges only with a model that has a name.
MODELS = {"localai": {"wire_name": "local-model"}}


def image(limits: imagen.providers.InputLimits, *, mask: bool = False) -> bytes:
    """An image within the limits of a model: a square of 512, or the nearest
    that is allowed.
    """
    side = max(512, limits.min_side, int(limits.min_pixels**0.5) + 1)
    side = min(side, limits.max_side or side)
    canvas = PillowImage.new("L" if mask else "RGB", (side, side), 0 if mask else (70, 130, 180))
    canvas.paste(255 if mask else (240, 200, 40), (0, 0, side // 2, side))
    file = io.BytesIO()
    canvas.save(file, "PNG" if "image/png" in limits.media_types else "JPEG")
    return file.getvalue()


def request_for(model: imagen.Model, operation: str) -> imagen.Request:
    """The plainest request that the model takes."""
    can = model.capabilities
    own = image(can.inputs)
    common: dict[str, object] = {
        "model": model.id,
        "options": {name: OPTIONS[name] for name in can.required_options},
        "assume_usd": Decimal(1),
        **NEEDS.get(model.id, {}),
    }
    match operation:
        case "generate":
            references = (own,) if model.id in ONE_REFERENCE else ()
            return imagen.Generate(prompt="a lighthouse", references=references, **common)
        case "edit":
            mask = image(can.inputs, mask=True) if can.mask else None
            images = (own, own) if model.id in TWO_IMAGES else (own,)
            return imagen.Edit(prompt="a lighthouse", images=images, mask=mask, **common)
        case "vary":
            return imagen.Vary(prompt="a lighthouse", image=own, **common)
        case "enhance":
            return imagen.Enhance(prompt="a lighthouse", image=own, **common)
        case _:
            return imagen.Restyle(prompt="a lighthouse", image=own, reference=own, **common)


def works_on_its_own(model: imagen.Model, operation: str) -> bool:
    """Whether a model does this only to what it has made itself."""
    return operation == "enhance" and model.provider.startswith("midjourney")
