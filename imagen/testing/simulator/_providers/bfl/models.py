"""Black Forest Labs' endpoints: fields and prices, as of 2026-11 (docs.bfl.ai;
the maker's API description of 2026-04).
"""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

Shape = Literal["pixels", "ratio", "class", "none"]
RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16", "9:21")
WIDE_RATIOS = (*RATIOS, "auto", "2:1", "7:5", "5:7", "1:2")
CLASSES = {"768sq": 768, "1k": 1024, "1.5k": 1536, "2k": 2048, "4k": 4096}
_MEGAPIXEL = 1024 * 1024


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint.

    Attributes:
        numbers: fields with the least and the most they take; those of `whole`
            are integers.
        texts, flags: other fields of these types.
        images: fields for one image each, as base64.
        image_list: a field for many.
        required: fields that must be present.
        shape: the form of the size.
        step, low, high: of width and height.
        usd: the price by megapixels that come out and that go in.
        usd_by_class: the price by resolution, if it depends on that.
    """

    required: tuple[str, ...] = ("prompt",)
    images: tuple[str, ...] = ()
    image_list: str | None = None
    numbers: Mapping[str, tuple[float, float]] = {}
    whole: tuple[str, ...] = (
        "seed",
        "safety_tolerance",
        "width",
        "height",
        "steps",
        "dilate_pixels",
    )
    texts: tuple[str, ...] = ("prompt", "webhook_url", "webhook_secret")
    flags: tuple[str, ...] = ()
    shape: Shape = "none"
    step: int = 1
    low: int = 64
    high: int = 1 << 16
    most_pixels: int = 4 * _MEGAPIXEL
    default_format: str | None = "jpeg"
    fixed_format: str | None = None
    longest_prompt: int = 1 << 20
    usd: Callable[[int, int], Decimal] = lambda out, into: Decimal("0.05")
    usd_by_class: Mapping[str, str] = {}


def megapixels(width: int, height: int) -> int:
    """Begun ones count as whole."""
    return math.ceil(width * height / _MEGAPIXEL)


def _flat(usd: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(usd)


def _by_area(first: str, further: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(first) + Decimal(further) * (out - 1 + into)


_SEED = {"seed": (0.0, float(2**63))}


def _safety(highest: int) -> dict[str, tuple[float, float]]:
    return {**_SEED, "safety_tolerance": (0.0, float(highest))}


def _inputs(most: int) -> tuple[str, ...]:
    return ("input_image", *(f"input_image_{number}" for number in range(2, most + 1)))


def _flux2(images: int, first: str, further: str) -> Endpoint:
    return Endpoint(
        images=_inputs(images),
        numbers=_safety(5),
        shape="pixels",
        step=16,
        usd=_by_area(first, further),
    )


def _kontext(usd: str) -> Endpoint:
    return Endpoint(
        images=_inputs(4),
        numbers=_safety(6),
        flags=("prompt_upsampling",),
        shape="ratio",
        default_format="png",
        usd=_flat(usd),
    )


_PRO_11 = Endpoint(
    required=(),
    images=("image_prompt",),
    numbers=_safety(6),
    flags=("prompt_upsampling",),
    shape="pixels",
    step=32,
    low=256,
    high=1440,
    usd=_flat("0.04"),
)
_ULTRA = Endpoint(
    required=(),
    images=("image_prompt",),
    numbers={**_safety(6), "image_prompt_strength": (0.0, 1.0)},
    flags=("prompt_upsampling", "raw"),
    shape="ratio",
    usd=_flat("0.06"),
)
_FILL = Endpoint(
    required=("image",),
    images=("image", "mask"),
    numbers={**_safety(6), "steps": (15.0, 50.0), "guidance": (1.5, 100.0)},
    flags=("prompt_upsampling",),
    usd=_flat("0.05"),
)
_FLUX3 = Endpoint(
    image_list="images",
    numbers=_safety(7),
    texts=("prompt", "version"),
    flags=("grounding",),
    shape="class",
    step=16,
    low=256,
    high=6272,
    most_pixels=4096 * 4096,
    default_format=None,
    fixed_format="png",
    longest_prompt=15000,
    usd_by_class={"768sq": "0.041", "1k": "0.048", "1.5k": "0.07", "2k": "0.10", "4k": "0.607"},
)
_FINETUNE = {"finetune_strength": (0.0, 2.0)}
_MARGINS = dict.fromkeys(("top", "bottom", "left", "right"), (0.0, 2048.0))

ENDPOINTS: Mapping[str, Endpoint] = {
    "flux-2-klein-4b": _flux2(4, "0.014", "0.001"),
    "flux-2-klein-9b": _flux2(4, "0.015", "0.002"),
    "flux-2-klein-9b-preview": _flux2(4, "0.015", "0.002"),
    "flux-2-pro": _flux2(8, "0.03", "0.015"),
    "flux-2-pro-preview": _flux2(8, "0.03", "0.015"),
    "flux-2-max": _flux2(8, "0.07", "0.03"),
    "flux-2-flex": msgspec.structs.replace(
        _flux2(8, "0.05", "0.05"),
        numbers={**_safety(5), "steps": (1.0, 50.0), "guidance": (1.5, 10.0)},
        flags=("prompt_upsampling",),
    ),
    "flux-3-image": _FLUX3,
    "flux-3-image-klein": msgspec.structs.replace(
        _FLUX3,
        usd_by_class={
            "768sq": "0.009",
            "1k": "0.009",
            "1.5k": "0.012",
            "2k": "0.014",
            "4k": "0.036",
        },
    ),
    "flux-kontext-pro": _kontext("0.04"),
    "flux-kontext-max": _kontext("0.08"),
    "flux-pro-1.1": _PRO_11,
    "flux-pro-1.1-ultra": _ULTRA,
    "flux-dev": msgspec.structs.replace(
        _PRO_11,
        numbers={**_safety(6), "steps": (1.0, 50.0), "guidance": (1.5, 5.0)},
        usd=_flat("0.025"),
    ),
    "flux-pro-1.0-fill": _FILL,
    "flux-pro-1.0-expand": msgspec.structs.replace(
        _FILL,
        images=("image",),
        numbers={**_FILL.numbers, **_MARGINS},
        whole=(*_FILL.whole, *_MARGINS),
    ),
    "flux-pro-1.0-fill-finetuned": msgspec.structs.replace(
        _FILL,
        required=("image", "finetune_id"),
        texts=(*_FILL.texts, "finetune_id"),
        numbers={**_FILL.numbers, **_FINETUNE},
    ),
    "flux-pro-1.1-ultra-finetuned": msgspec.structs.replace(
        _ULTRA,
        required=("finetune_id",),
        texts=(*_ULTRA.texts, "finetune_id"),
        numbers={**_ULTRA.numbers, **_FINETUNE},
    ),
    "flux-tools/erase-v1": Endpoint(
        required=("image", "mask"),
        images=("image", "mask"),
        numbers={**_safety(5), "dilate_pixels": (0.0, 25.0)},
        texts=(),
        default_format="png",
        usd=lambda out, into: Decimal("0.03") + Decimal("0.004") * out,
    ),
    "flux-tools/outpainting-v1": Endpoint(
        required=("image", "width", "height"),
        images=("image",),
        numbers={"reference_offset_x": (-4096.0, 4096.0), "reference_offset_y": (-4096.0, 4096.0)},
        whole=("width", "height", "reference_offset_x", "reference_offset_y"),
        texts=("prompt", "mode"),
        flags=("auto_crop",),
        shape="pixels",
        step=32,
        default_format="png",
        usd=lambda out, into: Decimal("0.10") * out,
    ),
    "flux-tools/deblur-v1": Endpoint(
        required=("image",),
        images=("image",),
        numbers=_safety(5),
        texts=(),
        default_format="png",
        usd=_flat("0.02"),
    ),
    "flux-tools/vto-v2": Endpoint(
        required=("person", "garment"),
        images=("person", "garment"),
        texts=("prompt",),
        default_format=None,
        fixed_format="png",
        usd=_flat("0.05"),
    ),
}
"""By the path below /v1. Unpublished prices are made up: deblurring, try-ons,
fine-tuned models, FLUX 3 at 1.5k.
"""
