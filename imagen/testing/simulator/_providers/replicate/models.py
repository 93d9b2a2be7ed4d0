"""Some models at Replicate: fields and prices, as of 2026
(replicate.com/<owner>/<name>/api).
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from ..openai_gateways.models import Takes

_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
_PLAIN_RATIOS = ("1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3")
_BANANA_RATIOS = (
    "match_input_image",
    "1:1",
    "2:3",
    "3:2",
    "3:4",
    "4:3",
    "4:5",
    "5:4",
    "9:16",
    "16:9",
    "21:9",
)
_SEED = {"seed": (0.0, float(2**63))}
_THREE = {"output_format": ("webp", "jpg", "png")}
_TWO = {"output_format": ("jpg", "png")}
_QUALITY = {"output_quality": (0.0, 100.0)}

SECOND_USD = Decimal("0.000975")
"""Price of a second of an L40S (replicate.com/pricing), for models without a
price per image.
"""


def _flat(usd: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(usd)


def _tolerance(low: int, high: int) -> dict[str, tuple[int, ...]]:
    return {"safety_tolerance": tuple(range(low, high + 1))}


_SCHNELL = Takes(
    numbers={**_SEED, **_QUALITY, "num_outputs": (1, 4), "num_inference_steps": (1, 4)},
    flags=("disable_safety_checker", "go_fast"),
    choices={**_THREE, "aspect_ratio": _RATIOS, "megapixels": ("0.25", "1")},
    shape="ratio",
    default_format="webp",
    count="num_outputs",
    usd=_flat("0.003"),
)
_ULTRA = Takes(
    numbers={**_SEED, "image_prompt_strength": (0, 1)},
    flags=("raw",),
    choices={**_TWO, **_tolerance(1, 6), "aspect_ratio": _RATIOS},
    images=("image_prompt",),
    shape="ratio",
    default_size=(2048, 2048),
    default_format="jpg",
    strength=("image_prompt_strength", True),
    usd=_flat("0.06"),
    single=True,
)
_KONTEXT = Takes(
    numbers=_SEED,
    flags=("prompt_upsampling",),
    choices={**_TWO, **_tolerance(0, 6), "aspect_ratio": ("match_input_image", *_RATIOS)},
    images=("input_image",),
    shape="ratio",
    usd=_flat("0.04"),
    single=True,
)
_FLUX2 = Takes(
    numbers={**_SEED, **_QUALITY},
    choices={
        **_THREE,
        **_tolerance(1, 5),
        "aspect_ratio": ("match_input_image", "custom", *_PLAIN_RATIOS),
    },
    lists={"input_images": 8},
    shape="ratio",
    single=True,
    default_format="webp",
)
_BANANA = Takes(
    choices={**_TWO, "aspect_ratio": _BANANA_RATIOS, "resolution": ("1K", "2K", "4K")},
    flags=("google_search", "image_search"),
    lists={"image_input": 14},
    shape="ratio",
    single=True,
    default_format="jpg",
)
_SDXL = Takes(
    texts=("prompt", "negative_prompt"),
    numbers={
        **_SEED,
        "width": (64, 4096),
        "height": (64, 4096),
        "num_outputs": (1, 4),
        "num_inference_steps": (1, 500),
        "guidance_scale": (1, 50),
        "prompt_strength": (0, 1),
    },
    whole=(*Takes().whole, "width", "height"),
    flags=("disable_safety_checker", "apply_watermark"),
    images=("image",),
    mask=("mask", "white"),
    shape="sides",
    count="num_outputs",
    strength=("prompt_strength", False),
)

MODELS: Mapping[str, Takes] = {
    "black-forest-labs/flux-schnell": _SCHNELL,
    "black-forest-labs/flux-dev": msgspec.structs.replace(
        _SCHNELL,
        numbers={
            **_SCHNELL.numbers,
            "num_inference_steps": (1, 50),
            "guidance": (0, 10),
            "prompt_strength": (0, 1),
        },
        images=("image",),
        strength=("prompt_strength", False),
        usd=_flat("0.025"),
    ),
    "black-forest-labs/flux-1.1-pro": Takes(
        numbers={**_SEED, **_QUALITY, "width": (256, 1440), "height": (256, 1440)},
        whole=(*Takes().whole, "width", "height"),
        flags=("prompt_upsampling",),
        choices={**_THREE, **_tolerance(1, 6), "aspect_ratio": ("custom", *_PLAIN_RATIOS)},
        shape="sides",
        default_format="webp",
        usd=_flat("0.04"),
        single=True,
    ),
    "black-forest-labs/flux-1.1-pro-ultra": _ULTRA,
    "black-forest-labs/flux-kontext-pro": _KONTEXT,
    "black-forest-labs/flux-kontext-max": msgspec.structs.replace(_KONTEXT, usd=_flat("0.08")),
    "black-forest-labs/flux-fill-pro": Takes(
        required=("prompt", "image"),
        numbers={**_SEED, "steps": (15, 50), "guidance": (1.5, 100)},
        flags=("prompt_upsampling",),
        choices={**_TWO, **_tolerance(1, 6)},
        images=("image",),
        mask=("mask", "white"),
        default_format="jpg",
    ),
    "black-forest-labs/flux-2-pro": _FLUX2,
    "black-forest-labs/flux-2-max": _FLUX2,
    "black-forest-labs/flux-2-flex": msgspec.structs.replace(
        _FLUX2, numbers={**_FLUX2.numbers, "steps": (1, 50), "guidance": (1.5, 10)}
    ),
    "black-forest-labs/flux-3-image": Takes(
        numbers=_QUALITY,
        flags=("grounding",),
        choices={
            **_THREE,
            **_tolerance(0, 4),
            "aspect_ratio": _RATIOS,
            "resolution": ("768sq", "1k", "1.5k", "2k", "4k"),
        },
        lists={"images": 10},
        shape="ratio",
        default_format="webp",
        usd=lambda out, into: Decimal("0.048") if out == 1 else Decimal("0.2"),
    ),
    "google/nano-banana-2": _BANANA,
    "google/nano-banana-pro": _BANANA,
    "openai/gpt-image-2": Takes(
        texts=("prompt", "openai_api_key"),
        numbers={"number_of_images": (1, 10), "output_compression": (0, 100)},
        choices={
            "output_format": ("png", "jpeg", "webp"),
            "aspect_ratio": ("1:1", "3:2", "2:3"),
            "quality": ("auto", "low", "medium", "high"),
            "background": ("auto", "opaque"),
            "moderation": ("auto", "low"),
        },
        lists={"input_images": 10},
        shape="ratio",
        default_format="webp",
        count="number_of_images",
    ),
    "ideogram-ai/ideogram-v3-turbo": Takes(
        numbers=_SEED,
        choices={
            "aspect_ratio": (*_PLAIN_RATIOS, "1:3", "3:1", "1:2", "2:1", "10:16", "16:10"),
            "style_type": ("None", "Auto", "General", "Realistic", "Design"),
            "magic_prompt_option": ("Auto", "On", "Off"),
        },
        lists={"style_reference_images": 3},
        shape="ratio",
    ),
    "stability-ai/sdxl": _SDXL,
    "stability-ai/stable-diffusion-3.5-large": Takes(
        numbers={**_SEED, **_QUALITY, "cfg": (1, 10), "prompt_strength": (0, 1)},
        choices={
            **_THREE,
            "aspect_ratio": ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "9:16", "9:21"),
        },
        images=("image",),
        shape="ratio",
        default_format="webp",
        strength=("prompt_strength", False),
    ),
    "nightmareai/real-esrgan": Takes(
        required=("image",),
        texts=(),
        numbers={"scale": (0, 10)},
        flags=("face_enhance",),
        images=("image",),
        scale=("scale", 4),
        single=True,
    ),
    "philz1337x/clarity-upscaler": Takes(
        required=("image",),
        texts=("prompt", "negative_prompt", "scheduler"),
        numbers={
            **_SEED,
            "scale_factor": (1, 16),
            "dynamic": (1, 50),
            "creativity": (0, 1),
            "resemblance": (0, 3),
            "num_inference_steps": (1, 100),
        },
        choices=_THREE,
        images=("image",),
        scale=("scale_factor", 2),
    ),
    "topazlabs/image-upscale": Takes(
        required=("image",),
        texts=(),
        flags=("face_enhancement",),
        choices={
            **_TWO,
            "upscale_factor": ("None", "2x", "4x", "6x"),
            "enhance_model": (
                "Standard V2",
                "Low Resolution V2",
                "CGI",
                "High Fidelity V2",
                "Text Refine",
            ),
        },
        images=("image",),
        default_format="jpg",
        scale=("upscale_factor", 1),
        single=True,
    ),
    "851-labs/background-remover": Takes(
        required=("image",),
        texts=("background_type",),
        numbers={"threshold": (0, 1)},
        flags=("reverse",),
        choices={"format": ("png", "jpg")},
        images=("image",),
        cuts_out=True,
        single=True,
    ),
}
"""By owner and name. Prices that were not seen are made up."""

BY_THE_SECOND: Mapping[str, float] = {
    "stability-ai/sdxl": 4.0,
    "nightmareai/real-esrgan": 1.5,
    "philz1337x/clarity-upscaler": 17.25,
    "851-labs/background-remover": 3.0,
}
"""Seconds that these models run."""
