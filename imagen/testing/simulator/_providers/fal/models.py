"""Some models at fal.ai: fields and prices, as of 2026 (fal.ai/models/<id>, the
pages for machines).
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from ..openai_gateways.models import Takes

_RATIOS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
_BANANA_RATIOS = ("auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
_SEED = {"seed": (0.0, float(2**63))}
_TOLERANCE = {"safety_tolerance": ("1", "2", "3", "4", "5", "6")}
_TOLERANCE_2 = {"safety_tolerance": ("1", "2", "3", "4", "5")}
_GROK_RATIOS = (
    "2:1",
    "20:9",
    "19.5:9",
    "16:9",
    "4:3",
    "3:2",
    "1:1",
    "2:3",
    "3:4",
    "9:16",
    "9:19.5",
    "9:20",
    "1:2",
)
_TWO = {"output_format": ("jpeg", "png")}
_THREE = {"output_format": ("jpeg", "png", "webp")}


def _flat(usd: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(usd)


def _by_area(usd: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(usd) * out


def _first_and_next(first: str, following: str) -> Callable[[int, int], Decimal]:
    return lambda out, into: Decimal(first) + Decimal(following) * (out - 1 + into)


_SCHNELL = Takes(
    texts=("prompt",),
    numbers={
        **_SEED,
        "num_images": (1, 4),
        "num_inference_steps": (1, 12),
        "guidance_scale": (1, 20),
    },
    flags=("enable_safety_checker", "sync_mode"),
    choices={**_TWO, "acceleration": ("none", "regular", "high")},
    shape="size",
    default_size=(1024, 768),
    default_format="jpeg",
    count="num_images",
    usd=_by_area("0.003"),
)
_PRO = Takes(
    numbers={**_SEED, "num_images": (1, 4)},
    flags=("sync_mode", "enhance_prompt"),
    choices={**_TWO, **_TOLERANCE},
    shape="size",
    default_size=(1024, 768),
    default_format="jpeg",
    count="num_images",
    usd=_by_area("0.04"),
)
_ULTRA = Takes(
    numbers={**_SEED, "num_images": (1, 4)},
    flags=("sync_mode", "raw", "enable_safety_checker"),
    choices={**_TWO, **_TOLERANCE, "aspect_ratio": _RATIOS},
    shape="ratio",
    default_size=(2048, 2048),
    default_format="jpeg",
    count="num_images",
    usd=_flat("0.06"),
)


def _kontext(usd: str, *, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_url") if edits else ("prompt",),
        numbers={**_SEED, "num_images": (1, 4), "guidance_scale": (1, 20)},
        flags=("sync_mode", "enhance_prompt"),
        choices={**_TWO, **_TOLERANCE, "aspect_ratio": _RATIOS},
        images=("image_url",) if edits else (),
        shape="ratio",
        default_format="jpeg",
        count="num_images",
        usd=_flat(usd),
    )


_FILL = Takes(
    required=("prompt", "image_url", "mask_url"),
    numbers={**_SEED, "num_images": (1, 4)},
    flags=("sync_mode", "enhance_prompt"),
    choices={**_TWO, **_TOLERANCE},
    images=("image_url",),
    mask=("mask_url", "white"),
    default_format="jpeg",
    count="num_images",
)


def _flux2(first: str, following: str, *, edits: bool, flex: bool = False) -> Takes:
    numbers = {
        **_SEED,
        **({"guidance_scale": (1.5, 10.0), "num_inference_steps": (2.0, 50.0)} if flex else {}),
    }
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers=numbers,
        flags=("sync_mode", "enable_safety_checker"),
        choices={**_TWO, **_TOLERANCE_2},
        lists={"image_urls": 9} if edits else {},
        shape="size",
        default_size=(1024, 768),
        default_format="jpeg",
        usd=_first_and_next(first, following),
    )


def _usd_of(
    prices: Mapping[str, str], field: str, default: str
) -> Callable[[Mapping[str, object]], Decimal]:
    return lambda fields: Decimal(prices[str(fields.get(field, default))])


def _banana(
    *, edits: bool, usd: Mapping[str, str], ratios: tuple[str, ...] = _BANANA_RATIOS
) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers={**_SEED, "num_images": (1.0, 4.0)},
        flags=("sync_mode", "enable_web_search", "limit_generations"),
        choices={**_THREE, **_TOLERANCE, "aspect_ratio": ratios, "resolution": tuple(usd)},
        lists={"image_urls": 14} if edits else {},
        shape="ratio",
        count="num_images",
        usd=_flat(usd["1K"]),
        usd_by=_usd_of(usd, "resolution", "1K"),
        usd_per_unit=Decimal(usd["1K"]),
    )


_BANANA_2 = {"0.5K": "0.06", "1K": "0.08", "2K": "0.12", "4K": "0.16"}
_BANANA_21 = {"1K": "0.08", "2K": "0.12", "4K": "0.16"}
_BANANA_PRO = {"1K": "0.15", "2K": "0.15", "4K": "0.30"}
_LONG_RATIOS = (*_BANANA_RATIOS, "4:1", "1:4", "8:1", "1:8")


def _grok(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers={"num_images": (1, 4)},
        flags=("sync_mode",),
        choices={
            **_THREE,
            "resolution": ("1k", "2k"),
            **({} if edits else {"aspect_ratio": _GROK_RATIOS}),
        },
        lists={"image_urls": 3} if edits else {},
        shape="input" if edits else "ratio",
        default_format="jpeg",
        count="num_images",
        usd=lambda out, into: Decimal("0.02") + Decimal("0.002") * into,
        usd_by=lambda fields: Decimal("0.02"),
        usd_per_input=Decimal("0.002"),
        usd_per_unit=Decimal("0.02"),
    )


_GROK_2 = {
    ("low", "1k"): "0.04",
    ("low", "2k"): "0.06",
    ("medium", "1k"): "0.06",
    ("medium", "2k"): "0.08",
}


def _grok_2_usd(fields: Mapping[str, object]) -> Decimal:
    return Decimal(
        _GROK_2[str(fields.get("quality", "medium")), str(fields.get("resolution", "1k"))]
    )


def _grok_2(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers={"num_images": (1, 4)},
        flags=("sync_mode",),
        choices={
            **_THREE,
            "resolution": ("1k", "2k"),
            "quality": ("low", "medium"),
            "aspect_ratio": (*_GROK_RATIOS, "auto"),
        },
        lists={"image_urls": 3} if edits else {},
        shape="ratio",
        default_format="jpeg",
        count="num_images",
        usd=lambda out, into: Decimal("0.06") + Decimal("0.01") * into,
        usd_by=_grok_2_usd,
        usd_per_input=Decimal("0.01"),
        usd_per_unit=Decimal("0.01"),
    )


def _flux3(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        choices={
            **_TWO,
            "aspect_ratio": (*_FLUX3_RATIOS, "auto"),
            "resolution": ("768sq", "1k", "1.5k", "2k", "4k"),
        },
        flags=("enable_prompt_expansion", "sync_mode"),
        lists={"image_urls": 10} if edits else {},
        shape="ratio",
        usd=_by_area("0.048"),
        usd_by=_flux3_usd,
        usd_per_unit=Decimal("0.048"),
    )


_FLUX3_RATIOS = (
    "21:9",
    "2:1",
    "16:9",
    "3:2",
    "7:5",
    "4:3",
    "5:4",
    "1:1",
    "4:5",
    "3:4",
    "5:7",
    "2:3",
    "9:16",
    "1:2",
)


def _flux3_usd(fields: Mapping[str, object]) -> Decimal:
    units = {"768sq": 1, "1k": 1, "1.5k": 3, "2k": 4, "4k": 16}
    return Decimal("0.048") * units[str(fields.get("resolution", "1k"))]


def _qwen_3(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        texts=("prompt", "negative_prompt"),
        numbers={"seed": (0.0, float(2**31 - 1)), "num_images": (1, 6)},
        flags=("sync_mode", "enable_safety_checker", "enable_prompt_expansion"),
        choices=_THREE,
        lists={"image_urls": 3} if edits else {},
        shape="size",
        least_pixels=512 * 512,
        count="num_images",
        usd=lambda out, into: Decimal("0.04") if out == 1 else Decimal("0.075"),
        usd_per_unit=Decimal("0.01"),
    )


def _seedream(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers={"num_images": (1, 6), "max_images": (1, 6)},
        whole=("num_images", "max_images"),
        flags=("sync_mode", "enable_safety_checker"),
        lists={"image_urls": 10} if edits else {},
        shape="size",
        default_size=(2048, 2048),
        least_pixels=2560 * 1440,
        count="num_images",
        usd=_flat("0.035"),
        usd_per_unit=Decimal("0.035"),
    )


def _wan_27(usd: str, *, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        texts=("prompt", "negative_prompt"),
        numbers={
            "seed": (0.0, float(2**31 - 1)),
            **({"num_images": (1, 4)} if edits else {"max_images": (1, 5)}),
        },
        whole=("seed", "num_images", "max_images"),
        flags=("enable_safety_checker",),
        lists={"image_urls": 4} if edits else {},
        shape="size",
        count="num_images" if edits else "max_images",
        usd=_flat(usd),
        usd_per_unit=Decimal(usd),
    )


def _gpt_image(*, edits: bool) -> Takes:
    return Takes(
        required=("prompt", "image_urls") if edits else ("prompt",),
        numbers={"num_images": (1, 4)},
        flags=("sync_mode",),
        choices={**_THREE, "quality": ("low", "medium", "high")},
        lists={"image_urls": 16} if edits else {},
        mask=("mask_url", "alpha") if edits else None,
        shape="size",
        default_size=(1024, 768),
        count="num_images",
    )


MODELS: Mapping[str, Takes] = {
    "fal-ai/flux/schnell": _SCHNELL,
    "fal-ai/flux/dev": msgspec.structs.replace(
        _SCHNELL,
        numbers={**_SCHNELL.numbers, "num_inference_steps": (1, 50)},
        usd=_by_area("0.025"),
    ),
    "fal-ai/flux/dev/image-to-image": msgspec.structs.replace(
        _SCHNELL,
        required=("prompt", "image_url"),
        numbers={**_SCHNELL.numbers, "num_inference_steps": (10, 50), "strength": (0.01, 1)},
        images=("image_url",),
        shape="input",
        strength=("strength", False),
        usd=_by_area("0.03"),
    ),
    "fal-ai/flux-pro/v1.1": _PRO,
    "fal-ai/flux-pro/v1.1-ultra": _ULTRA,
    "fal-ai/flux-pro/kontext": _kontext("0.04", edits=True),
    "fal-ai/flux-pro/kontext/text-to-image": _kontext("0.04", edits=False),
    "fal-ai/flux-pro/kontext/max": _kontext("0.08", edits=True),
    "fal-ai/flux-pro/kontext/max/text-to-image": _kontext("0.08", edits=False),
    "fal-ai/flux-pro/v1/fill": _FILL,
    "fal-ai/flux-2-pro": _flux2("0.03", "0.015", edits=False),
    "fal-ai/flux-2-pro/edit": _flux2("0.03", "0.015", edits=True),
    "fal-ai/flux-2-max": _flux2("0.07", "0.03", edits=False),
    "fal-ai/flux-2-max/edit": _flux2("0.07", "0.03", edits=True),
    "fal-ai/flux-2-flex": _flux2("0.06", "0.06", edits=False, flex=True),
    "fal-ai/flux-2-flex/edit": _flux2("0.06", "0.06", edits=True, flex=True),
    "blackforestlabs/flux-3/text-to-image": _flux3(edits=False),
    "blackforestlabs/flux-3/edit-image": _flux3(edits=True),
    "fal-ai/nano-banana-2": _banana(edits=False, usd=_BANANA_2, ratios=_LONG_RATIOS),
    "fal-ai/nano-banana-2/edit": _banana(edits=True, usd=_BANANA_2, ratios=_LONG_RATIOS),
    "fal-ai/nano-banana-2.1": _banana(edits=False, usd=_BANANA_21, ratios=_LONG_RATIOS),
    "fal-ai/nano-banana-2.1/edit": _banana(edits=True, usd=_BANANA_21, ratios=_LONG_RATIOS),
    "fal-ai/nano-banana-pro": _banana(edits=False, usd=_BANANA_PRO),
    "fal-ai/nano-banana-pro/edit": _banana(edits=True, usd=_BANANA_PRO),
    "openai/gpt-image-2": _gpt_image(edits=False),
    "openai/gpt-image-2/edit": _gpt_image(edits=True),
    "fal-ai/ideogram/v3": Takes(
        texts=("prompt", "negative_prompt"),
        numbers={**_SEED, "num_images": (1, 8)},
        flags=("sync_mode", "expand_prompt"),
        choices={
            "rendering_speed": ("TURBO", "BALANCED", "QUALITY"),
            "style": ("AUTO", "GENERAL", "REALISTIC", "DESIGN"),
        },
        lists={"image_urls": 3},
        shape="size",
        count="num_images",
    ),
    "xai/grok-imagine-image": _grok(edits=False),
    "xai/grok-imagine-image/edit": _grok(edits=True),
    "xai/grok-imagine-image/v2.0/text-to-image": _grok_2(edits=False),
    "xai/grok-imagine-image/v2.0/edit": _grok_2(edits=True),
    "ideogram/v4.5": Takes(
        numbers={**_SEED, "num_images": (1, 4)},
        flags=("sync_mode", "enable_prompt_expansion"),
        choices={"quality": ("low", "medium", "high")},
        shape="size",
        count="num_images",
        usd=_flat("0.06"),
        usd_by=_usd_of({"low": "0.03", "medium": "0.06", "high": "0.22"}, "quality", "medium"),
    ),
    "alibaba/qwen-image-3/text-to-image": _qwen_3(edits=False),
    "alibaba/qwen-image-3/edit": _qwen_3(edits=True),
    "fal-ai/bytedance/seedream/v5/lite/text-to-image": _seedream(edits=False),
    "fal-ai/bytedance/seedream/v5/lite/edit": _seedream(edits=True),
    "fal-ai/wan/v2.7/text-to-image": _wan_27("0.03", edits=False),
    "fal-ai/wan/v2.7/edit": _wan_27("0.03", edits=True),
    "microsoft/mai-image-2.5-pro": Takes(
        numbers={"num_images": (1, 4)},
        flags=("sync_mode",),
        choices={
            **_TWO,
            "aspect_ratio": ("auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"),
        },
        shape="ratio",
        count="num_images",
    ),
    "bria/fibo-gen-1.5/text-to-image": Takes(
        numbers=_SEED,
        flags=("sync_mode",),
        choices={
            "aspect_ratio": ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9"),
            "resolution": ("1MP", "4MP"),
        },
        shape="ratio",
        usd=_flat("0.04"),
        usd_per_unit=Decimal("0.04"),
        single=True,
    ),
    "fal-ai/qwen-image": Takes(
        texts=("prompt", "negative_prompt"),
        numbers={
            **_SEED,
            "num_images": (1, 4),
            "num_inference_steps": (2, 250),
            "guidance_scale": (0, 20),
        },
        flags=("sync_mode", "enable_safety_checker", "use_turbo"),
        choices={**_TWO, "acceleration": ("none", "regular", "high")},
        shape="size",
        default_size=(1024, 768),
        count="num_images",
        usd=_by_area("0.02"),
    ),
    "fal-ai/clarity-upscaler": Takes(
        required=("image_url",),
        texts=("prompt", "negative_prompt"),
        numbers={
            **_SEED,
            "upscale_factor": (1, 4),
            "creativity": (0, 1),
            "resemblance": (0, 1),
            "guidance_scale": (0, 20),
            "num_inference_steps": (4, 50),
        },
        flags=("enable_safety_checker",),
        images=("image_url",),
        scale=("upscale_factor", 2),
        usd=_by_area("0.03"),
        single=True,
    ),
    "fal-ai/topaz/upscale/image": Takes(
        required=("image_url",),
        texts=(),
        numbers={"upscale_factor": (1, 4)},
        flags=("crop_to_fill", "face_enhancement"),
        choices={
            **_TWO,
            "model": (
                "Low Resolution V2",
                "Standard V2",
                "CGI",
                "High Fidelity V2",
                "Text Refine",
                "Recovery",
                "Redefine",
            ),
        },
        images=("image_url",),
        default_format="jpeg",
        scale=("upscale_factor", 2),
        usd=lambda out, into: (
            Decimal("0.08") if out <= 24 else Decimal("0.16") if out <= 48 else Decimal("0.32")
        ),
        single=True,
    ),
    "fal-ai/seedvr/upscale/image": Takes(
        required=("image_url",),
        texts=(),
        numbers={**_SEED, "upscale_factor": (1, 10), "noise_scale": (0, 1)},
        flags=("sync_mode",),
        choices={"output_format": ("png", "jpg", "webp"), "upscale_mode": ("factor", "target")},
        images=("image_url",),
        default_format="jpeg",
        scale=("upscale_factor", 2),
        single=True,
    ),
    "fal-ai/birefnet/v2": Takes(
        required=("image_url",),
        texts=("model", "operating_resolution"),
        flags=("sync_mode", "output_mask", "refine_foreground"),
        choices={"output_format": ("png", "webp", "gif")},
        images=("image_url",),
        cuts_out=True,
        single=True,
    ),
    # A namespace of three parts.
    "workflows/acme/drawing": Takes(shape="size"),
}
"""By model id. Prices that were not seen are made up."""
