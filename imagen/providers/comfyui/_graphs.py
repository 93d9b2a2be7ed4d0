"""The graphs that ComfyUI is given: built here for a checkpoint, or a user's
own workflow with named slots.

A workflow is saved by "Export (API)". It has a slot for each value of a
request: "{{prompt}}", "{{negative_prompt}}", "{{seed}}", "{{width}}",
"{{height}}", "{{steps}}", "{{guidance}}", "{{strength}}", "{{count}}",
"{{image}}", "{{image_2}}", "{{mask}}", or the name of any of the `options`. A
value that is only a slot takes its type, so a seed is a number. "{{mask}}" is
an image that is white where the image changes; a workflow without it uses the
transparent area of "{{image}}", as the node LoadImage does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ..._errors import ConfigurationError, InvalidRequestError
from ..._requests.catalog import JsonValue
from .._replies.decoding import MALFORMED

__all__ = [
    "Drawing",
    "Graph",
    "draw_graph",
    "enlarge_graph",
    "fill_slots",
    "find_slots",
    "load_workflow",
    "read_graph",
]

Graph = dict[str, dict[str, JsonValue]]

_SLOT = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")
_LARGEST_WORKFLOW = 16 << 20
# How far the area to change grows, so that no edge is seen: the default of the
# node.
_GROW_MASK = 6


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """Drawing of a checkpoint. `image` is the name of an uploaded image,
    transparent where `masked`.

    `size` is that of the new image; None leaves it to the image.
    """

    checkpoint: str
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    sampler: str
    scheduler: str
    count: int
    denoise: float = 1.0
    size: tuple[int, int] | None = None
    image: str | None = None
    masked: bool = False


def draw_graph(drawing: Drawing) -> Graph:
    """The nodes of the default workflow; the latent image is an empty one, or
    made of an image.
    """
    graph = {
        "1": _node("CheckpointLoaderSimple", ckpt_name=drawing.checkpoint),
        "2": _node("CLIPTextEncode", text=drawing.prompt, clip=["1", 1]),
        "3": _node("CLIPTextEncode", text=drawing.negative_prompt, clip=["1", 1]),
        **_latent_nodes(drawing),
        "5": _node(
            "KSampler",
            seed=drawing.seed,
            steps=drawing.steps,
            cfg=drawing.guidance,
            sampler_name=drawing.sampler,
            scheduler=drawing.scheduler,
            denoise=drawing.denoise,
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
        ),
        "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
    }
    drawn: list[JsonValue] = ["6", 0]
    if drawing.masked:
        # Unchanged areas come from the image itself: coding and decoding would
        # blur them.
        graph["7"] = _node("RepeatImageBatch", image=["10", 0], amount=drawing.count)
        graph["8"] = _node(
            "ImageCompositeMasked",
            destination=["7", 0],
            source=drawn,
            x=0,
            y=0,
            resize_source=False,
            mask=["10", 1],
        )
        drawn = ["8", 0]
    graph["9"] = _node("SaveImage", images=drawn, filename_prefix="imagen")
    return graph


def _latent_nodes(drawing: Drawing) -> Graph:
    if drawing.image is None:
        width, height = drawing.size or (1024, 1024)
        return {
            "4": _node("EmptyLatentImage", width=width, height=height, batch_size=drawing.count)
        }
    nodes = {"10": _node("LoadImage", image=drawing.image)}
    pixels: list[JsonValue] = ["10", 0]
    if drawing.size is not None and not drawing.masked:
        nodes["11"] = _scale_node(pixels, drawing.size)
        pixels = ["11", 0]
    if drawing.masked:
        nodes["12"] = _node(
            "VAEEncodeForInpaint",
            pixels=pixels,
            vae=["1", 2],
            mask=["10", 1],
            grow_mask_by=_GROW_MASK,
        )
    else:
        nodes["12"] = _node("VAEEncode", pixels=pixels, vae=["1", 2])
    nodes["4"] = _node("RepeatLatentBatch", samples=["12", 0], amount=drawing.count)
    return nodes


def enlarge_graph(image: str, upscaler: str, size: tuple[int, int] | None) -> Graph:
    """Return the graph that enlarges an image by a model, and resizes it if a
    size is given.
    """
    graph = {
        "1": _node("LoadImage", image=image),
        "2": _node("UpscaleModelLoader", model_name=upscaler),
        "3": _node("ImageUpscaleWithModel", upscale_model=["2", 0], image=["1", 0]),
    }
    enlarged: list[JsonValue] = ["3", 0]
    if size is not None:
        graph["4"] = _scale_node(enlarged, size)
        enlarged = ["4", 0]
    graph["9"] = _node("SaveImage", images=enlarged, filename_prefix="imagen")
    return graph


def _scale_node(image: list[JsonValue], size: tuple[int, int]) -> dict[str, JsonValue]:
    return _node(
        "ImageScale",
        image=image,
        upscale_method="lanczos",
        width=size[0],
        height=size[1],
        crop="disabled",
    )


def _node(kind: str, **inputs: JsonValue) -> dict[str, JsonValue]:
    return {"class_type": kind, "inputs": inputs}


# --- workflows ----------------------------------------------------------------


def load_workflow(path: str) -> bytes:
    """Read and check a workflow file; a relative path starts at the current
    folder.

    Raises:
        ConfigurationError: the file is missing, or not a workflow in the API's
            format.
    """
    place = Path(path).expanduser()
    try:
        with place.open("rb") as file:
            data = file.read(_LARGEST_WORKFLOW + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The workflow {place} cannot be read: {error}.") from error
    if len(data) > _LARGEST_WORKFLOW:
        raise ConfigurationError(
            f"The workflow {place} is larger than {_LARGEST_WORKFLOW:,} bytes."
        )
    read_graph(data, str(place))
    return data


def read_graph(data: bytes, name: str) -> Graph:
    """The nodes of a workflow."""
    try:
        graph = msgspec.json.decode(data, type=dict[str, object])
    except MALFORMED as error:
        raise ConfigurationError(f"The workflow {name} is no JSON object: {error}.") from error
    nodes: Graph = {}
    for node_id, node in graph.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise ConfigurationError(
                f"The workflow {name} is not in the API's format: export it by File, Export (API),"
                " in ComfyUI."
            )
        nodes[node_id] = node
    if not nodes:
        raise ConfigurationError(f"The workflow {name} has no nodes.")
    return nodes


def find_slots(graph: Graph) -> set[str]:
    """The names of the slots in the inputs of a workflow."""
    return {
        name
        for node in graph.values()
        for text in _texts(node.get("inputs"))
        for name in _SLOT.findall(text)
    }


def fill_slots(graph: Graph, values: Mapping[str, JsonValue]) -> Graph:
    """The workflow with values in its slots.

    Raises:
        InvalidRequestError: a slot has no value.
    """
    if missing := find_slots(graph) - values.keys():
        raise InvalidRequestError(
            f"The workflow has a slot {{{{{min(missing)}}}}} and the request has nothing for it; it"
            " could come from options."
        )
    return {
        node_id: {**node, "inputs": _fill(node.get("inputs"), values)}
        for node_id, node in graph.items()
    }


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _fill(value: object, values: Mapping[str, JsonValue]) -> JsonValue:
    """Fill the slots in one pass, so that a prompt that mentions slots is
    unchanged.
    """
    if isinstance(value, dict):
        return {name: _fill(item, values) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    if not isinstance(value, str):
        return value
    if (whole := _SLOT.fullmatch(value)) is not None:
        return values[whole[1]]
    return _SLOT.sub(lambda found: str(values[found[1]]), value)
