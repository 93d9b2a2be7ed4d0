"""Style files: built-in styles, the user's styles.toml, and styles.csv of the
Stable Diffusion web UI.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from .._errors import ConfigurationError, InvalidRequestError, StorageError
from .._requests.catalog import JsonValue
from .._system.atomic_files import write_atomically
from .._system.private_files import make_private_folder
from .._system.process_locks import locked
from ._styles import PLACEHOLDER, Style, frame_prompt
from ._tables import read_table, write_table

__all__ = ["add_styles", "load_styles", "read_styles_csv", "write_styles_csv"]

STYLES_FILE = "styles.toml"
_HEADER = ("name", "prompt", "negative_prompt")


def load_styles(home: Path) -> Mapping[str, Style]:
    """Return all styles by name: the built-in ones, then those of styles.toml
    in that folder. Blocking.

    Raises:
        ConfigurationError: the file is invalid; the message names the style.
    """
    built_in = Path(__file__).with_name(STYLES_FILE)
    return {**_read_toml(built_in), **_read_toml(home / STYLES_FILE)}


def add_styles(home: Path, styles: Iterable[Style]) -> tuple[list[str], list[str]]:
    """Append styles to styles.toml in that folder; return the names of the
    added ones and of those already there.

    Existing content, including comments, is kept; existing styles are not
    written again. Blocking.

    Raises:
        ConfigurationError: the file is invalid.
        StorageError: it cannot be written; it is unchanged.
    """
    path = home / STYLES_FILE
    try:
        make_private_folder(home)
        with locked(home / f".{STYLES_FILE}.lock"):
            return _add_styles(path, styles)
    except OSError as error:
        raise StorageError(
            f"The styles cannot be written to {path}: {error.strerror or error}."
        ) from error


def _add_styles(path: Path, styles: Iterable[Style]) -> tuple[list[str], list[str]]:
    known = set(_read_toml(path))
    new, old, text = [], [], _read_text(path)
    for style in styles:
        if style.name in known:
            old.append(style.name)
            continue
        known.add(style.name)
        new.append(style.name)
        text += f"{'' if not text or text.endswith(chr(10)) else chr(10)}\n{_write_toml(style)}"
    if new:
        # An unreadable file would disable every style.
        _parse_toml(text, path)
        write_atomically(path, text.encode())
    return new, old


def read_styles_csv(path: Path) -> list[Style]:
    """Read a styles.csv: name, prompt, negative_prompt. A prompt without
    {prompt} becomes a suffix. Blocking.

    Raises:
        InvalidRequestError: the file cannot be read, or is not such a table.
    """
    styles = []
    for line, row in read_table(path, _HEADER[:2]):
        prompt = row["prompt"].strip()
        framed = PLACEHOLDER in prompt
        name, negative_prompt = row["name"].strip(), row.get("negative_prompt", "").strip()
        if not name and not prompt and not negative_prompt:
            continue
        try:
            styles.append(
                Style(
                    name=name,
                    prefix=prompt if framed else "",
                    suffix="" if framed else prompt,
                    negative_prompt=negative_prompt,
                )
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{path} is invalid in line {line}: {error}") from None
    return styles


def write_styles_csv(path: Path, styles: Iterable[Style]) -> None:
    """Write styles as a styles.csv, atomically. References and parameters,
    which the format lacks, are left out. Blocking.

    Raises:
        StorageError: the file cannot be written.
    """
    write_table(
        path, _HEADER, [(style.name, _prompt_of(style), style.negative_prompt) for style in styles]
    )


def _prompt_of(style: Style) -> str:
    return frame_prompt(PLACEHOLDER, style) if style.prefix else style.suffix


# --- TOML ---------------------------------------------------------------------


def _read_toml(path: Path) -> dict[str, Style]:
    return {
        name: _read_style(path, name, table)
        for name, table in _parse_toml(_read_text(path), path).items()
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error


def _parse_toml(text: str, path: Path) -> Mapping[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is invalid: {error}.") from error


def _read_style(path: Path, name: str, table: object) -> Style:
    try:
        if not isinstance(table, dict) or "name" in table:
            raise InvalidRequestError(
                'Expected a table, e.g. [sketchy] with prefix = "A sketch of".'
            )
        style = msgspec.convert({**table, "name": name}, Style)
    except (msgspec.ValidationError, InvalidRequestError) as error:
        reason = str(error).rstrip(".")
        raise ConfigurationError(
            f"{path} is invalid in the style {name[:100]!r}: {reason}."
        ) from error
    # References to files beside styles.toml do not depend on the working
    # directory.
    beside = (path.parent / reference for reference in style.references)
    found = tuple(
        str(file) if os.path.isfile(file) else reference
        for file, reference in zip(beside, style.references, strict=True)
    )
    return msgspec.structs.replace(style, references=found)


def _write_toml(style: Style) -> str:
    fields: dict[str, JsonValue] = msgspec.to_builtins(style)
    lines = [f"{key} = {_write_value(value)}" for key, value in fields.items() if key != "name"]
    return "\n".join([f"[{_write_value(style.name)}]", *lines, ""])


def _write_value(value: JsonValue) -> str:
    """Format a TOML value. Its strings are those of JSON, except for one
    character that JSON does not escape.
    """
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return (
            "{ "
            + ", ".join(
                f"{_write_value(key)} = {_write_value(item)}" for key, item in value.items()
            )
            + " }"
        )
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_write_value, value)) + "]"
    return msgspec.json.encode(value).decode()
