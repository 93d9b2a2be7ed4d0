"""Prompts in files: a table, or a text with a prompt on each line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .._errors import InvalidRequestError
from ._prompt import Draft, Prompt, check_draft, split_tags
from ._tables import read_table, read_text_file, write_table

__all__ = ["read_prompts", "write_prompts"]

_HEADER = ("name", "prompt", "negative_prompt", "tags")


def read_prompts(path: Path) -> list[Draft]:
    """The prompts of a file, checked. Blocking.

    Raises:
        InvalidRequestError: the file cannot be read, or something in it is
            wrong; the message says where.
    """
    found = []
    for line, draft in _read_csv(path) if path.suffix.lower() == ".csv" else _read_lines(path):
        try:
            found.append(check_draft(draft))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{path} is wrong in line {line}: {error}") from None
    return found


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Writes the table that `read_prompts` reads. Blocking.

    Raises:
        StorageError: the file cannot be written; there is no half one either.
    """
    rows = [
        (prompt.name, prompt.text, prompt.negative_prompt or "", ",".join(prompt.tags))
        for prompt in prompts
    ]
    write_table(path, _HEADER, rows)


def _read_csv(path: Path) -> Iterator[tuple[int, Draft]]:
    for line, row in read_table(path, _HEADER[:2]):
        yield (
            line,
            Draft(
                name=row["name"],
                text=row["prompt"],
                negative_prompt=row.get("negative_prompt"),
                # Without a column, tags stay as they are.
                tags=split_tags(row["tags"]) if "tags" in row else None,
            ),
        )


def _read_lines(path: Path) -> Iterator[tuple[int, Draft]]:
    for line, text in enumerate(read_text_file(path).splitlines(), start=1):
        if text.strip():
            yield line, Draft(name=f"{path.stem} {line}", text=text.strip())
