"""Reading multipart/form-data (RFC 7578), as strictly as a server that wants to
find its clients' mistakes.
"""

import re

import msgspec

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))')
_PARAMETER = re.compile(r';\s*(name|filename)="([^"]*)"')


class FormError(ValueError):
    """Body that is not a form, or a broken one; the message tells the fault."""


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a form."""

    filename: str
    media_type: str
    data: bytes


def parse_form(
    headers: dict[str, str], body: bytes
) -> tuple[dict[str, list[str]], dict[str, list[FilePart]]]:
    """Return the text fields and the files of a form by name, each in order. A
    part with a file name is a file.

    Raises:
        FormError: not such a form, or a truncated one.
    """
    content_type = headers.get("content-type", "")
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise FormError(
            f"The content type must be multipart/form-data with a boundary, not {content_type!r}."
        )
    delimiter = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    before, *parts = (b"\r\n" + body).split(delimiter)
    if before.strip() or not parts or not parts[-1].startswith(b"--"):
        raise FormError("The form does not begin or end with its boundary.")
    texts: dict[str, list[str]] = {}
    files: dict[str, list[FilePart]] = {}
    for part in parts[:-1]:
        names, media_type, data = _read_part(part)
        if "filename" in names:
            file = FilePart(filename=names["filename"], media_type=media_type, data=data)
            files.setdefault(names["name"], []).append(file)
        else:
            texts.setdefault(names["name"], []).append(_read_text(names["name"], data))
    return texts, files


def _read_part(part: bytes) -> tuple[dict[str, str], str, bytes]:
    """Return name and file name, the media type, and the content."""
    head, blank, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    lines = head.decode("utf-8", errors="replace").split("\r\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    disposition = fields.get("content-disposition", "")
    names = dict(_PARAMETER.findall(disposition))
    if not blank or not disposition.startswith("form-data") or not names.get("name"):
        raise FormError("A part of the form has no name.")
    return names, fields.get("content-type", "text/plain"), data


def _read_text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormError(f"The field {name!r} is not text.") from None
