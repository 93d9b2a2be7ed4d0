"""ComfyUI's simulated nodes: their inputs, and their real effect on images."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from ..._core.edits import open_image
from ..._core.faults import WrongMedia
from ..._core.jobs import Job

if TYPE_CHECKING:
    from PIL import Image

CHECKPOINTS = ("sd15.safetensors", "sdxl.safetensors")
UPSCALERS = ("4x-UltraSharp.pth",)
_SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m")
_SCHEDULERS = ("normal", "karras")
_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
_UPSCALED = 4

Node = Mapping[str, object]
Takes = str | tuple[str, ...] | tuple[float, float]
"""The type of a link, the choices of a list, or the range of a number; "STRING"
and "BOOLEAN" are values.
"""

_LATENT = {"samples": "LATENT", "vae": "VAE"}
NODES: Mapping[str, tuple[Mapping[str, Takes], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ({"ckpt_name": CHECKPOINTS}, ("MODEL", "CLIP", "VAE")),
    "CLIPTextEncode": ({"text": "STRING", "clip": "CLIP"}, ("CONDITIONING",)),
    "EmptyLatentImage": (
        {"width": (16, 16384), "height": (16, 16384), "batch_size": (1, 4096)},
        ("LATENT",),
    ),
    "KSampler": (
        {
            "seed": (0, 2**64 - 1),
            "steps": (1, 10000),
            "cfg": (0.0, 100.0),
            "sampler_name": _SAMPLERS,
            "scheduler": _SCHEDULERS,
            "denoise": (0.0, 1.0),
            "model": "MODEL",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "latent_image": "LATENT",
        },
        ("LATENT",),
    ),
    "VAEDecode": (_LATENT, ("IMAGE",)),
    "VAEEncode": ({"pixels": "IMAGE", "vae": "VAE"}, ("LATENT",)),
    "VAEEncodeForInpaint": (
        {"pixels": "IMAGE", "vae": "VAE", "mask": "MASK", "grow_mask_by": (0, 64)},
        ("LATENT",),
    ),
    "RepeatLatentBatch": ({"samples": "LATENT", "amount": (1, 64)}, ("LATENT",)),
    "RepeatImageBatch": ({"image": "IMAGE", "amount": (1, 4096)}, ("IMAGE",)),
    "LoadImage": ({"image": "UPLOAD"}, ("IMAGE", "MASK")),
    "LoadImageMask": ({"image": "UPLOAD", "channel": ("alpha", "red", "green", "blue")}, ("MASK",)),
    "ImageScale": (
        {
            "image": "IMAGE",
            "upscale_method": _METHODS,
            "width": (0, 16384),
            "height": (0, 16384),
            "crop": ("disabled", "center"),
        },
        ("IMAGE",),
    ),
    "ImageCompositeMasked": (
        {
            "destination": "IMAGE",
            "source": "IMAGE",
            "x": (0, 16384),
            "y": (0, 16384),
            "resize_source": "BOOLEAN",
            "mask": "MASK",
        },
        ("IMAGE",),
    ),
    "UpscaleModelLoader": ({"model_name": UPSCALERS}, ("UPSCALE_MODEL",)),
    "ImageUpscaleWithModel": ({"upscale_model": "UPSCALE_MODEL", "image": "IMAGE"}, ("IMAGE",)),
    "SaveImage": ({"images": "IMAGE", "filename_prefix": "STRING"}, ()),
    "PreviewImage": ({"images": "IMAGE"}, ()),
}
OUTPUTS = {"SaveImage": "output", "PreviewImage": "temp"}
_VALUES = ("STRING", "BOOLEAN", "UPLOAD")


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a node has saved, or shows."""

    node_id: str
    kind: str
    data: bytes


# --- validation ---------------------------------------------------------------


def find_faults(
    graph: Mapping[str, Node], uploads: Mapping[str, bytes]
) -> dict[str, list[dict[str, object]]]:
    """Return the faults of a graph of known nodes, by node, in ComfyUI's own
    types.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for node_id, node in graph.items():
        takes, _ = NODES[str(node["class_type"])]
        inputs = node.get("inputs")
        values = inputs if isinstance(inputs, dict) else {}
        for name, kind in takes.items():
            if name not in values:
                found.setdefault(node_id, []).append(
                    _fault("required_input_missing", "Required input is missing", name)
                )
            elif (fault := _check_input(graph, name, kind, values[name], uploads)) is not None:
                found.setdefault(node_id, []).append(fault)
        if unknown := values.keys() - takes.keys():
            # The real one passes over these.
            found.setdefault(node_id, []).append(
                _fault("custom_validation_failed", "Unknown input", min(unknown))
            )
    return found


def _check_input(
    graph: Mapping[str, Node], name: str, kind: Takes, value: object, uploads: Mapping[str, bytes]
) -> dict[str, object] | None:
    if isinstance(kind, str) and kind not in _VALUES:
        return _check_link(graph, name, kind, value)
    if kind == "UPLOAD":
        return (
            None
            if value in uploads
            else _fault("custom_validation_failed", "Invalid image file", f"{name}: {value}")
        )
    if kind == "STRING" or kind == "BOOLEAN":
        fits = isinstance(value, bool) if kind == "BOOLEAN" else isinstance(value, str)
        return (
            None if fits else _fault("invalid_input_type", "Failed to convert an input value", name)
        )
    assert isinstance(kind, tuple)
    if isinstance(kind[0], str):
        listed = f"{name}: '{value}' not in {list(kind)}"
        return None if value in kind else _fault("value_not_in_list", "Value not in list", listed)
    low, high = kind
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _fault("invalid_input_type", "Failed to convert an input value", name)
    if isinstance(low, int) and not isinstance(value, int):
        return _fault("invalid_input_type", "Failed to convert an input value to INT", name)
    if value < low:
        return _fault(
            "value_smaller_than_min", "Value is smaller than min", f"{name}: {value} < {low}"
        )
    if value > high:
        return _fault(
            "value_bigger_than_max", "Value is bigger than max", f"{name}: {value} > {high}"
        )
    return None


def _check_link(
    graph: Mapping[str, Node], name: str, kind: str, value: object
) -> dict[str, object] | None:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or value[0] not in graph
        or not isinstance(value[1], int)
    ):
        return _fault(
            "bad_linked_input",
            "Bad linked input, must be a length-2 list of [node_id, slot_index]",
            name,
        )
    _, gives = NODES[str(graph[value[0]]["class_type"])]
    if not value[1] < len(gives) or gives[value[1]] != kind:
        return _fault("return_type_mismatch", "Return type mismatch between linked nodes", name)
    return None


def _fault(kind: str, message: str, details: str) -> dict[str, object]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


# --- execution ----------------------------------------------------------------


class _Latent(msgspec.Struct, frozen=True):
    """Images before they are drawn: the existing content, and the area that may
    change.
    """

    images: "list[Image.Image]"
    mask: "Image.Image | None" = None
    empty: bool = False


def execute(job: Job, graph: Mapping[str, Node], uploads: Mapping[str, bytes]) -> list[Saved]:
    """Run a valid graph, and return what it saves."""
    made: dict[str, tuple[object, ...]] = {}

    def value(node_id: str) -> tuple[object, ...]:
        if node_id not in made:
            made[node_id] = run(graph[node_id])
        return made[node_id]

    def run(node: Node) -> tuple[object, ...]:
        takes, _ = NODES[str(node["class_type"])]
        inputs = node["inputs"]
        assert isinstance(inputs, dict)
        given: dict[str, object] = {}
        for name, kind in takes.items():
            given[name] = inputs[name]
            if isinstance(kind, str) and kind not in _VALUES:
                given[name] = value(inputs[name][0])[inputs[name][1]]
        work = _WORK.get(str(node["class_type"]))
        return (None,) * 3 if work is None else work(job, given, uploads)

    saved: list[Saved] = []
    for node_id, node in graph.items():
        if (kind := OUTPUTS.get(str(node["class_type"]))) is not None:
            inputs = node["inputs"]
            assert isinstance(inputs, dict)
            images = value(inputs["images"][0])[inputs["images"][1]]
            assert isinstance(images, list)
            saved += [
                Saved(node_id=node_id, kind=kind, data=_encoded(job, image)) for image in images
            ]
    return saved


Given = Mapping[str, object]


def _sample(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    from PIL import Image

    latent, share = given["latent_image"], given["denoise"]
    assert isinstance(latent, _Latent)
    assert isinstance(share, (int, float))
    drawn = []
    for image in latent.images[: job.count(len(latent.images))]:
        content = job.draw(*image.size)
        new = image if content.startswith(b"<") else open_image(content).convert("RGB")
        if latent.mask is not None:
            drawn.append(Image.composite(new, image, latent.mask.resize(image.size)))
        else:
            drawn.append(new if latent.empty else Image.blend(image, new, share))
    return (_Latent(drawn),)


def _empty(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    from PIL import Image

    width, height, count = given["width"], given["height"], given["batch_size"]
    assert isinstance(width, int)
    assert isinstance(height, int)
    assert isinstance(count, int)
    return (_Latent([Image.new("RGB", (width // 8 * 8, height // 8 * 8))] * count, empty=True),)


def _encode(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    images, mask = given["pixels"], given.get("mask")
    assert isinstance(images, list)
    # Sides are cut to multiples of eight.
    cut = [image.crop((0, 0, image.width // 8 * 8, image.height // 8 * 8)) for image in images]
    return (_Latent(cut, _as_image(mask) if mask is not None else None),)


def _load(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    from PIL import Image, ImageOps

    opened = open_image(uploads[str(given["image"])])
    if channel := given.get("channel"):
        return (
            opened.convert("RGBA").getchannel(
                {"alpha": 3, "red": 0, "green": 1, "blue": 2}[str(channel)]
            ),
        )
    alpha = opened.getchannel("A") if "A" in opened.getbands() else Image.new("L", opened.size, 255)
    return [opened.convert("RGB")], ImageOps.invert(alpha)


def _scale(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    images, width, height = given["image"], given["width"], given["height"]
    assert isinstance(images, list)
    return ([image.resize((width, height)) for image in images],)


def _enlarge(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    images = given["image"]
    assert isinstance(images, list)
    return (
        [image.resize((image.width * _UPSCALED, image.height * _UPSCALED)) for image in images],
    )


def _repeat_latent(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    latent, amount = given["samples"], given["amount"]
    assert isinstance(latent, _Latent)
    assert isinstance(amount, int)
    return (_Latent(latent.images * amount, latent.mask),)


def _repeat_image(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    images, amount = given["image"], given["amount"]
    assert isinstance(images, list)
    assert isinstance(amount, int)
    return (images * amount,)


def _composite(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    below, above, mask = given["destination"], given["source"], _as_image(given["mask"])
    assert isinstance(below, list)
    assert isinstance(above, list)
    # There are as many as there are below.
    done = []
    for at, image in enumerate(below):
        canvas, source = image.copy(), above[at % len(above)]
        canvas.paste(source, (0, 0), mask.crop((0, 0, *source.size)))
        done.append(canvas)
    return (done,)


def _decode(job: Job, given: Given, uploads: Mapping[str, bytes]) -> tuple[object, ...]:
    latent = given["samples"]
    assert isinstance(latent, _Latent)
    return (latent.images,)


def _as_image(value: object) -> "Image.Image":
    from PIL import Image

    assert isinstance(value, Image.Image)
    return value


def _encoded(job: Job, image: "Image.Image") -> bytes:
    if isinstance(job.fault, WrongMedia):
        return job.draw(*image.size)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


_WORK: Mapping[str, Callable[[Job, Given, Mapping[str, bytes]], tuple[object, ...]]] = {
    "EmptyLatentImage": _empty,
    "KSampler": _sample,
    "VAEDecode": _decode,
    "VAEEncode": _encode,
    "VAEEncodeForInpaint": _encode,
    "RepeatLatentBatch": _repeat_latent,
    "RepeatImageBatch": _repeat_image,
    "LoadImage": _load,
    "LoadImageMask": _load,
    "ImageScale": _scale,
    "ImageCompositeMasked": _composite,
    "ImageUpscaleWithModel": _enlarge,
}
