"""Rows of CSV and JSON Lines files, as spreadsheets and programs write them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .._errors import InvalidRequestError, StorageError
from .._system.texts_of_users import user_path

__all__ = ["Row", "read_rows", "read_table"]

_JSON_SUFFIXES = (".jsonl", ".ndjson")
_SEPARATORS = (",", ";", "\t", "|")
# In countries with a decimal comma.
_SEPARATORS_BESIDE_COMMAS = (";", "\t")
# Not in any text: a table of one column has no separator.
_NONE = "\x1f"
_BOM_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOK = b"PK\x03\x04"


class Row(NamedTuple):
    """Values of one row by column, and its place in the table for messages."""

    place: str
    values: Mapping[str, object]
    has_decimal_comma: bool = False


def read_table(path: str | os.PathLike[str]) -> tuple[bytes, bool]:
    """Return the bytes of a file, and whether its name says JSON. Blocking.

    Raises:
        StorageError: the file cannot be read.
    """
    place = user_path(Path(path))
    try:
        return place.read_bytes(), place.suffix.lower() in _JSON_SUFFIXES
    except OSError as error:
        raise StorageError(
            f"The table {place} cannot be read: {error.strerror or error}."
        ) from error


def read_rows(data: bytes, known: Collection[str], *, is_json: bool = False) -> Iterator[Row]:
    """Yield the rows of a CSV file, whose header has a column of `known`, or of
    JSON Lines.

    Raises:
        InvalidRequestError: it is neither; the message names the line.
    """
    text = _decode(data)
    if is_json or text.lstrip().startswith("{"):
        return _json_rows(text)
    return _csv_rows(text, known)


def _decode(data: bytes) -> str:
    if data.startswith(_WORKBOOK):
        raise InvalidRequestError(
            "The table is a workbook or a zip file: save it as CSV (UTF-8), and give that."
        )
    encoding = "utf-16" if data.startswith(_BOM_UTF16) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequestError(
            f"Line {line} of the table is not UTF-8: save it as CSV (UTF-8)."
        ) from error


def _json_rows(text: str) -> Iterator[Row]:
    # Only a line feed ends a line: JSON may hold the others as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(
                f"Line {number} of the table is not JSON: {error}. Expected one object a line."
            ) from error
        if not isinstance(values, dict):
            raise InvalidRequestError(
                f"Line {number} of the table is no object: expected one such as"
                ' {"prompt": "a red fox"} a line.'
            )
        yield Row(f"line {number}", values)


def _csv_rows(text: str, known: Collection[str]) -> Iterator[Row]:
    separator = _find_separator(text, known)
    header: list[str] | None = None
    for line, cells in _csv_lines(text, separator):
        if header is None:
            header = _read_header(cells)
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            raise InvalidRequestError(
                f"Line {line} of the table has {len(cells)} cells, and its header {len(header)}:"
                " put a cell that holds the separator into quotes."
            )
        named = zip(header, cells, strict=False)
        values = {name: cell for name, cell in named if name or cell.strip()}
        yield Row(f"line {line}", values, separator in _SEPARATORS_BESIDE_COMMAS)


def _csv_lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that is not empty, with the number of its first line in
    the file.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not _is_hint(line, cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequestError(
            f"Line {line} of the table is not CSV: {error}. A cell with quotes is written"
            ' "like ""this""".'
        ) from error


def _is_hint(line: int, cells: list[str]) -> bool:
    """Return True for the line `sep=;`, by which Excel knows the separator."""
    return line == 1 and cells[0].strip().lower().startswith("sep=")


def _read_header(cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    while header and not header[-1]:
        header.pop()
    return header


def _find_separator(text: str, known: Collection[str]) -> str:
    """Return the separator that finds most known names in the header."""
    lines = (line for line in text.splitlines() if line.strip() and not _is_hint(1, [line]))
    header = next(lines, "")
    counts = {
        separator: sum(cell.strip(' "').lower() in known for cell in header.split(separator))
        for separator in _SEPARATORS
    }
    best = max(counts, key=lambda separator: (counts[separator], header.count(separator)))
    return best if best in header else _NONE
