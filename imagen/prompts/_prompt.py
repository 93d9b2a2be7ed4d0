"""A prompt that is kept, and what is checked before it is."""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Mapping

import msgspec

from .._errors import InvalidRequestError
from .._requests.catalog import JsonValue
from .._requests.tags import check_text, clean_tag
from ._styles import Style, check_parameters
from ._variables import MOST_CHARACTERS

__all__ = ["Draft", "Prompt", "PromptsImported", "check_draft", "clean_name", "split_tags"]

_LONGEST_NAME = 100


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that is kept. `version` is the one that this is, of `versions`,
    and `created_at` when that was saved.
    """

    name: str
    version: int
    versions: int
    text: str
    negative_prompt: str | None = None
    styles: tuple[str, ...] = ()
    parameters: Mapping[str, JsonValue] = {}
    tags: tuple[str, ...] = ()
    notes: str = ""
    favourite: bool = False
    created_at: datetime.datetime

    def as_style(self) -> Style:
        """What goes with the text: `apply_styles` puts it onto a request,
        together with the styles that it names.
        """
        return Style(
            name=self.name, negative_prompt=self.negative_prompt or "", parameters=self.parameters
        )


class PromptsImported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the prompts of a file."""

    added: int
    changed: int
    unchanged: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that is to be kept; tags, notes, styles and parameters that are
    None stay as they are.
    """

    name: str
    text: str
    negative_prompt: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    styles: tuple[str, ...] | None = None
    parameters: Mapping[str, JsonValue] | None = None


def check_draft(draft: Draft) -> Draft:
    """The draft as it will be kept.

    Raises:
        InvalidRequestError: something in it is wrong.
    """
    if not draft.text.strip():
        raise InvalidRequestError(
            f"The prompt {draft.name[:_LONGEST_NAME]!r} is empty: give it a text."
        )
    check_parameters(draft.parameters or {})
    for style in draft.styles or ():
        Style(name=style)
    return msgspec.structs.replace(
        draft,
        name=clean_name(draft.name),
        text=_clean_text(draft.text, "A prompt"),
        negative_prompt=(
            _clean_text(draft.negative_prompt, "A negative prompt")
            if draft.negative_prompt
            else None
        ),
        tags=None if draft.tags is None else tuple(sorted(set(map(clean_tag, draft.tags)))),
        notes=None if draft.notes is None else check_text(draft.notes, "A note"),
    )


def clean_name(name: str) -> str:
    """A name as it is kept.

    Raises:
        InvalidRequestError: it is empty, too long, or holds what cannot be
            seen.
    """
    clean = " ".join(unicodedata.normalize("NFC", name).split())
    if not clean or len(clean) > _LONGEST_NAME or not clean.isprintable():
        raise InvalidRequestError(
            f"A prompt's name is 1 to {_LONGEST_NAME} letters that can be seen, not"
            f" {clean[:_LONGEST_NAME]!r}."
        )
    return clean


def split_tags(text: str) -> tuple[str, ...]:
    """Tags as they stand in a table: with commas between them."""
    return tuple(tag for tag in text.split(",") if tag.strip())


def _clean_text(text: str, what: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"{what} may be {MOST_CHARACTERS:,} letters long, not {len(text):,}."
        )
    if "\0" in text:
        raise InvalidRequestError(f"{what} holds the letter NUL, which is no text: take it out.")
    return check_text(text, what)
