"""Requests from tables: a row each, a field of `Generate` a column."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Unpack

import msgspec

from .._errors import ConfigurationError, InvalidRequestError
from .options import GenerateFields
from .request import Generate, check_request
from .table_files import Row, read_rows, read_table

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame, IntoLazyFrame

__all__ = ["requests_from"]

_COUNT = "n"
_MOST_OF_A_ROW = 1000
_TYPES: Mapping[str, object] = {
    field.name: field.type for field in msgspec.structs.fields(Generate)
}
_COLUMNS = (*_TYPES, _COUNT)
_SHAPES = ("size", "aspect_ratio", "resolution")
_EXPECTED = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (Decimal, "an amount of US dollars such as 0.05"),
)
_WORDS = {"yes": True, "no": False}
# Of pandas: what is missing, and neither equals itself nor differs.
_MISSING = ("NAType", "NaTType")


def requests_from(
    table: (
        IntoDataFrame | IntoLazyFrame | Iterable[Mapping[str, object]] | os.PathLike[str] | bytes
    ),
    *,
    n: int = 1,
    **defaults: Unpack[GenerateFields],
) -> list[Generate]:
    """Return the requests of a table, one for each row, for `open_batch` and
    `quote`. Blocking if it is a path.

    A column is a field of `Generate`: `prompt`, `model`, `size`, `seed`, ...
    Its name counts without case, and a blank may stand for an underscore. An
    empty cell, None or NaN leaves the field to `defaults`. The column `n` is
    the number of images of its row.

    Args:
        table: A data frame of pandas, polars or pyarrow (extra `frames`); the
            path or the bytes of a CSV or JSON Lines file; or mappings. A
            separator is a comma, a semicolon, a tab or a bar.
        n: Images of a row that names no number.

    Raises:
        InvalidRequestError: an unknown column, a wrong cell, or no row; the
            message names both.
        StorageError: the file cannot be read.
        ConfigurationError: narwhals, which reads data frames, is missing.
    """
    made: list[Generate] = []
    for row in _rows(table):
        request, count = _read_row(row, n, defaults)
        made += [request] * count
    if not made:
        raise InvalidRequestError("The table has no row: expected one for each prompt.")
    return made


def _rows(table: object) -> Iterator[Row]:
    if isinstance(table, os.PathLike):
        data, is_json = read_table(table)
        return read_rows(data, _COLUMNS, is_json=is_json)
    if isinstance(table, bytes):
        return read_rows(table, _COLUMNS)
    if isinstance(table, (str, Mapping)):
        raise InvalidRequestError(
            "A table is a data frame, mappings, or a pathlib.Path of a CSV or JSON Lines file, not"
            f" a {type(table).__name__}."
        )
    if isinstance(table, (Sequence, Iterator)):
        return _mapping_rows(table)
    return _frame_rows(table)


def _mapping_rows(rows: Iterable[object]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(
                f"Row {number} of the table is a {type(row).__name__}: expected a mapping such as"
                ' {"prompt": "a red fox"}.'
            )
        yield Row(f"row {number}", row)


def _frame_rows(table: object) -> Iterator[Row]:
    try:
        import narwhals
    except ImportError as error:
        raise ConfigurationError(
            'Data frames need narwhals: pip install "imagen-trio[frames]".'
        ) from error
    try:
        frame = narwhals.from_native(table)  # type: ignore[call-overload]
    except TypeError as error:
        raise InvalidRequestError(
            f"A {type(table).__name__} is no table: expected a data frame, mappings, or a path."
        ) from error
    if isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    for number, values in enumerate(frame.iter_rows(named=True), 1):
        yield Row(f"row {number}", values)


def _read_row(row: Row, n: int, defaults: GenerateFields) -> tuple[Generate, int]:
    fields: dict[str, object] = {}
    for column, value in row.values.items():
        name = _name_of(column)
        if name in fields:
            raise InvalidRequestError(f"The table has two columns {name!r}: remove one.")
        fields[name] = None if _is_missing(value) else _convert(row, name, value)
    given = {name: value for name, value in fields.items() if value is not None}
    count = given.pop(_COUNT, n)
    assert isinstance(count, int)
    if not given.get("prompt"):
        raise InvalidRequestError(f"{row.place.capitalize()} of the table has no prompt.")
    fields = {**_defaults_for(given, defaults), **given}
    request = msgspec.structs.replace(Generate(), **fields)
    try:
        check_request(request)
    except InvalidRequestError as error:
        raise _in_place(row, error.message) from error
    return request, count


def _name_of(column: object) -> str:
    name = "_".join(str(column).strip().lower().replace("-", " ").replace("_", " ").split())
    if name in _COLUMNS:
        return name
    nearest = difflib.get_close_matches(name, _COLUMNS, n=1, cutoff=0)[0]
    raise InvalidRequestError(
        f"Unknown column {str(column)[:100]!r} of the table: the nearest one is {nearest!r}."
        " Rename it, or remove it."
    )


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or type(value).__name__ in _MISSING or _is_nan(value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value


def _defaults_for(given: Mapping[str, object], defaults: GenerateFields) -> Mapping[str, object]:
    """Return the defaults of a row: without a shape, if it has one of its own."""
    if any(name in given for name in _SHAPES):
        return {name: value for name, value in defaults.items() if name not in _SHAPES}
    return defaults


def _convert(row: Row, name: str, value: object) -> object:
    if name == _COUNT:
        return _read_count(row, value)
    if isinstance(value, str) and name != "prompt":
        value = value.strip()
    wanted = _TYPES[name]
    try:
        return msgspec.convert(_prepare(row, name, value), wanted, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise _in_place(row, _complaint(name, value)) from error


def _read_count(row: Row, value: object) -> int:
    try:
        count = msgspec.convert(_native(value), int, strict=False)
    except msgspec.ValidationError:
        count = 0
    if not 1 <= count <= _MOST_OF_A_ROW:
        raise _in_place(row, f"n is a whole number from 1 to {_MOST_OF_A_ROW}, not {value!r}.")
    return count


def _prepare(row: Row, name: str, value: object) -> object:
    """Return the value as msgspec reads it."""
    wanted = str(_TYPES[name])
    value = _native(value)
    if name == "options" and isinstance(value, str):
        return json.loads(value)
    if name == "references":
        return _images(value)
    if "bool" in wanted and isinstance(value, str):
        return _WORDS.get(value.lower(), value)
    if "str" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if row.has_decimal_comma and isinstance(value, str) and ("float" in wanted or "Dec" in wanted):
        return value.replace(",", ".")
    return value


def _native(value: object) -> object:
    """Return a number of numpy as one of Python."""
    item = getattr(value, "item", None)
    return value if item is None else item()


def _images(value: object) -> object:
    """Return a cell of images: a JSON list, or one a line."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return json.loads(value)
    return [line.strip() for line in value.splitlines() if line.strip()]


def _complaint(name: str, value: object) -> str:
    shown = repr(value)[:100]
    if name == "options":
        return f"options is a JSON object, not {shown}."
    if name == "safety":
        return f"safety is strict, standard or relaxed, not {shown}."
    wanted = str(_TYPES[name])
    words = next((words for kind, words in _EXPECTED if kind.__name__ in wanted), "text")
    return f"{name} is {words}, not {shown}."


def _in_place(row: Row, message: str) -> InvalidRequestError:
    return InvalidRequestError(f"{row.place.capitalize()} of the table: {message}")
