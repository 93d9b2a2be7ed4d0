"""Differences of the providers that imitate OpenAI's Images API, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from ..._errors import InvalidRequestError
from ..._requests.catalog import JsonValue
from ..._requests.request import Request
from .._provider import EncodedImage
from .._wire.http import as_base64, as_data_url

__all__ = [
    "BYTEPLUS",
    "Dialect",
    "LOCALAI",
    "OPENROUTER",
    "RECRAFT",
    "SD_SERVER",
    "SGLANG",
    "TOGETHER",
    "VLLM_OMNI",
    "XAI",
]


def _take_none(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    raise InvalidRequestError(
        "This provider has no way to take these images, whatever the catalog says."
    )


def _say_prompt(request: Request) -> str:
    return request.prompt


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One imitation of the Images API.

    `change` puts the images of an edit into a JSON body, and `refer` the
    references; if `edits` is "form", an edit is multipart/form-data instead.
    With `tools` a model may have a path of its own, in its table `wire`, and an
    `implied_format`, if it is a model's only one, is not sent.
    `inpaint_path` takes edits with a mask, if it is another path, and
    `vary_path` variations, by default of this `strength`; both take
    `inpaint_fields`, if these are not the few of LocalAI. `phrase`
    writes the prompt, and `in_prompt` names the fields in it. `names` are the
    names of fields that differ from ours; with `sides` a size is a width and a
    height, with `small_k` a resolution is "1k", and `relaxed` are the fields of
    that safety. `base64_word` is the `response_format` for bytes, None without
    such a field. `cost_field` is the field of `usage` with the cost, in units
    of `usd_per_cost`; `cost_at_root` if it is one of the reply itself. `fixed`
    is sent unless the caller's options say otherwise. `refused_codes` are the
    error codes of a filter, `unpaid_codes` those of an account without money.
    `blames_prompt` means that a 400 is about the prompt,
    whatever its text. A `free` server costs nothing in any case. `listed_kind`
    is the `type` of image models in the list at `list_path`, None without one; `lists_prices`
    if it has those too.
    """

    name: str
    generate_path: str = "images/generations"
    edit_path: str = "images/edits"
    edits: Literal["json", "form"] = "json"
    inpaint_path: str | None = None
    inpaint_fields: frozenset[str] | None = None
    vary_path: str | None = None
    strength: float = 0.5
    upscale_path: str | None = None
    tools: bool = False
    implied_format: str | None = None
    change: Callable[[tuple[EncodedImage, ...]], dict[str, JsonValue]] = _take_none
    refer: Callable[[tuple[EncodedImage, ...]], dict[str, JsonValue]] = _take_none
    phrase: Callable[[Request], str] = _say_prompt
    in_prompt: frozenset[str] = frozenset()
    names: Mapping[str, str] = {}
    sides: bool = False
    small_k: bool = False
    relaxed: Mapping[str, JsonValue] = {}
    base64_word: str | None = "b64_json"
    fixed: Mapping[str, JsonValue] = {}
    cost_field: str | None = None
    cost_at_root: bool = False
    usd_per_cost: Decimal = Decimal(1)
    blames_prompt: bool = False
    free: bool = False
    refused_codes: str = ""
    unpaid_codes: str = ""
    list_path: str | None = "models"
    listed_kind: str | None = None
    lists_prices: bool = False


# --- gateways and makers ------------------------------------------------------


def _xai_images(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    sources: list[JsonValue] = [
        {"type": "image_url", "url": as_data_url(image)} for image in images
    ]
    return {"image": sources[0]} if len(sources) == 1 else {"images": sources}


# 10,000,000,000 ticks are one dollar (docs.x.ai, image generation).
XAI = Dialect(
    name="xAI",
    change=_xai_images,
    small_k=True,
    cost_field="cost_in_usd_ticks",
    usd_per_cost=Decimal("1e-10"),
    list_path="image-generation-models",
    lists_prices=True,
)


def _openrouter_references(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    return {
        "input_references": [
            {"type": "image_url", "image_url": {"url": as_data_url(image)}} for image in images
        ]
    }


OPENROUTER = Dialect(
    name="OpenRouter",
    generate_path="images",
    edit_path="images",
    change=_openrouter_references,
    refer=_openrouter_references,
    base64_word=None,
    implied_format="svg",
    cost_field="cost",
    blames_prompt=True,
    list_path="images/models",
)


def _together_images(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    first, *others = map(as_data_url, images)
    return {"image_url": first, **({"reference_images": others} if others else {})}


def _together_references(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    return {"reference_images": [as_data_url(image) for image in images]}


TOGETHER = Dialect(
    name="Together",
    edit_path="images/generations",
    change=_together_images,
    refer=_together_references,
    names={"guidance": "guidance_scale"},
    sides=True,
    relaxed={"disable_safety_checker": True},
    base64_word="base64",
    listed_kind="image",
)


def _byteplus_images(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    urls: list[JsonValue] = [as_data_url(image) for image in images]
    return {"image": urls[0] if len(urls) == 1 else urls}


BYTEPLUS = Dialect(
    name="BytePlus",
    edit_path="images/generations",
    change=_byteplus_images,
    refer=_byteplus_images,
    # Otherwise a text is painted into the corner of each image.
    fixed={"watermark": False},
    refused_codes=r"(?i)Sensitive|RiskDetection|ContentDetected|PolicyViolation",
    unpaid_codes=r"(?i)AccountOverdue|InsufficientBalance|QuotaExceeded|FreeTierExhausted",
    list_path=None,
)

# 1,000 credits are one dollar (recraft.ai/docs, API pricing). The size of an edit
# is that of its image.
RECRAFT = Dialect(
    name="Recraft",
    inpaint_path="images/inpaint",
    inpaint_fields=frozenset({"style", "seed", "negative_prompt", "output_format"}),
    vary_path="images/imageToImage",
    tools=True,
    implied_format="svg",
    names={"seed": "random_seed", "output_format": "image_format"},
    cost_field="credits",
    cost_at_root=True,
    usd_per_cost=Decimal("0.001"),
    list_path=None,
)


# --- servers of one's own -----------------------------------------------------


def _localai_images(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    first, *others = map(as_base64, images)
    return {"file": first, **({"ref_images": others} if others else {})}


def _localai_references(images: tuple[EncodedImage, ...]) -> dict[str, JsonValue]:
    return {"ref_images": [as_base64(image) for image in images]}


def _localai_prompt(request: Request) -> str:
    """Return the prompt; text after the first bar is the negative prompt, so a
    prompt cannot hold one.
    """
    if "|" in request.prompt:
        raise InvalidRequestError(
            "LocalAI takes what stands behind a | for the negative prompt: leave | out, and use"
            " negative_prompt.",
            code="INVALID_PROMPT",
        )
    return (
        f"{request.prompt}|{request.negative_prompt}" if request.negative_prompt else request.prompt
    )


LOCALAI = Dialect(
    name="LocalAI",
    edit_path="images/generations",
    inpaint_path="images/inpainting",
    upscale_path="images/upscale",
    change=_localai_images,
    refer=_localai_references,
    phrase=_localai_prompt,
    in_prompt=frozenset({"negative_prompt"}),
    names={"steps": "step"},
    blames_prompt=True,
    free=True,
)

VLLM_OMNI = Dialect(
    name="vLLM-Omni",
    edits="form",
    names={"guidance": "guidance_scale", "steps": "num_inference_steps"},
    blames_prompt=True,
    free=True,
)

SGLANG = msgspec.structs.replace(VLLM_OMNI, name="SGLang")


def _sd_server_prompt(request: Request) -> str:
    """Its own parameters ride in the prompt, as JSON between two tags."""
    sampling = {
        "sample_steps": request.steps,
        "guidance": None if request.guidance is None else {"txt_cfg": request.guidance},
    }
    asked = {
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        "sample_params": (
            {name: value for name, value in sampling.items() if value is not None} or None
        ),
    }
    if not (given := {name: value for name, value in asked.items() if value is not None}):
        return request.prompt
    # Escaped, so that no text in it can end the tag.
    text = msgspec.json.encode(given).replace(b"<", b"\\u003c").decode()
    return f"{request.prompt}<sd_cpp_extra_args>{text}</sd_cpp_extra_args>"


SD_SERVER = Dialect(
    name="sd-server",
    edits="form",
    phrase=_sd_server_prompt,
    in_prompt=frozenset({"seed", "negative_prompt", "steps", "guidance"}),
    blames_prompt=True,
    free=True,
)
