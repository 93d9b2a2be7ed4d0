"""Prompts for Midjourney, whose parameters are words of the prompt: `a cat --ar
16:9 --seed 7`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ..._errors import InvalidRequestError
from ..._requests.catalog import JsonValue
from ..._requests.translation import Adjustment
from .._provider import Call
from .._wire.http import add_options

__all__ = ["Words", "refuse_repeats", "with_options"]

_LARGEST_SEED = 2**32 - 1
_QUALITIES = {"low": "0.5", "medium": "1", "high": "2"}
_RESERVED = (
    *("prompt", "base64Array", "image", "taskId", "customId", "action", "maskBase64"),
    *("ar", "aspect", "seed", "no", "q", "quality"),
)
# Names an image of an earlier grid.
_ORIGIN = ("task_id", "index")
_FLAG = re.compile(r"(?:^|\s)(?:--|—|–)([a-z]+)")
_SEED = re.compile(r"(?:^|\s)(?:--|—|–)seed\s+([0-9]{1,10})(?![0-9])")
_ALIASES = {
    "aspect": "ar",
    "q": "quality",
    "s": "stylize",
    "c": "chaos",
    "w": "weird",
    "v": "version",
    "r": "repeat",
}
# Names in options that are flags of the prompt; the other options are fields of
# the request.
_STYLE_FLAGS = ("stylize", "chaos", "weird", "style", "raw", "tile", "draft", "exp", "stop")
_IMAGE_FLAGS = ("iw", "sref", "sw", "cref", "cw", "oref", "ow")
_FLAGS = frozenset((*_STYLE_FLAGS, *_IMAGE_FLAGS, "version", "niji", "fast", "relax", "turbo"))


def _plain(flag: str) -> str:
    """A flag by the longer of its names."""
    return _ALIASES.get(flag, flag)


def refuse_repeats(call: Call, prompt: str) -> None:
    """Raise InvalidRequestError if one request would become several."""
    if "repeat" in {_plain(name) for name in (*_FLAG.findall(prompt), *call.request.options)}:
        raise InvalidRequestError(
            "--repeat orders several grids and gives back one of them: leave it out, and ask for"
            " more images instead."
        )


class Words:
    """A prompt with its flags. One that the caller wrote is not written again,
    which the server would refuse.
    """

    def __init__(self, call: Call, prompt: str, adjustments: tuple[Adjustment, ...] = ()) -> None:
        self.text = " ".join(prompt.split())
        self.adjustments = adjustments
        self._call = call
        self._there = {_plain(flag) for flag in _FLAG.findall(self.text)}
        refuse_repeats(call, self.text)
        self._add_all()
        told = _SEED.search(self.text)
        self.seed = None if told is None else int(told[1])

    def has(self, flag: str) -> bool:
        """Return True if the prompt holds a flag."""
        return flag in self._there

    def add(self, flag: str, value: JsonValue, *, field: str | None = None) -> None:
        """Add one flag; `field` is the parameter that it stands for."""
        if value is None or value is False:
            return
        text = "" if value is True else " ".join(str(value).split())
        if not isinstance(value, (str, int, float)) or _FLAG.search(text) or text.startswith("--"):
            raise InvalidRequestError(
                f"{field or flag} must be words or a number, without flags of its own."
            )
        if _plain(flag) not in self._there:
            self._there.add(_plain(flag))
            self.text = f"{self.text} --{flag} {text}".strip()
        elif field is not None:
            reason = f"{self._call.model.id}: the prompt says --{flag} itself"
            if self._call.request.strict:
                raise InvalidRequestError(
                    f"{field} and --{flag} in the prompt are one thing: leave one of them out."
                )
            self.adjustments += (Adjustment(field=field, asked=text, sent=None, reason=reason),)

    def body(self, fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The request that carries the prompt."""
        bot = self._call.model.wire.get("bot")
        own: dict[str, JsonValue] = {} if bot is None else {"botType": bot}
        return with_options(self._call, {"prompt": self.text, **fields, **own})

    def _add_all(self) -> None:
        request, flags = self._call.request, self._call.model.wire.get("flags")
        if request.seed is not None:
            if not 0 <= request.seed <= _LARGEST_SEED:
                raise InvalidRequestError(
                    f"A seed of Midjourney is between 0 and {_LARGEST_SEED}, not {request.seed}."
                )
            # Every request has one; the image has the one that counts.
            self.add("seed", request.seed)
        self.add("ar", request.aspect_ratio, field="aspect_ratio")
        self.add(
            "q", None if request.quality is None else _QUALITIES[request.quality], field="quality"
        )
        for flag, value in request.options.items():
            if _plain(flag) in _FLAGS:
                self.add(flag, value, field=f"options.{flag}")
        for flag, value in flags.items() if isinstance(flags, dict) else ():
            self.add(str(flag), value)
        self.add("no", request.negative_prompt, field="negative_prompt")


def with_options(call: Call, fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a request with those options that are fields of it."""
    request = call.request
    options = {
        name: value
        for name, value in request.options.items()
        if name not in _ORIGIN and _plain(name) not in _FLAGS
    }
    return add_options(
        fields, msgspec.structs.replace(request, options=options), reserved=_RESERVED
    )
