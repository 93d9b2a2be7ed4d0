"""CSV tables of prompts and styles, as spreadsheets and other tools write them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from .._errors import InvalidRequestError, StorageError
from .._system.atomic_files import write_atomically

__all__ = ["read_table", "read_text_file", "write_table"]

_MOST_BYTES = 32 << 20


def read_text_file(path: Path) -> str:
    """Read a UTF-8 file of the user, with or without a byte order mark.
    Blocking.

    Raises:
        InvalidRequestError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InvalidRequestError(f"{path} is larger than {_MOST_BYTES >> 20} MiB: split it.")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{path} is not UTF-8 text: save it as UTF-8.") from None


def read_table(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a table with a header, each with the number of its last
    line. Blocking.

    Raises:
        InvalidRequestError: it cannot be read, is not a table, or lacks a
            required column.
    """
    import csv

    reader = csv.DictReader(
        io.StringIO(read_text_file(path), newline=""), strict=True, restkey="", restval=""
    )
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        if missing := [name for name in required if name not in columns]:
            raise InvalidRequestError(
                f"{path} has no column {missing[0]!r}: its first line must name"
                f" {', '.join(required)}."
            )
        reader.fieldnames = columns
        rows = []
        for row in reader:
            if "" in row and "" not in columns:
                raise InvalidRequestError(
                    f"{path} has too many fields in line {reader.line_num}: quote them."
                )
            rows.append((reader.line_num, dict(row)))
        return rows
    except csv.Error as error:
        raise InvalidRequestError(
            f"{path} is not valid CSV after line {reader.line_num}: {error}."
        ) from error


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, atomically. Blocking.

    Raises:
        StorageError: the file cannot be written.
    """
    import csv

    if not path.name:
        raise StorageError(f"{path} cannot be written: it is a folder. Name a file in it.")
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    try:
        write_atomically(path, text.getvalue().encode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error
