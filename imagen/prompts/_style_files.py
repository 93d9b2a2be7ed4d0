"""Styles in files: those that come with imagen, the user's styles.toml, and
styles.csv of the Stable Diffusion web UI.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from .._errors import ConfigurationError, InvalidRequestError, StorageError
from .._requests.catalog import JsonValue
from .._system.atomic_files import write_atomically
from .._system.process_locks import locked
from ._styles import PLACEHOLDER, Style, frame_prompt
from ._tables import read_table, write_table

__all__ = ["add_styles", "load_styles", "read_styles_csv", "write_styles_csv"]

STYLES_FILE = "styles.toml"
_HEADER = ("name", "prompt", "negative_prompt")


def load_styles(home: Path) -> Mapping[str, Style]:
    """All styles by name: those that come with imagen, and then those of
    styles.toml in that folder. Blocking.

    Raises:
        ConfigurationError: that file is wrong; the message names the style.
    """
    own = Path(__file__).with_name(STYLES_FILE)
    return {**_read_toml(own), **_read_toml(home / STYLES_FILE)}


def add_styles(home: Path, styles: Iterable[Style]) -> tuple[list[str], list[str]]:
    """Writes styles at the end of styles.toml in that folder, and gives the
    names of the new ones and of those that were there.

    What stands in the file stays as it is, with its comments; a style that it
    has already is not written again. Blocking.

    Raises:
        ConfigurationError: that file is wrong.
        StorageError: it cannot be written; it is as it was.
    """
    path = home / STYLES_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
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
        # A file that could not be read again would take every style with it.
        _parse_toml(text, path)
        write_atomically(path, text.encode())
    return new, old


def read_styles_csv(path: Path) -> list[Style]:
    """The styles of a styles.csv: name, prompt, negative_prompt. A prompt
    without {prompt} is put behind it. Blocking.

    Raises:
        InvalidRequestError: the file cannot be read, or is no such table.
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
            raise InvalidRequestError(f"{path} is wrong in line {line}: {error}") from None
    return styles


def write_styles_csv(path: Path, styles: Iterable[Style]) -> None:
    """Writes styles as a styles.csv; what such a file cannot say, references
    and parameters, is left out. Blocking.

    Raises:
        StorageError: the file cannot be written; there is no half one either.
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
        raise ConfigurationError(f"{path} is wrong: {error}.") from error


def _read_style(path: Path, name: str, table: object) -> Style:
    try:
        if not isinstance(table, dict) or "name" in table:
            raise InvalidRequestError(
                'A style is a table such as [sketchy], with prefix = "A sketch of".'
            )
        style = msgspec.convert({**table, "name": name}, Style)
    except (msgspec.ValidationError, InvalidRequestError) as error:
        reason = str(error).rstrip(".")
        raise ConfigurationError(
            f"{path} is wrong in the style {name[:100]!r}: {reason}."
        ) from error
    # A file that stands beside styles.toml is meant, wherever the program runs.
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
    """A value in TOML. Its texts are those of JSON, but for one letter that
    JSON leaves as it is.
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
