"""The records of other programs for generated images, in one form.

Own readers: the package that has some takes cubic time over a graph that
somebody made large, raises what it does not document, and reads nothing of a
graph without the classic sampler, such as those of FLUX. These look at each
byte once.
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
from .record import ForeignRecord, as_number, as_text, as_whole

__all__ = ["read_foreign"]

# Each program's own words for what all of them have: prompt, negative prompt,
# model, seed, steps, sampler, guidance.
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
# A value may be quoted, and then hold commas and colons.
_SETTING: Final = re.compile(r'([^:,"\n]{1,60}):\s{0,4}("(?:[^"\\]|\\.)*"|[^,"\n]*)')
_NEGATIVE: Final = "Negative prompt:"


def read_foreign(data: bytes) -> ForeignRecord | None:
    """What another program wrote into an image of its own; None where there is
    nothing that imagen can read.
    """
    texts = _texts_of(data)
    try:
        return _read_texts(texts)
    except (ValueError, RecursionError):
        # Not what it seemed: numbers of ten thousand digits, lists a thousand
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
    """A JSON object, or an empty one. By the standard library: ComfyUI writes
    NaN, which JSON does not have.
    """
    found = json.loads(text) if text.lstrip().startswith("{") else {}
    return found if isinstance(found, dict) else {}


def _read_parameters(text: str) -> ForeignRecord | None:
    """A text under the keyword "parameters": lines as AUTOMATIC1111 began to
    write them, or the JSON of later programs.
    """
    if not text.lstrip().startswith("{"):
        return _read_lines(text)
    fields = _as_object(text)
    swarm = fields.get("sui_image_params")
    if isinstance(swarm, dict):
        return _read_fields("SwarmUI", swarm)
    return _read_fields("Fooocus", fields) if "base_model" in fields else None


def _read_lines(text: str) -> ForeignRecord | None:
    """The prompt, the negative prompt, and last of all a line of settings that
    begins with the steps.
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
    """Takes what all programs have out of the fields of one, and leaves the
    rest as parameters.
    """
    if not fields:
        return None
    prompt, negative, model, seed, steps, sampler, guidance = (
        fields.pop(word, None) for word in _WORDS[program]
    )
    if isinstance(model, dict):
        # InvokeAI says more of it than its name.
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
