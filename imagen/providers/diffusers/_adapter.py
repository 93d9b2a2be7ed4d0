"""Pipelines of Hugging Face diffusers, run in this process on a GPU or the CPU:
no server, no key, no price per image.

Needs `pip install "imagen-trio[diffusers]"`, and in imagen.toml the name of a
repository on huggingface.co or a folder::

    [models.diffusers.wire]
    repository = "OWNER/NAME"

The first image downloads it if needed and loads it; later ones find it loaded.
`wire` may also name a `revision` and a `variant` ("fp16"), and an entry with
`like = "diffusers"` adds a model. The parameters of a pipeline are known once
it is loaded, so missing ones are reported with the image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from ..._errors import ConfigurationError
from ..._requests.catalog import JsonValue
from ..._requests.translation import Adjustment
from .._provider import Call, Provider
from .._steps import Cancellable, Exchange, GeneratedImage, GeneratedImages, Render, WithheldImage
from ._drawing import Drawing, Task
from ._pipelines import Kind, Weights

__all__ = ["PROVIDER", "edit", "generate", "vary"]

_DEVICE = re.compile(r"auto|cpu|mps|(?:cuda|xpu)(?::[0-9]{1,2})?")
_CHOICES = {
    "dtype": ("auto", "float32", "float16", "bfloat16"),
    "offload": ("none", "model", "sequential"),
}
_WIRE = ("repository", "revision", "variant")


def generate(call: Call) -> Exchange:
    """Text to image."""
    return (yield from _draw(call, "text2image"))


def edit(call: Call) -> Exchange:
    """Edit an image: inside a mask if there is one, else by the prompt."""
    return (yield from _draw(call, "image2image" if call.mask is None else "inpaint"))


def vary(call: Call) -> Exchange:
    """Another image like this one."""
    return (yield from _draw(call, "image2image"))


def _draw(call: Call, kind: Kind) -> Exchange:
    task = _read_task(call, kind)
    # Dropping it stops it, and costs nothing on this machine.
    yield Cancellable(request=None, stops_bill=True)
    images: list[GeneratedImage | WithheldImage] = []
    adjustments: list[Adjustment] = []
    for number in range(call.count):
        seed = None if call.request.seed is None else call.request.seed + number
        drawing = Drawing(task, seed)
        data = yield Render(call=drawing.run, device=task.weights.device)
        assert isinstance(data, bytes)
        images.append(drawing.image(data))
        adjustments += [one for one in drawing.adjustments if one not in adjustments]
    return GeneratedImages(
        images=tuple(images), reported_cost_usd=Decimal(0), adjustments=tuple(adjustments)
    )


def _read_task(call: Call, kind: Kind) -> Task:
    """Return the task from the catalog and the settings; checked before
    anything is imported or loaded.

    Raises:
        ConfigurationError: a value in imagen.toml is missing or invalid.
    """
    wire, settings = call.model.wire, call.settings
    where = f'[models."{call.model.id}".wire]'
    if unknown := sorted(wire.keys() - set(_WIRE)):
        raise ConfigurationError(
            f"imagen.toml: {where} may hold {', '.join(_WIRE)}, not {' and '.join(unknown)}."
        )
    if not _text(wire, "repository"):
        raise ConfigurationError(
            f'{call.model.id} has no pipeline yet: write repository = "OWNER/NAME", one of'
            f" huggingface.co or a folder, under {where} in imagen.toml."
        )
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            raise ConfigurationError(
                f"imagen.toml: the setting {name} of diffusers is one of {', '.join(choices)}, not"
                f" {settings[name]}."
            )
    if not _DEVICE.fullmatch(str(settings["device"])):
        raise ConfigurationError(
            "imagen.toml: the setting device of diffusers is auto, cpu, mps, cuda or cuda:0, not"
            f" {settings['device']}."
        )
    kept = settings["pipelines_kept"]
    assert isinstance(kept, int), "the type of a setting has been looked at"
    return Task(
        call=call,
        kind=kind,
        weights=Weights(
            repository=_text(wire, "repository"),
            revision=_text(wire, "revision") or None,
            variant=_text(wire, "variant") or None,
            device=str(settings["device"]),
            dtype=str(settings["dtype"]),
            offload=str(settings["offload"]),
            local_files_only=bool(settings["local_files_only"]),
            allow_pickle=bool(settings["allow_pickle"]),
        ),
        pipelines_kept=kept,
        keep_unmasked=bool(settings["keep_unmasked"]),
    )


def _text(wire: Mapping[str, JsonValue], name: str) -> str:
    value = wire.get(name, "")
    if not isinstance(value, str):
        raise ConfigurationError(
            f"imagen.toml: {name} of a diffusers model is a text, not {value!r}."
        )
    return value.strip()


PROVIDER = Provider(
    name="diffusers",
    operations={"generate": generate, "edit": edit, "vary": vary},
    packages=("torch", "diffusers"),
    optional=True,
    home_page="https://huggingface.co/docs/diffusers",
    settings={
        "device": "auto",
        "dtype": "auto",
        # "model" moves one part of the pipeline at a time to the device,
        # "sequential" one layer: less memory, more time.
        "offload": "none",
        "local_files_only": False,
        # Weights other than safetensors are pickles, which may run code when
        # they are loaded.
        "allow_pickle": False,
        # Number of repositories whose weights stay in memory.
        "pipelines_kept": 1,
        # Restores the original where the mask is black, to the pixel; else it
        # passes through the VAE too.
        "keep_unmasked": True,
    },
)
