"""Library of saved prompts by name: immutable versions, tags, notes, favourites
and full-text search.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from .._errors import InvalidRequestError
from .._policy.settings import Settings
from .._requests.catalog import JsonValue
from .._requests.tags import clean_tag
from .._storage.database import DATABASE_NAME, Database, Transaction, Value
from .._storage.engines import open_database
from .._storage.full_text import match_words
from .._system.threads import ThreadWorkers, Workers
from ._prompt import (
    EVERY_VERSION,
    NEWEST_VERSION,
    Draft,
    Prompt,
    PromptsImported,
    check_draft,
    clean_name,
    read_prompt,
    save_draft,
    split_tags,
    write_words,
)
from ._tables import read_table, read_text_file, write_table

__all__ = ["PromptLibrary", "open_prompts"]

_PAGE = 500
_MOST_LISTED = 100_000
_MOST_VERSIONS = 2**63 - 1  # largest integer of SQLite
_CLOSE_SECONDS = 5.0


@asynccontextmanager
async def open_prompts(
    home: Path | Settings,
    *,
    workers: Workers | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[PromptLibrary]:
    """Open the prompts of a home without a client. A client has them as
    `prompts`.

    Args:
        home: Settings lead to the PostgreSQL database too, if they name one; a
            folder is only that of a SQLite file.

    Raises:
        StorageError: the folder or the database cannot be used.
    """
    workers = ThreadWorkers() if workers is None else workers
    database = await _open_database(home, workers)
    try:
        yield PromptLibrary(database, workers, clock)
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await database.aclose()


async def _open_database(home: Path | Settings, workers: Workers) -> Database:
    if isinstance(home, Path):
        return await Database.open(home / DATABASE_NAME, workers)
    return await open_database(
        home.home / DATABASE_NAME, home.database_url, workers, home.database_schema
    )


class PromptLibrary:
    """Saved prompts by name. Concurrent saves of one name, also by several
    processes, become several versions.
    """

    def __init__(self, database: Database, workers: Workers, now: Callable[[], float]) -> None:
        self._database = database
        self._workers = workers
        self._now = now

    async def save(
        self,
        name: str,
        text: str,
        *,
        negative_prompt: str | None = None,
        tags: Iterable[str] | None = None,
        notes: str | None = None,
        styles: Iterable[str] = (),
        parameters: Mapping[str, JsonValue] | None = None,
    ) -> Prompt:
        """Save a prompt; if the name exists and the prompt differs, as a new
        version.

        Args:
            name: 1 to 100 printable characters.
            text: The prompt, or the text of a template.
            tags: None keeps the current ones; likewise for `notes`.
            styles: Names of the styles of the prompt.
            parameters: Fields of its requests, e.g. `aspect_ratio`.

        Raises:
            InvalidRequestError: the name, a tag or a parameter is invalid.
        """
        if isinstance(tags, str) or isinstance(styles, str):
            raise InvalidRequestError(
                'Invalid tags or styles: expected a list, even of one: tags=["sea"].'
            )
        draft = check_draft(
            Draft(
                name=name,
                text=text,
                negative_prompt=negative_prompt,
                tags=None if tags is None else tuple(tags),
                notes=notes,
                styles=tuple(styles),
                parameters=dict(parameters or {}),
            )
        )
        row, _ = await self._database.transact(partial(save_draft, draft=draft, now=self._now()))
        return read_prompt(row)

    async def get(self, name: str, version: int | None = None) -> Prompt | None:
        """Return the newest or the given version of a prompt; None if unknown."""
        wanted = clean_name(name)
        if version is not None and not 0 < version <= _MOST_VERSIONS:
            return None
        if version is None:
            rows = await self._database.read(f"{NEWEST_VERSION} AND prompts.name = ?", (wanted,))
        else:
            rows = await self._database.read(
                f"{EVERY_VERSION} AND prompts.name = ? AND shown.version = ?", (wanted, version)
            )
        return read_prompt(rows[0]) if rows else None

    async def history(self, name: str) -> Sequence[Prompt]:
        """Return all versions of a prompt, the newest first."""
        rows = await self._database.read(
            f"{EVERY_VERSION} AND prompts.name = ? ORDER BY shown.version DESC", (clean_name(name),)
        )
        return [read_prompt(row) for row in rows]

    async def list(
        self,
        query: str = "",
        *,
        tag: str | None = None,
        favourites: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Prompt]:
        """Return at most `limit` prompts by name, each in its newest version.

        Args:
            query: Words that must occur in the name, text, tags or notes: "a
                phrase", -without, begin*.
            after: The last name of the previous page.

        Raises:
            InvalidRequestError: the query has no word to search for, or the
                limit is out of range.
        """
        if not 0 < limit <= _MOST_LISTED:
            raise InvalidRequestError(f"Invalid limit {limit}: expected 1 to {_MOST_LISTED:,}.")
        wanted, values = [NEWEST_VERSION, "prompts.name > ?"], [clean_name(after) if after else ""]
        if query.strip():
            wanted.append(
                "prompts.number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)"
            )
            values.append(match_words(query))
        if tag is not None:
            wanted.append("prompts.number IN (SELECT prompt FROM prompt_tags WHERE tag = ?)")
            values.append(clean_tag(tag))
        if favourites:
            wanted.append("prompts.favourite = 1")
        rows = await self._database.read(
            f"{' AND '.join(wanted)} ORDER BY prompts.name LIMIT ?", (*values, limit)
        )
        return [read_prompt(row) for row in rows]

    async def favour(self, name: str, favourite: bool = True) -> bool:
        """Mark or unmark a prompt as favourite; return False if it is unknown."""
        changed = await self._change(
            "UPDATE prompts SET favourite = ? WHERE name = ?", int(favourite), clean_name(name)
        )
        return changed > 0

    async def rename(self, name: str, new_name: str) -> bool:
        """Rename a prompt with all its versions; return False if it is unknown.

        Raises:
            InvalidRequestError: another prompt has that name.
        """
        old, new = clean_name(name), clean_name(new_name)

        def rename(transaction: Transaction) -> int | None:
            if old != new and transaction.run("SELECT 1 FROM prompts WHERE name = ?", (new,)):
                return None
            found = transaction.run(
                "UPDATE prompts SET name = ? WHERE name = ? RETURNING number", (new, old)
            )
            for (number,) in found:
                write_words(transaction, number)
            return len(found)

        changed = await self._database.transact(rename)
        if changed is None:
            raise InvalidRequestError(
                f"The prompt {new!r} already exists: choose another name, or delete it first."
            )
        return changed > 0

    async def delete(self, name: str, *, all_versions: bool = False) -> bool:
        """Delete a prompt; return False if it is unknown. Several versions need
        `all_versions`.

        Raises:
            InvalidRequestError: it has several versions, and `all_versions` is
                not set.
        """
        wanted = clean_name(name)

        def delete(transaction: Transaction) -> int:
            for number, version in transaction.run(
                "SELECT number, version FROM prompts WHERE name = ?", (wanted,)
            ):
                assert isinstance(version, int)
                if version == 1 or all_versions:
                    transaction.change("DELETE FROM prompts WHERE number = ?", (number,))
                    transaction.change("DELETE FROM prompt_search WHERE rowid = ?", (number,))
                return version
            return 0

        versions = await self._database.transact(delete)
        if versions > 1 and not all_versions:
            raise InvalidRequestError(
                f"The prompt {wanted!r} has {versions} versions: set all_versions to delete them"
                " all."
            )
        return versions > 0

    async def import_file(self, path: Path) -> PromptsImported:
        """Save the prompts of a file: all, or none if one is invalid.

        A .csv has the columns name and prompt, and optionally negative_prompt
        and tags. Any other file has a prompt per line, named after file and
        line: "ideas 12". An existing prompt that differs gets a new version.

        Raises:
            InvalidRequestError: the file cannot be read, or is invalid; the
                message gives the line.
        """
        drafts = await self._workers.run(partial(_read_prompts, path))

        def save(transaction: Transaction) -> PromptsImported:
            saved = [save_draft(transaction, draft, now) for draft in drafts]
            new = [row[1] for row, is_new in saved if is_new]
            return PromptsImported(
                added=new.count(1), changed=len(new) - new.count(1), unchanged=len(saved) - len(new)
            )

        now = self._now()
        return await self._database.transact(save)

    async def export_csv(self, path: Path) -> int:
        """Write the newest versions of all prompts as a .csv for `import_file`,
        and return their number.

        Raises:
            StorageError: the file cannot be written; it is atomic.
        """
        prompts: list[Prompt] = []
        while page := await self.list(limit=_PAGE, after=prompts[-1].name if prompts else None):
            prompts += page
        await self._workers.run(partial(_write_prompts, path, prompts))
        return len(prompts)

    async def _change(self, sql: str, *values: Value) -> int:
        return await self._database.transact(lambda transaction: transaction.change(sql, values))


# --- files --------------------------------------------------------------------

_HEADER = ("name", "prompt", "negative_prompt", "tags")


def _read_prompts(path: Path) -> list[Draft]:
    """Read and validate the prompts of a file. Blocking.

    Raises:
        InvalidRequestError: the file cannot be read, or is invalid; the message
            gives the line.
    """
    found = []
    for line, draft in _read_csv(path) if path.suffix.lower() == ".csv" else _read_lines(path):
        try:
            found.append(check_draft(draft))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{path} is invalid in line {line}: {error}") from None
    return found


def _write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write the table that `_read_prompts` reads, atomically. Blocking.

    Raises:
        StorageError: the file cannot be written.
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
                # Without the column, tags are kept.
                tags=split_tags(row["tags"]) if "tags" in row else None,
            ),
        )


def _read_lines(path: Path) -> Iterator[tuple[int, Draft]]:
    for line, text in enumerate(read_text_file(path).splitlines(), start=1):
        if text.strip():
            yield line, Draft(name=f"{path.stem} {line}", text=text.strip())
