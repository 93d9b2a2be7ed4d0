"""Prompts as rows: how they are written within a transaction, and how they are
read.
"""

from __future__ import annotations

import msgspec

from .._requests.catalog import JsonValue
from .._storage.database import Row, Transaction, Value
from .._storage.full_text import as_searched
from ._prompt import Draft, Prompt

__all__ = ["EVERY_VERSION", "NEWEST_VERSION", "read_prompt", "save_draft", "write_words"]

_SHOWN = (
    "SELECT prompts.name, shown.version, prompts.version, shown.text, shown.negative_prompt,"
    " shown.styles, shown.parameters, prompts.tags, prompts.notes, prompts.favourite,"
    " shown.created_at FROM prompts JOIN prompt_versions AS shown ON shown.prompt = prompts.number"
)
EVERY_VERSION = f"{_SHOWN} WHERE true"
NEWEST_VERSION = f"{_SHOWN} AND shown.version = prompts.version WHERE true"

_decode_words = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_parameters = msgspec.json.Decoder(dict[str, JsonValue]).decode


def read_prompt(row: Row) -> Prompt:
    """What such a row says."""
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
        "styles": _decode_words(str(styles)),
        "parameters": _decode_parameters(str(parameters)),
        "tags": _decode_words(str(tags)),
        "notes": notes,
        "favourite": favourite == 1,
        "created_at": created_at,
    }
    return msgspec.convert(fields, Prompt, strict=False)


def save_draft(transaction: Transaction, draft: Draft, now: float) -> tuple[Row, bool]:
    """Keeps a prompt, and gives its row and whether that is a new version."""
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
    """What a prompt is found by, after it has changed."""
    rows = transaction.run(
        f"SELECT name, text, tags, notes FROM ({NEWEST_VERSION} AND prompts.number = ?)", (number,)
    )
    for name, text, tags, notes in rows:
        words = (str(name), str(text), " ".join(_decode_words(str(tags))), str(notes))
        transaction.change(
            "REPLACE INTO prompt_search (rowid, name, text, tags, notes) VALUES (?, ?, ?, ?, ?)",
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
