"""The prompts that somebody keeps, by name: versions that never change, tags,
notes, favourites, words to find them by.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from .._errors import InvalidRequestError
from .._requests.catalog import JsonValue
from .._requests.tags import clean_tag
from .._storage.database import Database, Transaction, Value
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
_MOST_VERSIONS = 2**63 - 1  # a whole number of SQLite's
_CLOSE_SECONDS = 5.0


@asynccontextmanager
async def open_prompts(
    home: Path, *, workers: Workers | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[PromptLibrary]:
    """Opens the prompts of a home by themselves, where no image is to be made.
    A client has them as `prompts`.

    Raises:
        StorageError: the folder cannot be used.
    """
    workers = ThreadWorkers() if workers is None else workers
    database = await Database.open(home / "imagen.sqlite3", workers)
    try:
        yield PromptLibrary(database, workers, clock)
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await database.aclose()


class PromptLibrary:
    """Prompts by name. What several processes save of one name at once are
    several versions, and none is lost.
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
        """Keeps a prompt, as a new version where the name is there already and
        this one differs.

        Args:
            name: 1 to 100 letters that can be seen.
            text: The prompt, or the text of a template.
            tags: None leaves them as they are, and so it is with `notes`.
            styles: The names of styles that go with it.
            parameters: Fields of a request that go with it, such as
                `aspect_ratio`.

        Raises:
            InvalidRequestError: the name, a tag or a parameter is none.
        """
        if isinstance(tags, str) or isinstance(styles, str):
            raise InvalidRequestError('Tags and styles are lists, also of one: tags=["sea"].')
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
        """The prompt of that name, in its newest version or in that one; None
        where there is none.
        """
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
        """All versions of a prompt, the newest first."""
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
        """The prompts in the order of their names, at most `limit`, each in its
        newest version.

        Args:
            query: Words that must stand in the name, text, tags or notes: "a
                phrase", -without, begin*.
            after: The name of the last one of the page before.

        Raises:
            InvalidRequestError: the query has no word to look for, or the limit
                is none.
        """
        if not 0 < limit <= _MOST_LISTED:
            raise InvalidRequestError(f"limit must be between 1 and {_MOST_LISTED:,}, not {limit}.")
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
        """Marks a prompt as a favourite, or takes the mark away; False where
        there is no such prompt.
        """
        changed = await self._change(
            "UPDATE prompts SET favourite = ? WHERE name = ?", int(favourite), clean_name(name)
        )
        return changed > 0

    async def rename(self, name: str, new_name: str) -> bool:
        """Gives a prompt another name, with all its versions; False where there
        is no such prompt.

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
                f"There is a prompt {new!r} already: choose another name, or delete that one first."
            )
        return changed > 0

    async def delete(self, name: str, *, all_versions: bool = False) -> bool:
        """Removes a prompt; one that has several versions goes with
        `all_versions` only. False where there is none.

        Raises:
            InvalidRequestError: it has several versions, and `all_versions` was
                not said.
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
                f"The prompt {wanted!r} has {versions} versions: to delete them all, say"
                " all_versions."
            )
        return versions > 0

    async def import_file(self, path: Path) -> PromptsImported:
        """Keeps the prompts of a file: all of them, or none where one is wrong.

        A .csv has the columns name and prompt, and may have negative_prompt and
        tags. Any other file has a prompt on each line, which is named after the
        file and the line: "ideas 12". What is there already gets a new version
        where it differs.

        Raises:
            InvalidRequestError: the file cannot be read, or something in it is
                wrong; the message says where.
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
        """Writes all prompts in their newest versions as a .csv that
        `import_file` reads, and gives how many they are.

        Raises:
            StorageError: the file cannot be written; there is no half one
                either.
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


def _write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Writes the table that `_read_prompts` reads. Blocking.

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
