"""Reader of ComfyUI graphs, upstream from the sampler.

A graph has no field for a prompt. Its nodes have inputs, which are values or
links to other nodes; the values of a sampler are the nearest ones upstream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from .foreign_record import ForeignRecord, as_number, as_text, as_whole

__all__ = ["read_graph"]

_Inputs = Mapping[str, object]

_TEXTS: Final = (
    "text",
    "t5xxl",
    "text_g",
    "clip_l",
    "text_l",
    "prompt",
    "positive_prompt",
    "string",
    "value",
)
_TO_PROMPT: Final = ("positive", "guider", "conditioning")
_SEEDS: Final = ("seed", "noise_seed")
_MODELS: Final = ("ckpt_name", "unet_name", "model_name")
_GUIDANCE: Final = ("cfg", "guidance")


def read_graph(graph: Mapping[str, object]) -> ForeignRecord | None:
    """Read the inputs of the first sampler; return None without one."""
    nodes = {
        name: inputs for name, node in graph.items() if (inputs := _inputs_of(node)) is not None
    }
    sampler = next(
        (name for name, node in graph.items() if name in nodes and _is_sampler(node, nodes[name])),
        None,
    )
    if sampler is None:
        return None
    upstream = list(_walk(nodes, sampler))
    return ForeignRecord(
        program="ComfyUI",
        prompt=_find_text(nodes, upstream, _TO_PROMPT, without=("negative",)) or "",
        negative_prompt=_find_text(nodes, upstream, ("negative",), without=("positive",)),
        model=as_text(_find(upstream, _MODELS)),
        seed=as_whole(_find(upstream, _SEEDS)),
        steps=as_whole(_find(upstream, ("steps",))),
        sampler=as_text(_find(upstream, ("sampler_name",))),
        guidance=as_number(_find(upstream, _GUIDANCE)),
        parameters={
            name: text
            for name in ("scheduler", "denoise", "width", "height", "lora_name", "vae_name")
            if (text := as_text(_find(upstream, (name,)))) is not None
        },
    )


def _inputs_of(node: object) -> _Inputs | None:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else None


def _is_sampler(node: object, inputs: _Inputs) -> bool:
    kind = node.get("class_type") if isinstance(node, dict) else None
    return (
        isinstance(kind, str)
        and "Sampler" in kind
        and any(_link(inputs, name) for name in _TO_PROMPT)
    )


def _link(inputs: _Inputs, name: str) -> str | None:
    """Return the source node of an input if it is a link: name and number of
    the output.
    """
    value = inputs.get(name)
    return (
        str(value[0])
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int))
        else None
    )


def _walk(
    nodes: Mapping[str, _Inputs], start: str, without: tuple[str, ...] = ()
) -> Iterator[_Inputs]:
    """Yield nodes upstream of one, the nearest first, each once."""
    seen, waiting = {start}, deque([start])
    while waiting:
        inputs = nodes.get(waiting.popleft())
        if inputs is None:
            continue
        yield inputs
        for name in inputs:
            source = _link(inputs, name)
            if source is not None and source not in seen and name not in without:
                seen.add(source)
                waiting.append(source)


def _find(upstream: list[_Inputs], names: tuple[str, ...]) -> object:
    """Return the first value under one of the names, skipping links."""
    values = (inputs[name] for inputs in upstream for name in names if name in inputs)
    return next((value for value in values if isinstance(value, (str, int, float))), None)


def _find_text(
    nodes: Mapping[str, _Inputs],
    upstream: list[_Inputs],
    links: tuple[str, ...],
    *,
    without: tuple[str, ...],
) -> str | None:
    """Return the text nearest to the source of one of the links."""
    start = next(
        (found for inputs in upstream for name in links if (found := _link(inputs, name))), None
    )
    if start is None:
        return None
    texts = (inputs.get(name) for inputs in _walk(nodes, start, without) for name in _TEXTS)
    return next(
        (as_text(text.strip()) for text in texts if isinstance(text, str) and text.strip()), None
    )
