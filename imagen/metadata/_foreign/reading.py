"""Readers of the records of other programs for generated images.

The existing package is not used: it takes cubic time over large graphs, raises
undocumented exceptions, and cannot read graphs without the classic sampler,
e.g. those of FLUX. These readers look at each byte once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from .._embed import kind_of
from .._formats.exif import read_user_comment
from .._formats.jpeg import jpeg_exif
from .._formats.png import read_texts
from .._formats.webp import webp_exif
from .comfyui import read_graph
from .foreign_record import ForeignRecord, as_number, as_text, as_whole

__all__ = ["read_foreign"]

# Each program's names of the common fields: prompt, negative prompt, model,
# seed, steps, sampler, guidance.
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "AUTOMATIC1111": ("", "", "Model", "Seed", "Steps", "Sampler", "CFG scale"),
    "Fooocus": (
        "prompt",
        "negative_prompt",
        "base_model",
        "seed",
        "steps",
        "sampler",
        "guidance_scale",
    ),
    "InvokeAI": (
        "positive_prompt",
        "negative_prompt",
        "model",
        "seed",
        "steps",
        "scheduler",
        "cfg_scale",
    ),
    "NovelAI": ("prompt", "uc", "", "seed", "steps", "sampler", "scale"),
    "SwarmUI": ("prompt", "negativeprompt", "model", "seed", "steps", "sampler", "cfgscale"),
}
# A quoted value may contain commas and colons.
_SETTING: Final = re.compile(r'([^:,"\n]{1,60}):\s{0,4}("(?:[^"\\]|\\.)*"|[^,"\n]*)')
_NEGATIVE: Final = "Negative prompt:"


def read_foreign(data: bytes) -> ForeignRecord | None:
    """Read the record of another program in an image; return None without a
    readable one.
    """
    texts = _texts_of(data)
    try:
        return _read_texts(texts)
    except (ValueError, RecursionError):
        # Malformed, e.g. numbers of ten thousand digits or lists a thousand
        # deep.
        return None


def _texts_of(data: bytes) -> Mapping[str, str]:
    match kind_of(data):
        case "image/png":
            return read_texts(data)
        case "image/jpeg":
            exif = jpeg_exif(data)
        case "image/webp":
            exif = webp_exif(data)
        case _:
            exif = None
    comment = None if exif is None else read_user_comment(exif)
    return {} if comment is None else {"parameters": comment}


def _read_texts(texts: Mapping[str, str]) -> ForeignRecord | None:
    if "invokeai_metadata" in texts:
        return _read_fields("InvokeAI", _as_object(texts["invokeai_metadata"]))
    if texts.get("Software") == "NovelAI":
        found = _read_fields("NovelAI", _as_object(texts.get("Comment", "")))
        return found and msgspec.structs.replace(found, model=texts.get("Source"))
    if "parameters" in texts:
        return _read_parameters(texts["parameters"])
    if "prompt" in texts:
        return read_graph(_as_object(texts["prompt"]))
    return None


def _as_object(text: str) -> dict[str, object]:
    """Parse a JSON object, otherwise return an empty one. By the standard
    library: ComfyUI writes NaN, which is not JSON.
    """
    found = json.loads(text) if text.lstrip().startswith("{") else {}
    return found if isinstance(found, dict) else {}


def _read_parameters(text: str) -> ForeignRecord | None:
    """Read a text under the keyword "parameters": the lines of AUTOMATIC1111,
    or the JSON of later programs.
    """
    if not text.lstrip().startswith("{"):
        return _read_lines(text)
    fields = _as_object(text)
    swarm = fields.get("sui_image_params")
    if isinstance(swarm, dict):
        return _read_fields("SwarmUI", swarm)
    return _read_fields("Fooocus", fields) if "base_model" in fields else None


def _read_lines(text: str) -> ForeignRecord | None:
    """Read the prompt, the negative prompt, and the last line: settings that
    begin with the steps.
    """
    text = "\n" + text.replace("\r\n", "\n")
    words, found, last = text.rpartition("\nSteps:")
    if not found:
        return None
    settings = {
        key.strip(): value.strip().strip('"') for key, value in _SETTING.findall("Steps:" + last)
    }
    prompt, _, negative = words.partition("\n" + _NEGATIVE)
    record = _read_fields("AUTOMATIC1111", dict(settings))
    if record is None:
        return None
    version = settings.get("Version", "")
    program = (
        "ComfyUI"
        if version == "ComfyUI"
        else "Forge"
        if version.startswith("f")
        else record.program
    )
    return msgspec.structs.replace(
        record, program=program, prompt=prompt.strip(), negative_prompt=negative.strip() or None
    )


def _read_fields(program: str, fields: dict[str, object]) -> ForeignRecord | None:
    """Extract the common fields of a program; the rest become parameters."""
    if not fields:
        return None
    prompt, negative, model, seed, steps, sampler, guidance = (
        fields.pop(word, None) for word in _WORDS[program]
    )
    if isinstance(model, dict):
        # InvokeAI has an object with more than the name.
        model = model.get("name") or model.get("model_name")
    return ForeignRecord(
        program=program,
        prompt=as_text(prompt) or "",
        negative_prompt=as_text(negative),
        model=as_text(model),
        seed=as_whole(seed),
        steps=as_whole(steps),
        sampler=as_text(sampler),
        guidance=as_number(guidance),
        parameters={
            key: text for key, value in fields.items() if (text := as_text(value)) is not None
        },
    )
