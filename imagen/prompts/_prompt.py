"""Saved prompts: their values, validation and database rows."""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Mapping

import msgspec

from .._errors import InvalidRequestError
from .._requests.catalog import JsonValue
from .._requests.tags import check_text, clean_tag
from .._storage.database import Row, Transaction, Value
from .._storage.full_text import as_searched
from ._styles import Style, check_parameters
from ._template_syntax import MOST_CHARACTERS

__all__ = [
    "Draft",
    "EVERY_VERSION",
    "NEWEST_VERSION",
    "Prompt",
    "PromptsImported",
    "check_draft",
    "clean_name",
    "read_prompt",
    "save_draft",
    "split_tags",
    "write_words",
]

_LONGEST_NAME = 100


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A saved prompt.

    `version` is this version, `versions` their number, and `created_at` the
    time this version was saved.
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
        """Return the rest of the prompt as a style: `apply_styles` adds it to a
        request, together with the styles that the prompt names.
        """
        return Style(
            name=self.name, negative_prompt=self.negative_prompt or "", parameters=self.parameters
        )


class PromptsImported(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of an import."""

    added: int
    changed: int
    unchanged: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt to save; None keeps the current tags, notes, styles or
    parameters.
    """

    name: str
    text: str
    negative_prompt: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    styles: tuple[str, ...] | None = None
    parameters: Mapping[str, JsonValue] | None = None


def check_draft(draft: Draft) -> Draft:
    """Validate and normalize a draft.

    Raises:
        InvalidRequestError: a field is invalid.
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
    """Normalize a name.

    Raises:
        InvalidRequestError: it is empty, too long, or has unprintable
            characters.
    """
    clean = " ".join(unicodedata.normalize("NFC", name).split())
    if not clean or len(clean) > _LONGEST_NAME or not clean.isprintable():
        raise InvalidRequestError(
            f"Invalid prompt name {clean[:_LONGEST_NAME]!r}: expected 1 to {_LONGEST_NAME}"
            " printable characters."
        )
    return clean


def split_tags(text: str) -> tuple[str, ...]:
    """Split comma-separated tags of a table."""
    return tuple(tag for tag in text.split(",") if tag.strip())


def _clean_text(text: str, what: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"{what} may have at most {MOST_CHARACTERS:,} characters, not {len(text):,}."
        )
    if "\0" in text:
        raise InvalidRequestError(f"{what} contains the character NUL: remove it.")
    return check_text(text, what)


# --- rows ---------------------------------------------------------------------

_SHOWN = (
    "SELECT prompts.name, shown.version, prompts.version, shown.text, shown.negative_prompt,"
    " shown.styles, shown.parameters, prompts.tags, prompts.notes, prompts.favourite,"
    " shown.created_at FROM prompts JOIN prompt_versions AS shown ON shown.prompt = prompts.number"
)
EVERY_VERSION = f"{_SHOWN} WHERE true"
NEWEST_VERSION = f"{_SHOWN} AND shown.version = prompts.version WHERE true"

_decode_list = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_parameters = msgspec.json.Decoder(dict[str, JsonValue]).decode


def read_prompt(row: Row) -> Prompt:
    """Convert a row to a prompt."""
    (
        name,
        version,
        versions,
        text,
        negative_prompt,
        styles,
        parameters,
        tags,
        notes,
        favourite,
        created_at,
    ) = row
    fields = {
        "name": name,
        "version": version,
        "versions": versions,
        "text": text,
        "negative_prompt": negative_prompt,
        "styles": _decode_list(str(styles)),
        "parameters": _decode_parameters(str(parameters)),
        "tags": _decode_list(str(tags)),
        "notes": notes,
        "favourite": favourite == 1,
        "created_at": created_at,
    }
    return msgspec.convert(fields, Prompt, strict=False)


def save_draft(transaction: Transaction, draft: Draft, now: float) -> tuple[Row, bool]:
    """Save a prompt, and return its row and whether this is a new version."""
    known = transaction.run(f"{NEWEST_VERSION} AND prompts.name = ?", (draft.name,))
    before = known[0][3:7] if known else (None, None, "[]", "{}")
    styles = before[2] if draft.styles is None else _encode(draft.styles)
    parameters = before[3] if draft.parameters is None else _encode(draft.parameters)
    sent = (draft.text, draft.negative_prompt, styles, parameters)
    is_new = sent != tuple(before)
    if not known:
        transaction.change(
            "INSERT INTO prompts (name, version, created_at) VALUES (?, 0, ?)", (draft.name, now)
        )
    ((number, version),) = transaction.run(
        "SELECT number, version FROM prompts WHERE name = ?", (draft.name,)
    )
    if is_new:
        assert isinstance(version, int)
        _add_version(transaction, number, version + 1, sent, now)
    if draft.tags is not None:
        _write_tags(transaction, number, draft.tags)
    if draft.notes is not None:
        transaction.change("UPDATE prompts SET notes = ? WHERE number = ?", (draft.notes, number))
    write_words(transaction, number)
    return transaction.run(f"{NEWEST_VERSION} AND prompts.number = ?", (number,))[0], is_new


def write_words(transaction: Transaction, number: Value) -> None:
    """Update the full-text index after a prompt has changed."""
    rows = transaction.run(
        f"SELECT name, text, tags, notes FROM ({NEWEST_VERSION} AND prompts.number = ?) AS newest",
        (number,),
    )
    for name, text, tags, notes in rows:
        words = (str(name), str(text), " ".join(_decode_list(str(tags))), str(notes))
        transaction.change("DELETE FROM prompt_search WHERE rowid = ?", (number,))
        transaction.change(
            "INSERT INTO prompt_search (rowid, name, text, tags, notes) VALUES (?, ?, ?, ?, ?)",
            (number, *map(as_searched, words)),
        )


def _add_version(
    transaction: Transaction, number: Value, version: int, sent: Row, now: float
) -> None:
    transaction.change(
        "INSERT INTO prompt_versions (prompt, version, text, negative_prompt, styles, parameters,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, version, *sent, now),
    )
    transaction.change("UPDATE prompts SET version = ? WHERE number = ?", (version, number))


def _write_tags(transaction: Transaction, number: Value, tags: tuple[str, ...]) -> None:
    transaction.change("UPDATE prompts SET tags = ? WHERE number = ?", (_encode(tags), number))
    transaction.change("DELETE FROM prompt_tags WHERE prompt = ?", (number,))
    for tag in tags:
        transaction.change("INSERT INTO prompt_tags (tag, prompt) VALUES (?, ?)", (tag, number))


def _encode(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
