"""Readers of the records of other programs for generated images.

The existing package is not used: it takes cubic time over large graphs, raises
undocumented exceptions, and cannot read graphs without the classic sampler,
e.g. those of FLUX. These readers look at each byte once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from .comfyui import read_graph
from .foreign_record import ForeignRecord, as_number, as_text, as_whole
from .texts import texts_of

__all__ = ["read_foreign"]

_Texts = Mapping[str, str]

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
    "RuinedFooocus": (
        "Prompt",
        "Negative",
        "base_model_name",
        "seed",
        "steps",
        "sampler_name",
        "cfg",
    ),
    "Easy Diffusion": (
        "prompt",
        "negative_prompt",
        "use_stable_diffusion_model",
        "seed",
        "num_inference_steps",
        "sampler_name",
        "guidance_scale",
    ),
    "Draw Things": ("c", "uc", "model", "seed", "steps", "sampler", "scale"),
    "SwarmUI": ("prompt", "negativeprompt", "model", "seed", "steps", "sampler", "cfgscale"),
}
# Fields that only one program has, in JSON without a keyword.
_MARKS: Final = {
    "Fooocus": "base_model",
    "RuinedFooocus": "base_model_name",
    "InvokeAI": "positive_prompt",
    "Easy Diffusion": "use_stable_diffusion_model",
    "Draw Things": "c",
    "NovelAI": "uc",
}
# Beginnings of the version by which programs with the same lines differ.
_VERSIONS: Final = {
    "ComfyUI": "ComfyUI",
    "Fooocus": "Fooocus",
    "RuinedFooocus": "RuinedFooocus",
    "SD.Next": "SD.Next",
    "neo": "Forge",
    "f": "Forge",
}
# A quoted value may contain commas and colons.
_SETTING: Final = re.compile(r'([^:,"\n]{1,60}):\s{0,4}("(?:[^"\\]|\\.)*"|[^,"\n]*)')
_NEGATIVE: Final = "Negative prompt:"


def read_foreign(data: bytes) -> ForeignRecord | None:
    """Read the record of another program in an image; return None without a
    readable one.
    """
    texts = texts_of(data)
    for read in _READERS:
        try:
            found = read(texts)
        except (ValueError, RecursionError):
            # Malformed, e.g. numbers of ten thousand digits or lists a thousand
            # deep.
            continue
        if found is not None:
            return found
    return None


def _read_invokeai(texts: _Texts) -> ForeignRecord | None:
    return _read_fields("InvokeAI", _as_object(texts.get("invokeai_metadata", "")))


def _read_novelai(texts: _Texts) -> ForeignRecord | None:
    if not any("NovelAI" in texts.get(name, "") for name in ("Software", "Source", "Title")):
        return None
    fields = _as_object(texts.get("Comment", ""))
    if not fields:
        return None
    # Since version 4 the prompts are objects, and the old fields may be gone.
    prompt = fields.get("prompt") or _caption(fields.pop("v4_prompt", None))
    negative = fields.get("uc") or _caption(fields.pop("v4_negative_prompt", None))
    fields["prompt"] = prompt or texts.get("Description", "")
    fields["uc"] = negative
    found = _read_fields("NovelAI", fields)
    return found and msgspec.structs.replace(found, model=texts.get("Source"))


def _caption(prompt: object) -> str:
    """Return the caption of a prompt, and those of its characters."""
    caption = prompt.get("caption") if isinstance(prompt, dict) else None
    if not isinstance(caption, dict):
        return ""
    characters = caption.get("char_captions")
    parts = [caption.get("base_caption")]
    parts += [
        one.get("char_caption")
        for one in (characters if isinstance(characters, list) else [])
        if isinstance(one, dict)
    ]
    return " | ".join(part for part in parts if isinstance(part, str) and part)


def _read_parameters_of(texts: _Texts) -> ForeignRecord | None:
    return _read_parameters(texts.get("parameters", ""))


def _read_comfyui(texts: _Texts) -> ForeignRecord | None:
    return read_graph(_as_object(texts.get("prompt", "")))


def _read_easy_diffusion(texts: _Texts) -> ForeignRecord | None:
    """Read the fields of Easy Diffusion, which are texts of their own in a PNG."""
    names = _WORDS["Easy Diffusion"]
    known = (*names, "width", "height", "use_vae_model", "use_lora_model")
    fields: dict[str, object] = {name: texts[name] for name in known if name in texts}
    return _read_fields("Easy Diffusion", fields) if names[2] in fields else None


def _read_comment(texts: _Texts) -> ForeignRecord | None:
    """Read the text that some savers put under the keyword for comments."""
    return _read_parameters(texts.get("Comment", "") or texts.get("comment", ""))


_READERS: Final[tuple[Callable[[_Texts], ForeignRecord | None], ...]] = (
    _read_invokeai,
    _read_novelai,
    _read_parameters_of,
    _read_comfyui,
    _read_easy_diffusion,
    _read_comment,
)


def _as_object(text: str) -> dict[str, object]:
    """Parse a JSON object, otherwise return an empty one. By the standard
    library: ComfyUI writes NaN, which is not JSON.
    """
    found = json.loads(text) if text.lstrip().startswith(("{", '"{')) else {}
    if isinstance(found, str):
        # Some savers encode the text of an object once more.
        found = json.loads(found)
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
    program = next((name for name, mark in _MARKS.items() if mark in fields), None)
    return None if program is None else _read_fields(program, fields)


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
    # SD.Next names itself in a field of its own.
    version = settings.get("App") or settings.get("Version", "")
    program = next(
        (name for start, name in _VERSIONS.items() if version.startswith(start)), record.program
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
